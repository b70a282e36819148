//! The users that may have put a file where it is. A process that runs as root, or with open ports and keys, starts no
//! file that another user can replace.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::process::{getegid, geteuid};

use crate::base::limits;

/// The user and group of this process.
#[derive(Clone, Copy)]
struct Us {
    user: u32,
    group: u32,
}

/// The bit of a folder in which users may only change their own files.
const STICKY: u32 = 0o1000;

/// Follows an absolute path through all folders and links on its way. Errors: the first of them that users other than
/// root and this process's may change.
pub fn check(path: &Path) -> Result<(), String> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    follow(path, Us { user, group })
}

fn follow(path: &Path, us: Us) -> Result<(), String> {
    let cannot = |at: &Path, why: &dyn std::fmt::Display| {
        format!("cannot start {}: {}: {why}", path.display(), at.display())
    };
    let mut steps = steps_of(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = steps.pop_front() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let metadata = fs::symlink_metadata(&next).map_err(|error| cannot(&next, &error))?;
        if !is_ours(&metadata, us) {
            let why = "others than root and the user of this process may change it";
            return Err(cannot(&next, &why));
        }
        if !metadata.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > limits::LINKS {
            return Err(cannot(&next, &"too many symbolic links"));
        }
        let target = fs::read_link(&next).map_err(|error| cannot(&next, &error))?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for step in steps_of(&target).into_iter().rev() {
            steps.push_front(step);
        }
    }
    Ok(())
}

fn steps_of(path: &Path) -> VecDeque<OsString> {
    let steps = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir));
    let steps = steps.map(|component| component.as_os_str().to_owned());
    steps.filter(|step| !step.as_bytes().is_empty()).collect()
}

/// Whether only root and this process's user may change the file. A link has no mode of its own. In a folder like
/// `/tmp` everybody may create files, and only the owner of a file may change it; the owner of each file on the path is
/// checked, too.
fn is_ours(metadata: &Metadata, us: Us) -> bool {
    let is_owned = [0, us.user].contains(&metadata.uid());
    let (mode, is_folder) = (metadata.mode(), metadata.is_dir());
    let by_group = mode & 0o020 != 0 && ![0, us.group].contains(&metadata.gid());
    let by_others = mode & 0o002 != 0;
    let is_shared = is_folder && mode & STICKY != 0;
    is_owned && (metadata.is_symlink() || is_shared || !(by_group || by_others))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_change_is_refused_wherever_it_is_on_the_way() {
        let root = std::env::temp_dir().join(format!("trust-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let (folder, other) = (root.join("bin"), root.join("opt"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(&other).unwrap();
        let (file, link) = (folder.join("palantir"), other.join("palantir"));
        fs::write(&file, "").unwrap();
        symlink("../bin/palantir", &link).unwrap();
        let all = [&root, &folder, &other, &file];
        let reset = || all.iter().for_each(|path| mode(path, 0o755));
        // Columns: the file to change, its new mode, and whether the file and the link to it may be started then.
        let rows = [
            (&file, 0o755, true, true),
            (&file, 0o757, false, false),
            (&folder, 0o757, false, false),
            (&folder, 0o1777, true, true),
            (&other, 0o777, true, false),
            (&root, 0o777, false, false),
        ];
        for (path, bits, starts, link_starts) in rows {
            reset();
            mode(path, bits);
            let shown = format!("{} {bits:o}", path.display());
            assert_eq!(check(&file).is_ok(), starts, "{shown}: {:?}", check(&file));
            assert_eq!(
                check(&link).is_ok(),
                link_starts,
                "{shown}: {:?}",
                check(&link)
            );
        }
        reset();
        let ours = (geteuid().as_raw(), getegid().as_raw());
        mode(&file, 0o775);
        let as_group = |group| {
            follow(
                &file,
                Us {
                    user: ours.0,
                    group,
                },
            )
            .is_ok()
        };
        assert!(as_group(ours.1));
        assert!(
            as_group(ours.1 + 1) == (ours.1 == 0),
            "the group's members are others"
        );
        let stranger = Us {
            user: ours.0 + 1,
            group: ours.1,
        };
        assert!(
            follow(&file, stranger).is_ok() == (ours.0 == 0),
            "somebody else's file"
        );
        symlink("loop", root.join("loop")).unwrap();
        assert!(check(&root.join("loop")).unwrap_err().contains("too many"));
        assert!(check(&root.join("absent")).is_err());
        fs::remove_dir_all(&root).unwrap();
    }
}
