//! Programs that did not do what they were asked to.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

/// A program that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot run `{command}`: {problem}")]
    Start {
        /// The program.
        command: String,
        /// Why.
        problem: String,
    },
    /// It ended with another status than 0.
    #[error("`{command}` ended with {}{}", describe(*.status), quoted(.tail))]
    Failed {
        /// The program with its arguments, masked.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines, masked.
        tail: Vec<String>,
    },
    /// It took too long and was ended.
    #[error("`{command}` was ended after {} s{}", .limit.as_secs(), quoted(.tail))]
    TimedOut {
        /// The program with its arguments, masked.
        command: String,
        /// How long it was given.
        limit: Duration,
        /// Its last lines, masked.
        tail: Vec<String>,
    },
    /// The agent was asked to stop, and passed that on.
    #[error("`{command}` was ended because the agent was asked to stop")]
    Stopped {
        /// The program with its arguments, masked.
        command: String,
    },
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("signal {signal}"),
            Err(_) => format!("signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

fn quoted(tail: &[String]) -> String {
    if tail.is_empty() {
        return ", and printed nothing".into();
    }
    tail.iter().map(|line| format!("\n    | {line}")).collect::<Vec<_>>().concat()
}
