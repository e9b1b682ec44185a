//! A program run to its end, within bounds of time and output. What it started ends with it.

use std::fmt;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// A list of 10,000 instances is some 4 MB.
const OUTPUT: usize = 16 << 20;

/// What is quoted of its words: the last of them say why.
const WORDS: usize = 4096;

/// What came of it, instead of an output.
#[derive(Debug)]
pub(super) enum Failed {
    /// It could not be started.
    NotRun(io::Error),
    /// Its output could not be read, or it could not be waited for.
    Broken(io::Error),
    /// It was not done in time, and was killed.
    TooLong(Duration),
    /// It printed too much, and was killed.
    TooMuch(usize),
    /// It failed.
    Ended(Ended),
}

/// How a program failed.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// As the system says it.
    pub status: String,
    /// Its last words.
    pub words: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(error) => write!(f, "cannot be run: {error}"),
            Self::Broken(error) => write!(f, "cannot be read from: {error}"),
            Self::TooLong(timeout) => write!(
                f,
                "was not done after {}, and was killed (help: `timeout` of the provider)",
                humantime::format_duration(*timeout)
            ),
            Self::TooMuch(limit) => write!(f, "printed more than {} MiB, and was killed", limit >> 20),
            Self::Ended(ended) if ended.words.is_empty() => write!(f, "failed: {}, and said nothing", ended.status),
            Self::Ended(ended) => write!(f, "failed: {}: {}", ended.status, ended.words),
        }
    }
}

/// Its standard output.
pub(super) async fn run(command: &[String], verb: &str, input: &[u8], timeout: Duration) -> Result<Vec<u8>, Failed> {
    let [program, arguments @ ..] = command else { return Err(Failed::NotRun(io::ErrorKind::InvalidInput.into())) };
    let child = Command::new(program)
        .args(arguments)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: what it starts is killed with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(Failed::NotRun)?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    match tokio::time::timeout(timeout, talk(child, input, &mut group)).await {
        Ok(result) => result,
        Err(_) => Err(Failed::TooLong(timeout)),
    }
}

async fn talk(mut child: Child, input: &[u8], group: &mut Group) -> Result<Vec<u8>, Failed> {
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading says why by its exit status.
            let _ = stdin.write_all(input).await;
        }
        Ok(())
    };
    let output = read_all(child.stdout.take());
    let words = read_last(child.stderr.take());
    let ((), output, words) = tokio::try_join!(write, output, words)?;
    let status = child.wait().await.map_err(Failed::Broken)?;
    // It has been waited for: its number may be another's now.
    group.0 = None;
    if status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    Err(Failed::Ended(Ended { code: status.code(), status: status.to_string(), words }))
}

async fn read_all(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Failed> {
    let mut all = Vec::new();
    if let Some(from) = from {
        from.take(OUTPUT as u64 + 1).read_to_end(&mut all).await.map_err(Failed::Broken)?;
    }
    if all.len() > OUTPUT { Err(Failed::TooMuch(OUTPUT)) } else { Ok(all) }
}

/// All of it, but only the end is kept.
async fn read_last(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Failed> {
    let mut last = Vec::new();
    let Some(mut from) = from else { return Ok(last) };
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer).await.map_err(Failed::Broken)? {
            0 => return Ok(last),
            count => last.extend_from_slice(&buffer[..count]),
        }
        let surplus = last.len().saturating_sub(WORDS);
        last.drain(..surplus);
    }
}

/// A process group, killed when nobody waits for its leader any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All of it may have ended meanwhile.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(text: &str, timeout: Duration) -> Result<Vec<u8>, Failed> {
        run(&["sh", "-c", text].map(str::to_owned), "list", b"{}", timeout).await
    }

    #[tokio::test]
    async fn what_a_slow_program_started_is_killed_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Once all are gone, nobody holds the fifo open for writing, and it ends.
        let text = format!("exec 3<>{0}; sleep 1000 & sleep 1000", fifo.display());
        let reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        let error = sh(&text, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, Failed::TooLong(_)), "{error}");
        let mut nothing = [0];
        let mut reader = reader;
        let end = tokio::time::timeout(Duration::from_secs(10), reader.read(&mut nothing)).await;
        assert_eq!(end.expect("somebody is left").unwrap(), 0);
    }

    #[tokio::test]
    async fn output_without_an_end_is_cut_off() {
        let error = sh("cat /dev/zero", Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, Failed::TooMuch(_)), "{error}");
    }

    #[tokio::test]
    async fn of_many_words_the_last_are_quoted() {
        let error =
            sh("yes | head -c 100000 >&2; echo the end >&2; exit 3", Duration::from_secs(60)).await.unwrap_err();
        let Failed::Ended(ended) = error else { panic!("{error}") };
        assert!(ended.code == Some(3) && ended.words.ends_with("the end") && ended.words.len() <= WORDS);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = run(&["/no/such".to_owned()], "list", b"", Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, Failed::NotRun(_)), "{error}");
    }
}
