//! Programs run to their end, within a deadline.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Where programs are looked for: `su` and cron leave root without the sbin directories that `ip` and `nft` are in.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs run here answer in milliseconds; one that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a program and answers its standard output; anything but exit status 0 is an error that quotes its words.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    feed(program, arguments, "").await
}

/// As [`run`], with `input` on the program's standard input.
pub(crate) async fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = tokio::time::timeout(DEADLINE, talk(program, arguments, input))
        .await
        .with_context(|| format!("`{line}` was not done after {} s", DEADLINE.as_secs()))?
        .with_context(|| format!("`{line}` could not be run"))?;
    if !output.status.success() {
        bail!("`{line}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn talk(program: &str, arguments: &[&str], input: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by its exit status.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await
}

/// Fails, naming the Debian package to install, unless each `(program, package)` is there.
pub(crate) fn require(programs: &[(&str, &str)]) -> Result<()> {
    for (program, package) in programs {
        if !PATH.split(':').any(|dir| std::path::Path::new(dir).join(program).is_file()) {
            bail!("the program `{program}` is not installed: `apt install {package}`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_quotes_the_command_and_its_words() {
        let error = run("sh", &["-c", "echo no such cable >&2; exit 3"]).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such cable"), "{error}");
    }

    #[tokio::test]
    async fn input_is_fed() {
        assert_eq!(feed("cat", &[], "words").await.unwrap(), "words");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = require(&[("sh", "dash"), ("no-such-program", "no-such-package")]).unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("apt install no-such-package"), "{error}");
    }
}
