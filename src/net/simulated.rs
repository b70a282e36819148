//! What takes the place of the engine in the simulated world (`crate::simulated`): only for tests.

use std::cell::UnsafeCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::net::TcpStream;

use super::socket::{Raw, Watch};
use super::{Block, Expired, Peer, Socket, Timer};
use crate::shared::sockets::{Counted, Side};
pub use crate::simulated::End;

thread_local! {
    /// Stands where a simulated socket has no descriptor of its own.
    static RAW: std::cell::RefCell<Option<Rc<Raw>>> = const { std::cell::RefCell::new(None) };
}

/// A descriptor for simulated sockets, all the same one, which nobody uses. The engine must be running.
pub fn raw() -> Rc<Raw> {
    RAW.with_borrow_mut(|raw| {
        let made = raw.get_or_insert_with(|| {
            let (socket, _) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = std::net::TcpStream::from(std::os::fd::OwnedFd::from(socket));
            Rc::new(UnsafeCell::new(TcpStream::from_std(socket).unwrap()))
        });
        made.clone()
    })
}

/// Runs a simulation inside an engine, which has nothing to do but to hold descriptors.
pub fn inside_engine<T>(run: impl FnOnce() -> T) -> T {
    let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build();
    runtime.unwrap().block_on(async {
        let outcome = run();
        RAW.set(None);
        outcome
    })
}

/// The wait for bytes of a simulated connection.
pub struct Watched(pub End);

impl Watch for Watched {
    fn begin(self: Pin<&mut Self>, _: &Raw) {
        self.0.watch();
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx)
    }

    fn is_pending(&self) -> bool {
        self.0.is_watched()
    }
}

/// Receives some of what is there into a block.
pub fn receive(end: &End, block: &mut Block, most: usize) -> io::Result<usize> {
    let bytes = end.receive(block.room().min(most))?;
    block.extend(&bytes);
    Ok(bytes.len())
}

/// Sends some of the first `count` bytes of a block, which is lost if the deadline passes meanwhile.
pub async fn send(
    end: &End,
    block: &mut Block,
    count: usize,
    timer: &Timer,
) -> Result<io::Result<usize>, Expired> {
    let taken = std::mem::take(block);
    let mut sending = pin!(end.send(taken.filled()[..count].to_vec()));
    let outcome = timer.bound(|cx| sending.as_mut().poll(cx)).await;
    if outcome.is_ok() {
        *block = taken;
    }
    outcome
}

/// The socket of a client that was accepted.
pub fn accepted((end, from): (End, SocketAddr)) -> (Socket, Peer) {
    let socket = Socket::simulated(raw(), end, Counted::new(Side::Accepted));
    (socket, Peer::Tcp(from))
}
