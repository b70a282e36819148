//! The files of Unix sockets that the next process has to remove once it is the service. The files of sockets that a
//! service manager passed are not among them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str;

use crate::base::addresses::ListenAddr;
use crate::net::{Blob, BlobKind, Handed, Passed};
use crate::shared::socket_files::{FileId, SharedSocketFile, SocketFile};

/// The bytes are, for each file, its device, its inode and its path, with spaces between and a zero byte at the end.
pub const SOCKET_FILES: BlobKind = BlobKind {
    name: "socket-files",
    version: 2,
};

/// The message that names the files that this process would remove. `None`: there are none.
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
    (!owned.is_empty()).then(|| SOCKET_FILES.blob(owned.into_iter().flat_map(bytes).collect()))
}

/// Makes this process responsible for the files that the message names.
pub fn take_over(handed: &mut Handed) {
    let Some(bytes) = SOCKET_FILES.find(&handed.blobs) else {
        return;
    };
    let told = bytes.split(|byte| *byte == 0).filter_map(file_of);
    // One value for all descriptors of a socket.
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
