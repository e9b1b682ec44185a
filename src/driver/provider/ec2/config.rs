//! `[provider.NAME]` with `type = "ec2"`, and what its pools say.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Where EC2 is, and who asks. `docs/ec2.md` has these keys in a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `eu-north-1`.
    pub region: String,
    /// The one address of a cloud that speaks as EC2 does; AWS's own unless said.
    pub endpoint_url: Option<String>,
    /// The profile in ~/.aws; the environment, web identity and the instance's role come without it, as for AWS's tools.
    pub aws_profile: Option<String>,
}

/// What the instances of a pool are made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The image.
    pub image: ImageName,
    /// Tried in turn.
    pub instance_types: Vec<String>,
    /// Tried in turn; without any, EC2 chooses one of the default network.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// By id.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// How large the root disk is; as large as the image's unless said.
    pub disk: Option<DiskSize>,
    /// Whether it may be taken back.
    #[serde(default)]
    pub spot: Spot,
    /// The name or ARN of what the instance may do by itself; nothing unless said.
    pub instance_profile: Option<String>,
    /// For the instance and its volume.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether it gets a public address; as the subnet has it unless said.
    pub public_ip: Option<bool>,
    /// Whether the metadata service answers over IPv6 too.
    #[serde(default)]
    pub metadata_ipv6: bool,
}

/// Which price classes are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spot {
    /// On-demand only.
    #[default]
    Never,
    /// Spot of every type and subnet, then on-demand.
    Prefer,
    /// Spot or nothing.
    Only,
}

/// An image, named by what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum ImageName {
    /// `ami-…`
    Id(String),
    /// `ssm:/path`: a public or own parameter that holds the id.
    Parameter(String),
    /// `OWNER/NAME`: the newest one with that owner and a name like this.
    Newest {
        /// An account or an alias.
        owner: String,
        /// With `*` and `?`.
        name: String,
    },
}

impl TryFrom<String> for ImageName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_owner = |owner: &str| {
            ["amazon", "aws-marketplace", "self"].contains(&owner)
                || owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit())
        };
        if text.starts_with("ami-") {
            return Ok(Self::Id(text));
        }
        if let Some(path) = text.strip_prefix("ssm:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Parameter(path.to_owned()));
        }
        match text.split_once('/') {
            Some((owner, name)) if is_owner(owner) && !name.is_empty() => {
                Ok(Self::Newest { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!(
                "{text:?} names no image: `ami-…`, `ssm:/path/of/parameter`, or `OWNER/NAME` with an account number, amazon, aws-marketplace or self, and a name that may hold `*`"
            )),
        }
    }
}

/// In GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DiskSize(pub u32);

impl TryFrom<String> for DiskSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_suffix("GiB").or(text.strip_suffix('G')).and_then(|number| number.parse().ok());
        // 64 TiB is the largest that EBS has.
        number
            .filter(|number| (1..=65_536).contains(number))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no size of a disk: whole gibibytes such as `60G`, up to 65536G"))
    }
}

/// What only AWS's side or ours may write.
const RESERVED: [&str; 2] = ["aws:", "loitsut:"];

impl Pool {
    /// What is wrong with it, for whoever wrote it.
    pub fn check(&self) -> Result<(), String> {
        if self.instance_types.is_empty() {
            return Err("`instance_types` is empty: name at least one, such as c7a.4xlarge".to_owned());
        }
        for key in self.tags.keys() {
            if key == "Name" || RESERVED.iter().any(|prefix| key.starts_with(prefix)) {
                return Err(format!("the tag {key:?} is set by the driver, or by AWS: choose another"));
            }
        }
        self.architecture().map(drop)
    }

    /// That of all its instance types.
    pub fn architecture(&self) -> Result<&'static str, String> {
        let mut found = self.instance_types.iter().map(|kind| (kind, architecture(kind)));
        let Some((first, wanted)) = found.next() else { return Ok("x86_64") };
        match found.find(|(_, other)| *other != wanted) {
            Some((kind, other)) => {
                Err(format!("{first} is {wanted} and {kind} is {other}: one image cannot be for both, make two pools"))
            }
            None => Ok(wanted),
        }
    }
}

/// As the name of a type has it: Graviton is a `g` after the generation (`c7gn.large`, but not `g5.large`), and `a1`.
fn architecture(kind: &str) -> &'static str {
    let family = kind.split('.').next().unwrap_or_default();
    let traits = family.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-');
    let traits = traits.trim_start_matches(|c: char| c.is_ascii_digit());
    // `u-6tb1` has its memory where others have traits.
    let graviton = traits.contains('g') && !family.starts_with("u-");
    if graviton || family == "a1" { "arm64" } else { "x86_64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_in_the_name() {
        for kind in ["c7g.large", "m6gd.metal", "t4g.nano", "im4gn.large", "is4gen.large", "a1.large", "g5g.xlarge"] {
            assert_eq!(architecture(kind), "arm64", "{kind}");
        }
        for kind in ["c7a.4xlarge", "g5.xlarge", "g4dn.xlarge", "m5.large", "u-6tb1.metal", "x2iedn.large"] {
            assert_eq!(architecture(kind), "x86_64", "{kind}");
        }
    }

    #[test]
    fn images_are_named_in_three_ways() {
        let name = |text: &str| ImageName::try_from(text.to_owned());
        assert!(matches!(name("ami-1"), Ok(ImageName::Id(_))));
        assert!(matches!(name("ssm:/aws/x"), Ok(ImageName::Parameter(path)) if path == "/aws/x"));
        assert!(matches!(name("136693071363/debian-12-*"), Ok(ImageName::Newest { .. })));
        for wrong in ["debian", "ssm:aws", "nobody/debian", "self/", ""] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn disks_are_whole_gibibytes() {
        assert_eq!(DiskSize::try_from("60G".to_owned()), Ok(DiskSize(60)));
        for wrong in ["60", "0G", "1.5G", "60GB", "99999G"] {
            assert!(DiskSize::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
