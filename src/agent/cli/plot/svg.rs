//! Bars on a time axis, as SVG: no script, no fonts, and nothing of a name that could become markup.

use std::fmt::Write as _;

/// What took time.
pub(super) struct Bar {
    /// Its colour, by a class of [`STYLE`].
    pub class: &'static str,
    /// What it says, whole.
    pub text: String,
    /// Milliseconds since the start.
    pub start: u64,
    /// In milliseconds.
    pub length: u64,
}

/// Pixels of the time axis, of a row, of the margins, and of the heading above the first row.
const WIDTH: f64 = 1000.0;
const ROW: f64 = 20.0;
const MARGIN: f64 = 20.0;
const HEAD: f64 = 86.0;

/// Pixels of a character, about: where a font is wider, the text runs on beyond.
const CHARACTER: f64 = 6.6;

/// Longer texts are cut; pointing at a bar shows all of it.
const LONGEST: usize = 90;

/// Light colours below dark text, and the other way round.
const STYLE: &str = "\
svg{background:#fff}text{font:12px sans-serif;fill:#1a1a1a}.title{font-weight:bold;font-size:15px}\
.small{font-size:11px;fill:#555}.grid{stroke:#ddd}\
.phase{fill:#b9c6d8}.unchanged{fill:#d5d5d5}.changed{fill:#8fd19e}.download{fill:#9ec9f0}.failed{fill:#f0908a}\
.running{fill:#f5d37a}\
@media(prefers-color-scheme:dark){svg{background:#16181d}text{fill:#eee}.small{fill:#aaa}.grid{stroke:#3a3d44}\
.phase{fill:#46566e}.unchanged{fill:#4b4b4f}.changed{fill:#2c6b3c}.download{fill:#275a87}.failed{fill:#8f2f2a}\
.running{fill:#7a5c12}}";

const LEGEND: [&str; 6] = ["phase", "download", "changed", "unchanged", "failed", "running"];

/// The whole picture.
pub(super) fn draw(heading: &str, bars: &[Bar]) -> String {
    let total = bars.iter().map(|bar| bar.start + bar.length).max().unwrap_or(0).max(1);
    let (width, height) = (WIDTH + 2.0 * MARGIN, HEAD + ROW * bars.len() as f64 + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"26\">{}, {}</text>\n",
        escaped(heading),
        time(total),
    );
    legend(&mut svg);
    axis(&mut svg, total, height - MARGIN);
    for (row, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, bar, HEAD + ROW * row as f64, total);
    }
    svg.push_str("</svg>");
    svg
}

fn legend(svg: &mut String) {
    for (place, class) in LEGEND.iter().enumerate() {
        let x = MARGIN + 100.0 * place as f64;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"40\" width=\"12\" height=\"12\"/>\
             <text class=\"small\" x=\"{}\" y=\"50\">{class}</text>",
            x + 17.0
        );
    }
}

fn axis(svg: &mut String, total: u64, bottom: f64) {
    let step = tick(total);
    let ticks = (0..).map(|count| count * step).take_while(|at| *at <= total);
    for at in ticks {
        let x = x(at, total);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {}V{bottom}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEAD - 4.0,
            HEAD - 9.0,
            time(at)
        );
    }
}

fn draw_bar(svg: &mut String, bar: &Bar, y: f64, total: u64) {
    let (start, end) = (x(bar.start, total), x(bar.start + bar.length, total));
    let all = format!("{}: {}, begun at {}", bar.text, time(bar.length), time(bar.start));
    let text = shortened(&bar.text, &format!("  {}", time(bar.length)));
    let (at, anchor) = place(start, end, CHARACTER * text.chars().count() as f64);
    let _ = writeln!(
        svg,
        "<g><title>{}</title><rect class=\"{}\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\
         <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text></g>",
        escaped(&all),
        bar.class,
        y + 2.0,
        (end - start).max(1.5),
        ROW - 4.0,
        y + 14.0,
        escaped(&text),
    );
}

/// Where a text so wide is read best: in its bar, else behind it, else before it.
fn place(start: f64, end: f64, width: f64) -> (f64, &'static str) {
    const GAP: f64 = 5.0;
    if width + 2.0 * GAP <= end - start {
        (start + GAP, "start")
    } else if end + GAP + width <= MARGIN + WIDTH {
        (end + GAP, "start")
    } else if start - GAP - width >= 0.0 {
        (start - GAP, "end")
    } else {
        (MARGIN + GAP, "start")
    }
}

fn shortened(text: &str, suffix: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…{suffix}", &text[..cut]),
        None => format!("{text}{suffix}"),
    }
}

fn x(at: u64, total: u64) -> f64 {
    MARGIN + WIDTH * at as f64 / total as f64
}

/// Between two lines of the grid: 1, 2 or 5 of some power of ten, so that there are at most a dozen.
fn tick(total: u64) -> u64 {
    let powers = (0..18).map(|power| 10_u64.pow(power));
    powers.flat_map(|power| [1, 2, 5].map(|some| some * power)).find(|step| total / step <= 12).unwrap_or(total)
}

fn time(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{} s", milliseconds as f64 / 1000.0),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1000),
    }
}

/// As text or an attribute of XML, which has no form at all for control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_markup() {
        let bar = Bar { class: "changed", text: "</title><script>\"&\u{1b}".into(), start: 0, length: 5 };
        let svg = draw("<x>", &[bar]);
        assert!(svg.contains("&lt;/title&gt;&lt;script&gt;&quot;&amp;\u{fffd}") && svg.contains("&lt;x&gt;"));
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'));
    }

    #[test]
    fn a_grid_has_at_most_a_dozen_lines() {
        for (total, step) in [(1, 1), (12, 1), (13, 2), (999, 100), (61_000, 5_000), (3_600_000, 500_000)] {
            assert_eq!(tick(total), step, "{total}");
        }
    }

    #[test]
    fn texts_stay_in_the_picture() {
        assert_eq!(place(20.0, 900.0, 100.0), (25.0, "start"));
        assert_eq!(place(20.0, 30.0, 100.0), (35.0, "start"));
        assert_eq!(place(1000.0, 1010.0, 100.0), (995.0, "end"));
        assert_eq!(place(300.0, 700.0, 600.0), (25.0, "start"));
    }
}
