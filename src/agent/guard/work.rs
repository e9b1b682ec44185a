//! Whether the worker has work: processes beyond its main one.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::files::Kind;
use crate::launch::WORKER;

/// Where control groups are: unified, hybrid, and of version 1.
const TREES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// Groups below the worker's; builds may make some of their own.
const DEEPEST: usize = 16;

/// Whether the worker's control group has more than one process. Costs no process.
pub fn is_there(host: &Host) -> bool {
    TREES.iter().any(|tree| count(host, &Path::new(tree).join("system.slice").join(WORKER), 0) > 1)
}

/// How many processes are in a group and those below it; exactly only up to two.
fn count(host: &Host, group: &Path, depth: usize) -> usize {
    let own = host.read_text(&group.join("cgroup.procs")).ok().flatten().map_or(0, |pids| pids.lines().count());
    if own > 1 || depth == DEEPEST {
        return own;
    }
    groups(host, group).iter().fold(own, |sum, below| if sum > 1 { sum } else { sum + count(host, below, depth + 1) })
}

fn groups(host: &Host, group: &Path) -> Vec<PathBuf> {
    let is_group = |path: &PathBuf| matches!(host.stat(path), Ok(Some(stat)) if stat.kind == Kind::Directory);
    let names = host.list(group).unwrap_or_default();
    names.into_iter().map(|name| group.join(name)).filter(is_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::Attributes;

    fn host(groups: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        for (group, pids) in groups {
            let file = Path::new(TREES[0]).join("system.slice").join(WORKER).join(group).join("cgroup.procs");
            host.write(&file, pids.as_bytes(), Attributes::PUBLIC).unwrap();
        }
        (root, host)
    }

    #[test]
    fn one_process_is_no_work_and_a_second_is_wherever_it_is() {
        for (groups, work) in [
            (&[][..], false),
            (&[(".", "12\n")], false),
            (&[(".", "12\n13\n")], true),
            (&[(".", ""), ("main", "12\n")], false),
            (&[(".", "12\n"), ("build/container", "13\n")], true),
        ] {
            let (_root, host) = host(groups);
            assert_eq!(is_there(&host), work, "{groups:?}");
        }
    }
}
