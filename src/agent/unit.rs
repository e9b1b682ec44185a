//! systemd units: what an agent writes of them, and asks about them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use loitsut_profile::resource::WorkerUnit;

use crate::host::Host;
use crate::host::process::{self, Program};

/// Whether systemd runs this machine, and not only stands on its disk: as sd_booted(3).
///
/// # Errors
/// That cannot be looked at.
pub fn is_booted(host: &Host) -> Result<bool> {
    Ok(host.stat(Path::new("/run/systemd/system"))?.is_some())
}

/// Whether a unit is active; costs no process.
///
/// # Errors
/// It cannot be asked.
pub fn is_active(host: &Host, name: &str) -> Result<bool> {
    // systemd keeps such a link for every unit as long as it is active (`unit_export_invocation_id` in its source).
    Ok(invocation(host, name)?.is_some())
}

/// The id of this run of a unit, if it is active; costs no process.
///
/// # Errors
/// It cannot be asked.
pub fn invocation(host: &Host, name: &str) -> Result<Option<String>> {
    let link = format!("/run/systemd/units/invocation:{name}");
    Ok(host.link_target(Path::new(&link))?.map(|id| id.display().to_string()))
}

/// Units that are active. Of those that start no process (timers, sockets, targets) systemd keeps no mark in a file: it
/// is asked, for all of them at once, and again only after something was changed.
#[derive(Default)]
pub struct ActiveUnits {
    marked_by_nothing: RefCell<Option<BTreeSet<String>>>,
}

impl ActiveUnits {
    /// Whether a unit is active.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn has(&self, host: &Host, name: &str) -> Result<bool> {
        if [".service", ".mount", ".swap"].iter().any(|suffix| name.ends_with(suffix)) {
            return is_active(host, name);
        }
        if self.marked_by_nothing.borrow().is_none() {
            let units = list_active(host).await?;
            *self.marked_by_nothing.borrow_mut() = Some(units);
        }
        Ok(self.marked_by_nothing.borrow().as_ref().is_some_and(|units| units.contains(name)))
    }

    /// Something was started or stopped.
    pub fn forget(&self) {
        *self.marked_by_nothing.borrow_mut() = None;
    }
}

async fn list_active(host: &Host) -> Result<BTreeSet<String>> {
    let types = "--type=timer,socket,path,target,slice,automount";
    let words = ["systemctl", "list-units", "--state=active", types, "--plain", "--no-legend", "--full", "--no-pager"];
    let finished = host.run_checked(&Program::new(words).keep_output()).await?;
    Ok(finished.tail.iter().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// What systemd knows of a unit.
pub struct Unit {
    properties: BTreeMap<String, String>,
}

impl Unit {
    /// Asks systemd.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn show(host: &Host, name: &str) -> Result<Self> {
        let words =
            ["systemctl", "show", "--property=ActiveState,Result,ExecMainStatus,ExecMainStartTimestampMonotonic", name];
        let finished = host.run_checked(&Program::new(words).at_last()).await?;
        let property = |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self { properties: finished.tail.iter().filter_map(property).collect() })
    }

    fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    /// Started and not ended.
    pub fn is_running(&self) -> bool {
        self.property("ActiveState") == "active"
    }

    /// When its main process was started, by the monotonic clock.
    pub fn started(&self) -> Duration {
        Duration::from_micros(self.property("ExecMainStartTimestampMonotonic").parse().unwrap_or(0))
    }

    /// Ended, and not to be started again by itself.
    pub fn has_ended(&self) -> bool {
        matches!(self.property("ActiveState"), "inactive" | "failed")
    }

    /// Whether it ended by itself and with success.
    pub fn succeeded(&self) -> bool {
        self.property("Result") == "success"
    }

    /// systemd's word for how it ended: `success`, `exit-code`, `signal`, `oom-kill`.
    pub fn result(&self) -> &str {
        self.property("Result")
    }

    /// The exit status of its main process, if that ended by itself.
    pub fn exit_status(&self) -> Option<i32> {
        let by_itself = matches!(self.result(), "success" | "exit-code");
        self.property("ExecMainStatus").parse().ok().filter(|_| by_itself)
    }

    /// In words.
    pub fn how_it_ended(&self) -> String {
        match (self.result(), self.property("ExecMainStatus")) {
            (signal @ ("signal" | "core-dump"), number) => format!("{signal} {number}"),
            (result, status) => format!("{result}, exit status {status}"),
        }
    }
}

/// The drop-in of the worker's unit: systemd.service(5), systemd.exec(5).
pub fn drop_in(worker: &WorkerUnit, home: &Path, environment_file: &str) -> String {
    let directory = worker.directory.as_ref().map_or(home, |directory| directory.as_path());
    let words: Vec<String> = worker.command.iter().map(|word| quoted(&word.replace('%', "%%"))).collect();
    let mut text = format!(
        "# Written by loitsut for this boot.\n\
         [Service]\n\
         ExecStart=\n\
         # The colon: what looks like a variable is not one.\n\
         ExecStart=:{}\n\
         User={}\n\
         WorkingDirectory={}\n\
         EnvironmentFile={environment_file}\n\
         KillSignal={}\n\
         TimeoutStopSec={}\n\
         Restart={}\n\
         RestartSec=5\n",
        words.join(" "),
        worker.user,
        directory.display().to_string().replace('%', "%%"),
        worker.stop_signal,
        worker.stop_grace.get().as_secs(),
        worker.restart.as_str(),
    );
    if worker.root {
        text.push_str("NoNewPrivileges=no\nProtectSystem=no\n");
    }
    text
}

/// The variables of the worker; those of the profile come last and win.
pub fn environment_file(worker: &WorkerUnit) -> String {
    let standard =
        BTreeMap::from([("PATH".to_owned(), process::PATH.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
    let mut all = standard;
    all.extend(worker.environment.clone());
    all.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}={}", shell_quoted(value));
        text
    })
}

/// A word of a command line as systemd.syntax(7) has it.
pub fn quoted(word: &str) -> String {
    let escaped: String = word
        .chars()
        .map(|c| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\t' => "\\t".into(),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// A value of an EnvironmentFile=, quoted as a POSIX shell would: within double quotes only these four are special.
fn shell_quoted(value: &str) -> String {
    let escaped: String = value
        .chars()
        .map(|c| match c {
            '"' | '\\' | '$' | '`' => format!("\\{c}"),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_systemd() {
        assert_eq!(quoted("a b\"c\\d\n"), "\"a b\\\"c\\\\d\\n\"");
        assert_eq!(shell_quoted("a$b`c\"d\\"), "\"a\\$b\\`c\\\"d\\\\\"");
    }
}
