//! The line between a process that gives its listening sockets away and the one that takes them: a pair of connected
//! sockets that carries short messages, some with descriptors (SCM_RIGHTS, unix(7)).
//!
//! A message arrives whole or not at all (SOCK_SEQPACKET), so there is nothing to frame; the end of the other process
//! is the end of the line.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use super::BoundListener;
use super::blob::{Blob, UnreadableBlob};
use super::inherited::Passed;
use crate::base::addresses::{Purpose, ServerKind};
use crate::base::limits;

const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(limits::HANDOVER_DESCRIPTORS));
/// Ends the list of sockets; an address cannot be taken for it.
const NO_MORE: &str = "no more";
/// The beginning of the title of a [`Blob`]; its name and version follow. No address begins like this.
const BLOB: &str = "blob\t";
/// The title of the memory of the cache, behind that of a blob: a version that does not know the memory ignores it as
/// a blob that is too long.
const CACHE_MEMORY: &str = "cache-memory\t1";
/// The title of the descriptor of a lock. No address has this form.
const LOCK: &str = "lock";
/// Stands between a socket's address and what it is for.
const BEFORE_PURPOSE: char = '\t';
/// The purposes that a listening socket may have, each with its word. The words never change, because another version
/// of the program reads them.
const PURPOSES: [(&str, ServerKind, bool); 5] = [
    ("proxy", ServerKind::Proxy, true),
    ("proxy-tls", ServerKind::Proxy, false),
    ("admin", ServerKind::Admin, true),
    ("admin-tls", ServerKind::Admin, false),
    ("test-server", ServerKind::TestServer, true),
];

/// One end of the line. Nothing waits longer on it than `limits::UPGRADE_SECS`.
#[derive(Debug)]
pub struct HandoverLine {
    socket: OwnedFd,
}

/// Everything that a process hands to the next one.
#[derive(Debug, Default)]
pub struct Handed {
    /// Listening sockets, each with its purpose.
    pub sockets: Vec<Passed>,
    /// The messages, each of which the next process reads or ignores.
    pub blobs: Vec<Blob>,
    /// The messages that came and cannot be read.
    pub unreadable: Vec<UnreadableBlob>,
    /// The lock of the state file, which keeps other processes from writing that file.
    pub lock: Option<OwnedFd>,
    /// The memory of the cache, and a pipe for each process that may read it; none: there is no cache.
    pub cache: Vec<OwnedFd>,
}

impl From<Vec<Passed>> for Handed {
    /// Sockets without messages and lock.
    fn from(sockets: Vec<Passed>) -> Handed {
        Handed {
            sockets,
            ..Handed::default()
        }
    }
}

impl Handed {
    /// Adds what one message brings. Errors: as [`HandoverLine::take`].
    fn add(&mut self, text: &str, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        if text == LOCK {
            self.lock = descriptors.into_iter().next();
        } else if let Some(title) = text.strip_prefix(BLOB) {
            match title.trim_end() {
                CACHE_MEMORY => self.cache = descriptors,
                title => self.add_blob(title, descriptors.into_iter().next()),
            }
        } else if descriptors.is_empty() {
            return Err(invalid(&format!("the other process says {text:?}")));
        } else {
            self.sockets.extend(sockets_of(text, descriptors)?);
            if self.sockets.len() > limits::HANDOVER_SOCKETS {
                return Err(invalid("more sockets came than a process sends"));
            }
        }
        Ok(())
    }

    fn add_blob(&mut self, title: &str, descriptor: Option<OwnedFd>) {
        let unreadable = |reason: &str| UnreadableBlob {
            name: title.to_owned(),
            reason: reason.to_owned(),
        };
        if self.blobs.len() == limits::HANDOVER_BLOBS {
            let ignored = unreadable("more messages came than a process sends");
            return self.unreadable.push(ignored);
        }
        let before: usize = self.blobs.iter().map(|blob| blob.bytes.len()).sum();
        match Blob::receive(title, descriptor) {
            Ok(blob) if (before + blob.bytes.len()) as u64 > limits::HANDOVER_ALL_BLOBS_BYTES => {
                let ignored = unreadable("all messages together are longer than a process reads");
                self.unreadable.push(ignored);
            }
            Ok(blob) => self.blobs.push(blob),
            Err(unreadable) => self.unreadable.push(unreadable),
        }
    }
}

/// The content of one message: text, and descriptors with it.
type Message = (String, Vec<OwnedFd>);

impl HandoverLine {
    /// Both ends. Errors: no descriptors left.
    pub fn pair() -> io::Result<(HandoverLine, HandoverLine)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((HandoverLine::new(one)?, HandoverLine::new(other)?))
    }

    /// The end that this process was started with. Errors: there is no such descriptor, or it is something else.
    ///
    /// # Safety
    /// Nothing else in this process may own the descriptor.
    #[expect(
        unsafe_code,
        reason = "the number of a descriptor says nothing of its owner"
    )]
    pub unsafe fn from_raw(fd: RawFd) -> io::Result<HandoverLine> {
        // SAFETY: a plain system call, which fails if there is no such descriptor; the caller vouches for ownership.
        let socket = unsafe {
            if libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        if socket_type(&socket)? != SocketType::SEQPACKET {
            let text = "the descriptor of the handover is something else";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        HandoverLine::new(socket)
    }

    fn new(socket: OwnedFd) -> io::Result<HandoverLine> {
        let patience = Some(Duration::from_secs(limits::UPGRADE_SECS));
        set_socket_timeout(&socket, Timeout::Send, patience)?;
        set_socket_timeout(&socket, Timeout::Recv, patience)?;
        Ok(HandoverLine { socket })
    }

    /// The descriptor, for starting the process that is to have this end.
    pub fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The inode of this end, which no other socket of the machine has; it is the same in every process that has this
    /// end. Errors: as the system reports them.
    pub fn identity(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.socket)?.st_ino)
    }

    /// Whether the other end is closed.
    pub fn is_closed(&self) -> bool {
        let mut ready = [PollFd::new(&self.socket, PollFlags::empty())];
        let at_once = Timespec::default();
        let polled = rustix::io::retry_on_intr(|| poll(&mut ready, Some(&at_once)));
        polled.is_ok() && ready[0].revents().contains(PollFlags::HUP)
    }

    /// Sends a message of at most `limits::HANDOVER_BYTES`; what is longer is cut off. Errors: the other end is closed,
    /// or takes nothing.
    pub fn say(&self, text: &str) -> io::Result<()> {
        self.send(text, &[])
    }

    /// Sends a message if there is room for it now. Errors: as [`HandoverLine::say`].
    pub fn say_at_once(&self, text: &str) -> io::Result<()> {
        rustix::net::send(
            &self.socket,
            text.as_bytes(),
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )
        .map_err(in_time)?;
        Ok(())
    }

    /// The next message; `None` when the other end is closed. Errors: `TimedOut`, or it is not plain text.
    pub fn hear(&self) -> io::Result<Option<String>> {
        match self.receive()? {
            None => Ok(None),
            Some((text, sockets)) if sockets.is_empty() => Ok(Some(text)),
            Some(_) => Err(io::Error::new(
                ErrorKind::InvalidData,
                "unasked-for descriptors",
            )),
        }
    }

    /// Sends listening sockets in this order, each with its address and purpose. Errors: a socket does not listen (any
    /// more), or the other end is closed or takes nothing.
    pub fn hand_sockets(&self, sockets: &[Passed]) -> io::Result<()> {
        for part in sockets.chunks(limits::HANDOVER_DESCRIPTORS) {
            let mut text = String::new();
            for (listener, purpose) in part {
                listener.check()?;
                let word = purpose.map_or("", word_of);
                text += &format!("{}{BEFORE_PURPOSE}{word}\n", listener.addr);
            }
            let sockets: Vec<_> = part
                .iter()
                .map(|(listener, _)| listener.socket.as_fd())
                .collect();
            self.send(&text, &sockets)?;
        }
        self.say(NO_MORE)
    }

    /// Sends the messages, the memory of the cache and the lock. Errors: no descriptors or no memory are left, or the
    /// other end is closed or takes nothing.
    pub fn hand_rest(&self, handed: &Handed) -> io::Result<()> {
        if let Some(lock) = &handed.lock {
            self.send(LOCK, &[lock.as_fd()])?;
        }
        let memory: Vec<_> = handed.cache.iter().map(AsFd::as_fd).collect();
        // Beyond, the cache of the next process is empty.
        if (1..=limits::HANDOVER_DESCRIPTORS).contains(&memory.len()) {
            self.send(&format!("{BLOB}{CACHE_MEMORY}\n"), &memory)?;
        }
        for blob in &handed.blobs {
            let descriptor = blob.to_descriptor()?;
            let text = format!("{BLOB}{}\t{}\n", blob.name, blob.version);
            self.send(&text, &[descriptor.as_fd()])?;
        }
        self.say(NO_MORE)
    }

    /// Receives a message of [`HandoverLine::hand_sockets`] or [`HandoverLine::hand_rest`]. A blob that cannot be read,
    /// and each blob beyond `limits::HANDOVER_BLOBS` or `limits::HANDOVER_ALL_BLOBS_BYTES`, is only noted: an upgrade
    /// does not fail for it. Errors: the other end is closed or silent, or a socket does not listen at the address that
    /// the message names.
    pub fn take(&self) -> io::Result<Handed> {
        let mut handed = Handed::default();
        for _ in 0..limits::HANDOVER_MESSAGES {
            let (text, descriptors) = self.receive()?.ok_or(ErrorKind::UnexpectedEof)?;
            if text == NO_MORE {
                return Ok(handed);
            }
            handed.add(&text, descriptors)?;
        }
        Err(invalid("more messages came than a process sends"))
    }

    fn send(&self, text: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = &text.as_bytes()[..text.floor_char_boundary(limits::HANDOVER_BYTES)];
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "too many descriptors",
            ));
        }
        let parts = [IoSlice::new(text)];
        rustix::io::retry_on_intr(|| {
            sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL)
        })
        .map_err(in_time)?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; limits::HANDOVER_BYTES];
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(
                &self.socket,
                &mut parts,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(in_time);
        let received = match received {
            // The other end was closed before it had read everything. What it had said comes after this error.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.receive(),
            received => received?,
        };
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if received
            .flags
            .intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC)
        {
            let text = "a message was cut short: this process may have too few descriptors";
            return Err(io::Error::other(text));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "a message is not text"))?;
        Ok(Some((text, sockets)))
    }
}

/// The listening sockets of one message.
fn sockets_of(text: &str, descriptors: Vec<OwnedFd>) -> io::Result<Vec<Passed>> {
    if text.lines().count() != descriptors.len() {
        return Err(invalid(
            "as many listening sockets as addresses should have come",
        ));
    }
    let sockets = text.lines().zip(descriptors).map(|(line, socket)| {
        // An older version sends no purpose.
        let (addr, word) = line.rsplit_once(BEFORE_PURPOSE).unwrap_or((line, ""));
        Ok((adopt_from(addr, socket)?, purpose_of(word)))
    });
    sockets.collect()
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn word_of(purpose: Purpose) -> &'static str {
    let Purpose {
        server,
        is_cleartext,
    } = purpose;
    let mut known = PURPOSES.iter();
    let known = known.find(|(_, kind, cleartext)| (*kind, *cleartext) == (server, is_cleartext));
    debug_assert!(known.is_some(), "each purpose has a word");
    known.map_or("", |(word, ..)| word)
}

/// `None`: it was not said, or in a word of another version.
fn purpose_of(word: &str) -> Option<Purpose> {
    let (_, server, is_cleartext) = *PURPOSES.iter().find(|(known, ..)| *known == word)?;
    Some(Purpose {
        server,
        is_cleartext,
    })
}

fn adopt_from(addr: &str, socket: OwnedFd) -> io::Result<BoundListener> {
    let listener = BoundListener::adopt(socket)?;
    if listener.addr.to_string() != addr {
        let text = format!("a socket for {addr} listens on {}", listener.addr);
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    Ok(listener)
}

/// A time-out shows as EAGAIN, which reads as if one should try again.
fn in_time(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::AGAIN => ErrorKind::TimedOut.into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests;
