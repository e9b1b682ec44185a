//! Session tokens, without which nothing is told.

use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

/// More tokens than this at a time is a build that plays; the oldest make room.
const MOST_TOKENS: usize = 1_000;

/// The tokens that were given out, and when each expires.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, Instant>);

impl Tokens {
    /// A new one.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(super) fn issue(&mut self, ttl: Duration) -> Result<String> {
        let now = Instant::now();
        self.0.retain(|_, expiry| *expiry > now);
        if self.0.len() >= MOST_TOKENS {
            let first = self.0.iter().min_by_key(|(_, expiry)| **expiry).map(|(token, _)| token.clone());
            first.map(|token| self.0.remove(&token));
        }
        let mut random = [0; 42]; // as long as EC2's
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .context("/dev/urandom")?;
        let token = URL_SAFE.encode(random);
        self.0.insert(token.clone(), now + ttl);
        Ok(token)
    }

    /// Whether this one was given out, and has not expired.
    pub(super) fn hold(&self, token: &str) -> bool {
        self.0.get(token).is_some_and(|expiry| *expiry > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_is_no_token() {
        let mut tokens = Tokens::default();
        let token = tokens.issue(Duration::ZERO).unwrap();
        assert!(!tokens.hold(&token));
        let token = tokens.issue(Duration::from_secs(60)).unwrap();
        assert!(tokens.hold(&token));
    }

    #[test]
    fn tokens_do_not_pile_up() {
        let mut tokens = Tokens::default();
        for _ in 0..MOST_TOKENS + 5 {
            tokens.issue(Duration::from_secs(60)).unwrap();
        }
        assert_eq!(tokens.0.len(), MOST_TOKENS);
    }
}
