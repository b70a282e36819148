//! Which files of Unix sockets the next process is to remove once it is the service: not those of sockets that a service
//! manager has.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::net::{Blob, Handed, Passed};
use crate::shared::socket_files::{SharedSocketFile, SocketFile};
use crate::snapshot::ListenAddr;

const NAME: &str = "socket-files";
/// Paths, each followed by a zero byte.
const VERSION: u32 = 1;

/// What the next process is told of the files that this one would remove. `None`: there are none.
pub fn to_blob(sockets: &[Passed]) -> Option<Blob> {
    let owned = sockets.iter().filter_map(|(socket, _)| {
        socket.file.as_ref()?;
        path_of(&socket.addr)
    });
    let paths: BTreeSet<&Path> = owned.collect();
    let bytes = |path: &Path| [path.as_os_str().as_bytes(), b"\0"].concat();
    (!paths.is_empty()).then(|| Blob {
        name: NAME.to_owned(),
        version: VERSION,
        bytes: paths.into_iter().flat_map(bytes).collect(),
    })
}

/// Makes the files that were told of this process's.
pub fn take_over(handed: &mut Handed) {
    let is_it = |blob: &&Blob| blob.name == NAME && blob.version == VERSION;
    let Some(blob) = handed.blobs.iter().find(is_it) else {
        return;
    };
    let paths = blob.bytes.split(|byte| *byte == 0);
    let told: BTreeSet<&Path> = paths
        .map(|path| Path::new(OsStr::from_bytes(path)))
        .collect();
    // One for all descriptors of a socket.
    let mut taken: BTreeMap<PathBuf, Option<SharedSocketFile>> = BTreeMap::new();
    for (socket, _) in &mut handed.sockets {
        if let Some(path) = path_of(&socket.addr)
            && told.contains(path)
        {
            let file = taken.entry(path.to_owned());
            let file = file.or_insert_with(|| SocketFile::taken_over(path)).clone();
            socket.file = file;
        }
    }
}

fn path_of(addr: &ListenAddr) -> Option<&Path> {
    match addr {
        ListenAddr::Unix(path) => Some(path),
        ListenAddr::Tcp(_) => None,
    }
}
