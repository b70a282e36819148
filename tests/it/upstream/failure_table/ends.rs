//! Where backends listen, and how they end connections.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;

use super::cases::{Elsewhere, Ending, Failure, Version};
use super::stage::Stage;
use super::{h1_backend, h2_backend};
use crate::support::origin::unacknowledged;
use crate::support::place::free_addr;
use crate::support::{PATIENCE, eventually};

/// The addresses of all backends. They listen until the process ends.
pub struct Backends {
    h1: [SocketAddr; 2],
    h2: [SocketAddr; 2],
    refusing: SocketAddr,
    closing: SocketAddr,
    resetting: SocketAddr,
    one_by_one: SocketAddr,
}

impl Backends {
    pub fn start(stage: &Arc<Stage>) -> Backends {
        let serving = |serve: fn(&Stage, TcpStream)| {
            let stage = stage.clone();
            listen(move |stream| serve(&stage, stream))
        };
        Backends {
            h1: [serving(h1_backend::serve), serving(h1_backend::serve)],
            h2: [serving(h2_backend::serve), serving(h2_backend::serve)],
            refusing: free_addr(),
            closing: listen(drop),
            resetting: listen(|stream| end_with_reset(&stream)),
            one_by_one: serving(h2_backend::serve_one_by_one),
        }
    }

    /// The backends of a case's pool as its configuration names them. One that fails whoever connects stands before a
    /// good one with a weight that makes it the first, as a rule.
    pub fn of(&self, pool: Version, failure: Failure, elsewhere: Elsewhere) -> String {
        let good = match pool {
            Version::H1 => self.h1,
            Version::H2 => self.h2,
        };
        let bad = match failure {
            Failure::RefusesConnections => Some(self.refusing),
            Failure::EndsAtOnce(Ending::Reset) => Some(self.resetting),
            Failure::EndsAtOnce(_) => Some(self.closing),
            Failure::RefusesStreams => return format!("[\"{}\"]", self.one_by_one),
            _ => None,
        };
        match (bad, elsewhere) {
            (None, Elsewhere::Nobody) => format!("[\"{}\"]", good[0]),
            (None, _) => format!("[\"{}\", \"{}\"]", good[0], good[1]),
            (Some(bad), Elsewhere::Nobody) => format!("[\"{bad}\"]"),
            (Some(bad), _) => {
                format!("[{{ addr = \"{bad}\", weight = 256 }}, \"{}\"]", good[0])
            }
        }
    }
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let addr = free_addr();
    let listener = crate::support::place::listen(addr);
    // SAFETY: plain system call on a live descriptor; a second listen() only changes the queue's length.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
            stream.set_write_timeout(Some(4 * PATIENCE)).unwrap();
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Lets the connection end with a reset instead of an orderly close. A reset throws away what has not been sent yet, so
/// it waits until the proxy's side has everything.
pub fn end_with_reset(stream: &TcpStream) {
    eventually("what was sent has arrived", || unacknowledged(stream) == 0);
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: sets an option on a live descriptor from a live struct of the right size.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    };
    assert_eq!(done, 0, "SO_LINGER");
}

/// Ends what is sent, and waits until the proxy's side has received the end: on a busy machine the kernel delivers it
/// some time after the call.
pub fn end_and_be_heard(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    eventually("the end has arrived", || unacknowledged(stream) == 0);
}
