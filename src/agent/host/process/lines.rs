//! The output of a program, line by line, whatever it prints.

use tokio::io::AsyncReadExt as _;

/// Longer lines are cut: a flood must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// Lines of bounded length; safe to drop between two of them.
pub(super) struct Lines<R> {
    reader: R,
    rest: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    /// The reader's.
    pub(super) fn of(reader: R) -> Self {
        Self { reader, rest: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line: Vec<u8> = self.rest.drain(..=end).take(end).collect();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(text(&line)));
            }
            if self.rest.len() >= LONGEST_LINE {
                let line: Vec<u8> = self.rest.drain(..).collect();
                return Ok(Some(text(&line)));
            }
            let mut chunk = [0; 1024];
            let read = self.reader.read(&mut chunk).await?;
            if read == 0 {
                let line: Vec<u8> = self.rest.drain(..).collect();
                return Ok((!line.is_empty()).then(|| text(&line)));
            }
            self.rest.extend_from_slice(&chunk[..read]);
        }
    }
}

/// Escape sequences in a program's output must not reach the terminal of whoever reads the message.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
