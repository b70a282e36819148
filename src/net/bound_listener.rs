//! A listening socket on its way to the worker that accepts from it.

use std::io;
use std::os::fd::OwnedFd;

use crate::base::addresses::{ListenAddr, Purpose};
use crate::messages::ToWorker;
use crate::shared::socket_files::SharedSocketFile;

/// A bound and listening socket that no runtime owns yet.
#[derive(Debug)]
pub struct BoundListener {
    pub addr: ListenAddr,
    pub socket: OwnedFd,
    /// The purpose for which the clients in the socket's queue came, if the socket has another purpose now: another
    /// process had the socket before.
    pub came_for: Option<Purpose>,
    /// The file of a Unix socket, if this process has to remove it.
    pub file: Option<SharedSocketFile>,
}

impl From<BoundListener> for ToWorker {
    fn from(bound: BoundListener) -> ToWorker {
        ToWorker::Listen {
            addr: bound.addr,
            socket: bound.socket,
            came_for: bound.came_for,
        }
    }
}

impl BoundListener {
    /// Another descriptor of the same socket: several workers then share its queue, or somebody keeps it open.
    /// Errors: no descriptors left.
    pub fn try_clone(&self) -> io::Result<BoundListener> {
        Ok(BoundListener {
            addr: self.addr.clone(),
            socket: self.socket.try_clone()?,
            came_for: self.came_for,
            file: self.file.clone(),
        })
    }
}
