//! dpkg's status file, which a machine may have in any state after a power cut.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/agent/apply/packages/apt/dpkg.rs"]
mod dpkg;

use dpkg::Status;
use libfuzzer_sys::fuzz_target;
use loitsut_profile::resource::WantedPackage;

/// A package of this name as one that is to be there, in exactly this version if one is given.
fn wanted(name: &str, version: Option<&str>) -> Option<WantedPackage> {
    let spec = version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}")).parse().ok()?;
    Some(WantedPackage { spec, present: true, optional: false, recommends: false, hold: false, upgrade: false })
}

fuzz_target!(|text: &str| {
    let status = Status::parse(text);
    assert_eq!(status, Status::parse(text), "read twice, and differently");
    // Of two names in a stanza the last counts.
    let name = |stanza: &'_ str| stanza.lines().filter_map(|line| line.strip_prefix("Package: ")).next_back().map(str::to_owned);
    for name in text.split("\n\n").filter_map(name).filter(|name| !name.is_empty()) {
        let name = name.as_str();
        let Some(package) = status.package(name) else { panic!("`{name}` is lost") };
        assert!(!(package.installed && package.gone));
        assert!(package.installed || package.gone || status.interrupted, "half there, and not seen: {package:?}");
        if package.installed
            && let Some(wanted) = wanted(name, Some(&package.version))
            && wanted.spec.name == name
        {
            assert_eq!(status.drift(&wanted), None);
        }
    }
});
