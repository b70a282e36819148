//! Addresses and directories that no other test has.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// An address that nobody listens on and nobody else will be given. Each test process has a loopback address of its
/// own, and its ports lie below those that the kernel gives to outgoing connections.
pub fn free_addr() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    static ROOM: Once = Once::new();
    ROOM.call_once(allow_many_descriptors);
    let pid = process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 1 + pid[1] % 250, pid[2], 1 + pid[3] % 250);
    loop {
        let port = NEXT.fetch_add(1, Relaxed);
        assert!(port < 32_768, "the ports of this test process are used up");
        let addr = SocketAddr::from((ip, port));
        // Somebody may listen on this port of every address.
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Listens on an address. Another thread that is just starting a process may hold for a moment what was open here
/// before, and who listened on the address until now may not be done.
#[track_caller]
pub fn listen(addr: SocketAddr) -> TcpListener {
    let mut listener = None;
    super::eventually("the address is free", || {
        listener = TcpListener::bind(addr).ok();
        listener.is_some()
    });
    listener.unwrap()
}

/// Keeps an address from making or refusing any connection: its queue is full.
pub struct BlackHole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

pub fn black_hole(addr: SocketAddr) -> BlackHole {
    let listener = listen(addr);
    // SAFETY: plain system call on a live descriptor; a second listen() only changes the queue's length.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let mut queued = Vec::new();
    // One that the kernel could only not serve in time says nothing of the queue.
    let mut unserved = 0;
    while unserved < 3 {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            Ok(stream) => queued.push(stream),
            Err(_) => unserved += 1,
        }
        assert!(queued.len() < 100, "the queue takes everybody");
    }
    BlackHole {
        _listener: listener,
        _queued: queued,
    }
}

/// Both ends of most connections are in this process, and an ordinary user begins with 1024 descriptors.
fn allow_many_descriptors() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads and writes a limit of this process through a live struct.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(65_536);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

/// A directory that goes away with its owner.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("palantir-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file and tells where it is.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
