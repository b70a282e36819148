//! Which files of Unix sockets the next process is to remove once it is the service: not those of sockets that a service
//! manager has.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str;

use crate::net::{Blob, Handed, Passed};
use crate::shared::socket_files::{FileId, SharedSocketFile, SocketFile};
use crate::snapshot::ListenAddr;

const NAME: &str = "socket-files";
/// For each file its device, its inode and its path, with a space between them and a zero byte behind them.
const VERSION: u32 = 2;

/// What the next process is told of the files that this one would remove. `None`: there are none.
pub fn to_blob(sockets: &[Passed]) -> Option<Blob> {
    let owned = sockets.iter().filter_map(|(socket, _)| {
        let file = socket.file.as_ref()?;
        Some((path_of(&socket.addr)?, file.id()))
    });
    let owned: BTreeMap<&Path, FileId> = owned.collect();
    let bytes = |(path, (device, inode)): (&Path, FileId)| {
        let id = format!("{device} {inode} ");
        [id.as_bytes(), path.as_os_str().as_bytes(), b"\0"].concat()
    };
    (!owned.is_empty()).then(|| Blob {
        name: NAME.to_owned(),
        version: VERSION,
        bytes: owned.into_iter().flat_map(bytes).collect(),
    })
}

/// Makes the files that were told of this process's.
pub fn take_over(handed: &mut Handed) {
    let is_it = |blob: &&Blob| blob.name == NAME && blob.version == VERSION;
    let Some(blob) = handed.blobs.iter().find(is_it) else {
        return;
    };
    let told = blob.bytes.split(|byte| *byte == 0).filter_map(file_of);
    // One for all descriptors of a socket.
    let taken: BTreeMap<&Path, SharedSocketFile> = told
        .map(|(path, id)| (path, SocketFile::taken_over(path, id)))
        .collect();
    for (socket, _) in &mut handed.sockets {
        let path = path_of(&socket.addr);
        socket.file = path.and_then(|path| taken.get(path).cloned());
    }
}

fn file_of(words: &[u8]) -> Option<(&Path, FileId)> {
    let mut words = words.splitn(3, |byte| *byte == b' ');
    let mut number = || str::from_utf8(words.next()?).ok()?.parse().ok();
    let id = (number()?, number()?);
    Some((Path::new(OsStr::from_bytes(words.next()?)), id))
}

fn path_of(addr: &ListenAddr) -> Option<&Path> {
    match addr {
        ListenAddr::Unix(path) => Some(path),
        ListenAddr::Tcp(_) => None,
    }
}
