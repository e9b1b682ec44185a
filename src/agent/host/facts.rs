//! What this machine is.

use std::collections::BTreeMap;
use std::path::Path;

use loitsut_profile::facts::{Facts, Instance, Os};

use super::Host;
use super::file_error::FileError;

impl Host {
    /// What templates may ask about the machine.
    ///
    /// # Errors
    /// os-release or meminfo cannot be read.
    pub fn facts(&self, instance: Instance) -> Result<Facts, FileError> {
        let uname = nix::sys::utsname::uname();
        let text =
            |field: Result<&std::ffi::OsStr, _>| field.map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Facts {
            os: self.os()?,
            kernel: text(uname.as_ref().map(|uname| uname.release())),
            arch: text(uname.as_ref().map(|uname| uname.machine())),
            cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
            memory: self.memory()?,
            instance,
        })
    }

    fn os(&self) -> Result<Os, FileError> {
        let text = match self.read_text(Path::new("/etc/os-release"))? {
            Some(text) => text,
            None => self.read_text(Path::new("/usr/lib/os-release"))?.unwrap_or_default(),
        };
        Ok(parse_os_release(&text))
    }

    /// In MiB.
    fn memory(&self) -> Result<u64, FileError> {
        let text = self.read_text(Path::new("/proc/meminfo"))?.unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
        Ok(kib.unwrap_or(0) / 1024)
    }
}

/// See os-release(5).
fn parse_os_release(text: &str) -> Os {
    let assignment = |line: &'_ str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
    };
    let fields: BTreeMap<String, String> = text.lines().filter_map(assignment).collect();
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let id = field("ID");
    let like = field("ID_LIKE");
    let is = |families: &[&str]| {
        std::iter::once(id.as_str()).chain(like.split_whitespace()).any(|word| families.contains(&word))
    };
    let family = if is(&["debian", "ubuntu"]) {
        "debian"
    } else if is(&["fedora", "rhel", "centos"]) {
        "redhat"
    } else {
        &id
    };
    Os { family: family.to_owned(), version: field("VERSION_ID"), codename: field("VERSION_CODENAME"), id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_follow_id_and_id_like() {
        let family = |text| parse_os_release(text).family;
        assert_eq!(family("ID=debian\nVERSION_ID=\"12\"\n"), "debian");
        assert_eq!(family("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), "debian");
        assert_eq!(family("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n"), "redhat");
        assert_eq!(family("ID=arch\n"), "arch");
        assert_eq!(parse_os_release("ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm").codename, "bookworm");
    }
}
