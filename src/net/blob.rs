//! Messages that one process hands to the next at an upgrade, besides its sockets. Each is a file in memory
//! (memfd_create(2)) with a name and the version of its format.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::base::limits;

/// A message: bytes with a name and a version. A process that does not know the name or the version ignores the
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The name, without tabs and line ends.
    pub name: String,
    /// The version of the form that the bytes have.
    pub version: u32,
    /// The contents.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// A descriptor to send. Errors: no descriptors or no memory are left.
    pub(super) fn to_descriptor(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create(self.name.as_str(), MemfdFlags::CLOEXEC)?);
        file.write_all(&self.bytes)?;
        Ok(file.into())
    }

    /// Reads a received message. Errors: it has more than `limits::HANDOVER_BLOB_BYTES`, or is no file.
    pub(super) fn from_descriptor(
        name: &str,
        version: u32,
        descriptor: OwnedFd,
    ) -> io::Result<Blob> {
        let mut file = File::from(descriptor);
        file.rewind()?;
        let most = limits::HANDOVER_BLOB_BYTES;
        let mut bytes = Vec::new();
        (&mut file).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            let text = format!("{name}: more than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Blob {
            name: name.to_owned(),
            version,
            bytes,
        })
    }
}
