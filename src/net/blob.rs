//! Messages that one process hands to the next at an upgrade, besides its sockets. Each is a file in memory
//! (memfd_create(2)) with a name and the version of its format.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::base::limits;

/// The name of a message, and the version of its format. A version that reads two formats has two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobKind {
    /// The name, without tabs and line ends. It never changes, because another version of the program may be at the
    /// other end.
    pub name: &'static str,
    /// The version of the format, which becomes another one whenever an earlier reader would misunderstand the bytes.
    pub version: u32,
}

/// A message: bytes with a name and a version. A process that does not know the name or the version ignores the
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The name, without tabs and line ends.
    pub name: String,
    /// The version of the format of the bytes.
    pub version: u32,
    /// The content, at most `limits::HANDOVER_BLOB_BYTES`.
    pub bytes: Vec<u8>,
}

/// A message that came and cannot be read. The receiver goes on as if the message had not been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableBlob {
    /// The name, as far as one was sent.
    pub name: String,
    /// Why the message cannot be read.
    pub reason: String,
}

impl BlobKind {
    /// A message of this kind.
    pub fn blob(self, bytes: Vec<u8>) -> Blob {
        Blob {
            name: self.name.to_owned(),
            version: self.version,
            bytes,
        }
    }

    /// Whether the message is of this kind.
    pub fn is_of(self, blob: &Blob) -> bool {
        blob.name == self.name && blob.version == self.version
    }

    /// The bytes of the first message of this kind, if there is one.
    pub fn find(self, blobs: &[Blob]) -> Option<&[u8]> {
        let blob = blobs.iter().find(|blob| self.is_of(blob))?;
        Some(&blob.bytes)
    }
}

impl Blob {
    /// A descriptor to send, whose content nobody can change any more. Errors: no descriptors or no memory are left.
    pub(super) fn to_descriptor(&self) -> io::Result<OwnedFd> {
        debug_assert!(
            !self.name.contains(['\t', '\n']),
            "the title of a blob is one line"
        );
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create(self.name.as_str(), flags)?);
        file.write_all(&self.bytes)?;
        let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, all)?;
        Ok(file.into())
    }

    /// Reads the message with this title: its name, a tab and its version. Errors: the title has another form, or the
    /// content is no file of at most `limits::HANDOVER_BLOB_BYTES`.
    ///
    /// The content is copied at once, so that it does not matter whether the file is sealed: earlier versions of the
    /// program seal nothing.
    pub(super) fn receive(
        title: &str,
        descriptor: Option<OwnedFd>,
    ) -> Result<Blob, UnreadableBlob> {
        let (name, version) = title.split_once('\t').unwrap_or((title, ""));
        let unreadable = |reason: &str| UnreadableBlob {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let version = version.parse();
        let version =
            version.map_err(|_| unreadable("the version of the message is not a number"))?;
        let descriptor = descriptor.ok_or_else(|| unreadable("no content came with it"))?;
        let bytes = read(descriptor).map_err(|error| unreadable(&error.to_string()))?;
        Ok(Blob {
            name: name.to_owned(),
            version,
            bytes,
        })
    }
}

/// The content of a file. Errors: the descriptor is no regular file, whose reading could block, or the file is too
/// large.
fn read(descriptor: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(descriptor);
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    if !file.metadata()?.is_file() {
        return Err(invalid(
            "the content of the message is not a file".to_owned(),
        ));
    }
    file.rewind()?;
    let most = limits::HANDOVER_BLOB_BYTES;
    let mut bytes = Vec::new();
    (&mut file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(invalid(format!("the message has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const KIND: BlobKind = BlobKind {
        name: "kind",
        version: 3,
    };

    #[test]
    fn a_blob_arrives_as_it_was_sent_and_cannot_be_changed_on_the_way() {
        let blob = KIND.blob(b"content".to_vec());
        let descriptor = blob.to_descriptor().unwrap();
        let mut file = File::from(descriptor.try_clone().unwrap());
        assert!(file.write_all(b"more").is_err());
        assert!(file.set_len(1).is_err());
        assert_eq!(Blob::receive("kind\t3", Some(descriptor)), Ok(blob));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_reason() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let large = File::from(memfd_create("large", MemfdFlags::CLOEXEC).unwrap());
        large.set_len(limits::HANDOVER_BLOB_BYTES + 1).unwrap();
        let rows: [(&str, Option<OwnedFd>, &str, &str); 5] = [
            ("kind\t3", None, "kind", "no content"),
            ("kind\tthree", None, "kind", "not a number"),
            ("kind", None, "kind", "not a number"),
            ("kind\t3", Some(socket.into()), "kind", "not a file"),
            ("kind\t3", Some(large.into()), "kind", "more than"),
        ];
        for (title, descriptor, name, reason) in rows {
            let unreadable = Blob::receive(title, descriptor).unwrap_err();
            assert_eq!(unreadable.name, name, "{title:?}");
            assert!(unreadable.reason.contains(reason), "{unreadable:?}");
        }
    }

    #[test]
    fn a_kind_finds_its_own_name_and_version() {
        let other_name = BlobKind {
            name: "other",
            ..KIND
        };
        let other_version = BlobKind { version: 4, ..KIND };
        let blobs =
            [other_name, other_version, KIND].map(|kind| kind.blob(vec![kind.version as u8]));
        assert_eq!(KIND.find(&blobs), Some(&[3][..]));
        assert_eq!(KIND.find(&blobs[..2]), None);
    }
}
