//! The output of a program, line by line, whatever it prints.

use tokio::io::AsyncReadExt as _;

use crate::host::mask::Mask;
use crate::host::plain;

/// Longer lines are cut: a flood must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// Lines of bounded length, masked, without control characters; safe to drop between two of them.
pub(super) struct Lines<R> {
    reader: R,
    mask: Mask,
    rest: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    /// The reader's.
    pub(super) fn of(reader: R, mask: Mask) -> Self {
        Self { reader, mask, rest: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line = self.take(end);
                self.rest.drain(..1);
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            // A secret that has begun must not be cut in two: neither half would be known for one.
            if self.rest.len() >= LONGEST_LINE + self.mask.longest() {
                self.mask.apply_to_bytes(&mut self.rest);
                let cut = self.rest.len().saturating_sub(self.mask.longest()).min(LONGEST_LINE);
                return Ok(Some(self.take(cut)));
            }
            let mut chunk = [0; 1024];
            let read = self.reader.read(&mut chunk).await?;
            if read == 0 {
                let line = self.take(self.rest.len());
                return Ok((!line.is_empty()).then_some(line));
            }
            self.rest.extend_from_slice(&chunk[..read]);
        }
    }

    /// Takes a line out of what was read. Masked before it is cleaned: a secret may have a control character in it.
    fn take(&mut self, end: usize) -> String {
        let mut line: Vec<u8> = self.rest.drain(..end).collect();
        self.mask.apply_to_bytes(&mut line);
        plain(&String::from_utf8_lossy(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loitsut_profile::secret::Secret;

    async fn lines(output: &str, secret: &str) -> Vec<String> {
        let mut mask = Mask::default();
        mask.add(&[Secret::from(secret.to_owned())]);
        let mut lines = Lines::of(output.as_bytes(), mask);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn no_secret_survives_a_cut_or_a_control_character() {
        for before in LONGEST_LINE - 20..LONGEST_LINE + 20 {
            let all = lines(&format!("{}hunter2hunter2 after", "x".repeat(before)), "hunter2hunter2").await;
            assert_eq!(all.concat(), format!("{}*** after", "x".repeat(before)));
        }
        assert_eq!(lines("a \x1bword99 b\n", "\x1bword99").await, ["a *** b"]);
        assert_eq!(lines("first\rsecond\n", "first\rsecond").await, ["***", "***"]);
    }
}
