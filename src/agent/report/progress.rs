//! What goes on right now, in lines at the bottom of a terminal that are gone when it is done.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use terminal_size::{Height, Width, terminal_size};

use crate::host::cache::Transfer;

/// Lines that are on the terminal now. Whoever writes to it, by whatever way, takes them away first.
static SHOWN: Mutex<usize> = Mutex::new(0);

/// No wider than a hand: longer ones tell no more.
const WIDEST_BAR: usize = 24;

/// A shorter one is not worth its place.
const NARROWEST_BAR: usize = 8;

/// Without UTF-8, as on a console.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// The running step and its downloads.
pub struct Progress {
    step: String,
    since: Instant,
    downloads: Vec<Transfer>,
    /// Bytes per second, of each download.
    rates: Vec<f64>,
    before: Vec<u64>,
    ticked: Instant,
    ticks: usize,
}

impl Progress {
    /// Where standard output can take lines back; elsewhere nothing is shown.
    pub fn on_terminal() -> Option<Self> {
        let able = std::env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb");
        let now = Instant::now();
        (able && std::io::stdout().is_terminal()).then(|| Self {
            step: String::new(),
            since: now,
            downloads: Vec::new(),
            rates: Vec::new(),
            before: Vec::new(),
            ticked: now,
            ticks: 0,
        })
    }

    /// Another step begins. Nothing is drawn: most end before anybody could read their names.
    pub fn begin(&mut self, step: &str) {
        step.clone_into(&mut self.step);
        self.since = Instant::now();
    }

    /// The downloads have come further.
    pub fn downloads(&mut self, transfers: &[Transfer]) {
        self.downloads = transfers.to_vec();
    }

    /// Draws it anew.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.measure(self.ticked.elapsed());
        self.ticked = Instant::now();
        let size = terminal_size().map(|(Width(columns), Height(rows))| (columns.into(), rows.into()));
        let (columns, rows) = size.unwrap_or((80, 24));
        draw(&self.lines(columns, rows));
    }

    /// The rate of late, since the mean of an hour hides a stall.
    fn measure(&mut self, passed: Duration) {
        for (index, transfer) in self.downloads.iter().enumerate() {
            let Some(before) = self.before.get(index).copied() else {
                self.before.push(transfer.received);
                self.rates.push(0.0);
                continue;
            };
            let now = transfer.received.saturating_sub(before) as f64 / passed.as_secs_f64().max(0.001);
            self.before[index] = transfer.received;
            self.rates[index] += (now - self.rates[index]) * 0.2;
        }
    }

    /// No more than fit: what scrolls away cannot be taken back.
    fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let seconds = self.since.elapsed().as_secs();
        let time =
            if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) };
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        let room = columns.saturating_sub(time.len() + 6);
        let mut lines = vec![format!("{spinner} {}  {time}", clipped(&self.step, room))];
        let rates = self.rates.iter().copied().chain(std::iter::repeat(0.0));
        let running = self.downloads.iter().zip(rates).filter(|(transfer, _)| transfer.ended.is_none());
        let (moving, waiting): (Vec<_>, Vec<_>) = running.partition(|(transfer, _)| transfer.received > 0);
        let fit = moving.len().min(rows.saturating_sub(3));
        lines.extend(moving[..fit].iter().map(|(transfer, rate)| bar(transfer, *rate, columns)));
        match moving.len() - fit + waiting.len() {
            0 => {}
            more => lines.push(format!("  {more} more to download")),
        }
        // The last column stays free: some terminals go on to the next line when it is filled.
        lines.iter().map(|line| clipped(line, columns.saturating_sub(1))).collect()
    }
}

/// One download: its name, how far it is, and how fast.
fn bar(transfer: &Transfer, rate: f64, columns: usize) -> String {
    let path = transfer.url.split(['?', '#']).next().unwrap_or_default();
    let name = clipped(path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path), columns / 3);
    let of = transfer.total.map(|total| format!(" of {}", megabytes(total as f64))).unwrap_or_default();
    let told = format!("{}{of} MB  {} MB/s", megabytes(transfer.received as f64), megabytes(rate));
    let room = columns.saturating_sub(name.chars().count() + told.len() + 9).min(WIDEST_BAR);
    match transfer.total {
        Some(total) if total > 0 && room >= NARROWEST_BAR => {
            let full = (transfer.received.min(total) as f64 / total as f64 * room as f64) as usize;
            format!("  {name}  [{}{}]  {told}", "#".repeat(full), "-".repeat(room - full))
        }
        _ => format!("  {name}  {told}"),
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

fn clipped(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// In one piece, and with wrapping off meanwhile: no width of a character is known for sure, and a line that wraps is two.
fn draw(lines: &[String]) {
    let Ok(mut shown) = SHOWN.lock() else { return };
    let text = format!("{}\u{1b}[?7l{}\u{1b}[?7h", back(*shown), lines.join("\r\n"));
    write(&text);
    *shown = lines.len();
}

/// Leaves the terminal as if nothing had been shown.
pub fn erase() {
    let Ok(mut shown) = SHOWN.lock() else { return };
    if *shown > 0 {
        write(&back(*shown));
        *shown = 0;
    }
}

/// To where the first of so many lines began, with nothing after it.
fn back(lines: usize) -> String {
    match lines {
        0 => String::new(),
        1 => "\r\u{1b}[J".into(),
        more => format!("\r\u{1b}[{}A\u{1b}[J", more - 1),
    }
}

/// A terminal that has gone away is no reason to stop.
fn write(text: &str) {
    let mut terminal = std::io::stdout().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(received: u64, total: Option<u64>) -> Transfer {
        Transfer { url: "https://example.org/d/boost.tar.gz?v=1".into(), received, total, ended: None }
    }

    #[test]
    fn a_bar_is_as_wide_as_there_is_room() {
        let half = transfer(50_000_000, Some(100_000_000));
        let wide = "  boost.tar.gz  [############------------]  50.0 of 100.0 MB  3.2 MB/s";
        assert_eq!(bar(&half, 3_200_000.0, 100), wide);
        assert_eq!(bar(&half, 3_200_000.0, 45), "  boost.tar.gz  50.0 of 100.0 MB  3.2 MB/s");
        assert_eq!(bar(&transfer(50_000_000, None), 0.0, 100), "  boost.tar.gz  50.0 MB  0.0 MB/s");
        // More than the server has said.
        assert!(bar(&transfer(3_000_000, Some(1)), 0.0, 100).contains("[########################]"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_more_are_shown_than_it_has() {
        let now = Instant::now();
        let downloads = vec![transfer(1, Some(2)); 20];
        let (rates, before) = (vec![0.0; 20], vec![0; 20]);
        let step = "file /srv/ä".repeat(20);
        let progress = Progress { step, since: now, downloads, rates, before, ticked: now, ticks: 0 };
        for (columns, rows) in [(200, 50), (80, 24), (20, 5), (1, 1), (0, 0)] {
            let lines = progress.lines(columns, rows);
            assert!(lines.len() <= rows.max(2), "{rows}: {lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() < columns.max(1)), "{columns}: {lines:?}");
        }
    }
}
