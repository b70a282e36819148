//! The memory that this process may have: what the machine has, or what a control group leaves it.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of control groups. In version 1, memory has a hierarchy of its own.
const GROUPS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup", "", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes"),
];

/// Bytes of memory that this process may have at most.
pub(super) fn memory_bytes() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let bound = bound_by_groups(&groups, |path| fs::read_to_string(path).ok());
    machine_bytes().min(bound)
}

fn machine_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    (machine.totalram as u64).saturating_mul(machine.mem_unit.into())
}

/// The smallest bound of the groups that a process belongs to and of all above them. `groups`: the text of
/// `/proc/self/cgroup` (cgroups(7)), a line `number:controllers:path` for each hierarchy; version 2 names no
/// controller.
fn bound_by_groups(groups: &str, read: impl Fn(&Path) -> Option<String>) -> u64 {
    let mut least = u64::MAX;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        for (root, controller, file) in GROUPS {
            if !controllers.split(',').any(|name| name == controller) {
                continue;
            }
            let root = PathBuf::from(root);
            let own = root.join(group.trim_start_matches('/'));
            let above = own.ancestors().take_while(|path| path.starts_with(&root));
            // A group without a bound says so by "max", or by a number that no machine has.
            let bounds = above.filter_map(|path| read(&path.join(file))?.trim().parse().ok());
            least = bounds.min().map_or(least, |bound: u64| bound.min(least));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(groups: &str, files: &[(&str, &str)]) -> u64 {
        bound_by_groups(groups, |path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_smallest_bound_on_the_way_up_holds() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.max", "2000\n"),
            ("/sys/fs/cgroup/c/memory.max", "5\n"),
            ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "700\n"),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        assert_eq!(bound("0::/a/b\n", &files), 1000);
        assert_eq!(bound("5:cpu:/c\n4:memory:/x\n0::/a\n", &files), 700);
        assert_eq!(bound("0::/\n", &files), 2000);
        assert_eq!(bound("0::/../c\n", &[]), u64::MAX);
        assert_eq!(bound("", &files), u64::MAX);
        assert_eq!(bound("nonsense\n:\n", &files), u64::MAX);
    }

    #[test]
    fn this_machine_has_some() {
        assert!((1 << 20..1 << 50).contains(&memory_bytes()));
    }
}
