//! Durations as people write them: `15m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::{Invalid, read_from_text, write_as_text};

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// More than any lease needs, and far below where adding it to a clock could overflow.
const LONGEST_DAYS: u64 = 3_650;

/// A whole number of seconds, minutes, hours or days: `90s`, `15m`, `8h`, `2d`. At most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Duration"))]
pub struct HumanDuration(#[cfg_attr(feature = "schema", schemars(with = "String"))] Duration);

impl HumanDuration {
    /// The duration, for clocks and timers.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// So many seconds, for defaults.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for HumanDuration {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (number, unit) = split_unit(text).ok_or_else(|| {
            Invalid::new(
                text,
                "is not a duration: that is a whole number and a unit, such as `90s`, `15m`, `8h` or `2d`",
            )
        })?;
        // All are digits, so that the only way to fail is a number that is too large.
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        match seconds {
            Some(seconds) if seconds <= LONGEST_DAYS * 86_400 => Ok(Self::from_secs(seconds)),
            _ => Err(Invalid::new(text, format!("is longer than {LONGEST_DAYS} days"))),
        }
    }
}

fn split_unit(text: &str) -> Option<(&str, u64)> {
    let (number, unit) = UNITS.iter().find_map(|(name, seconds)| Some((text.strip_suffix(*name)?, *seconds)))?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((number, unit))
}

read_from_text!(HumanDuration);
write_as_text!(HumanDuration);

/// In the largest unit that is exact.
impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let exact = |(_, unit): &&(char, u64)| seconds > 0 && seconds.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(exact).unwrap_or(&('s', 1));
        write!(f, "{}{name}", seconds / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit_and_prints_the_largest_exact_one() {
        for (text, seconds, printed) in [
            ("0s", 0, "0s"),
            ("90s", 90, "90s"),
            ("15m", 900, "15m"),
            ("60m", 3_600, "1h"),
            ("8h", 28_800, "8h"),
            ("2d", 172_800, "2d"),
            ("3650d", 315_360_000, "3650d"),
            ("007s", 7, "7s"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.get(), Duration::from_secs(seconds), "{text}");
            assert_eq!(duration.to_string(), printed);
        }
    }

    #[test]
    fn names_the_text_it_refuses() {
        for text in ["", "m", "15", "15 m", " 15m", "-1m", "+1m", "1.5h", "15M", "1h30m", "15min", "500ms", "١m", "∞"]
        {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.to_string().contains("is not a duration"), "{error}");
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        for text in ["3651d", "99999999999999999999s", "18446744073709551615d"] {
            assert!(text.parse::<HumanDuration>().unwrap_err().to_string().contains("longer than"), "{text}");
        }
    }
}
