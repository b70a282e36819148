//! The engine room: the only folder that names monoio, io_uring or a socket option. What the rest of the program sees
//! of them are the few types below, so that the engine can be replaced underneath.

mod blob;
mod block;
mod bound_listener;
mod connect;
mod event;
mod handover;
mod inherited;
mod listen;
mod operations;
mod plain_socket;
mod probe_socket;
mod runtime;
mod send_directly;
#[cfg(test)]
mod simulated;
mod sleeper;
mod socket;
mod socket_file;
mod timer;
pub mod tls;
mod unasked;

pub use blob::{Blob, BlobKind, UnreadableBlob};
pub use block::{Block, Blocks};
pub use bound_listener::BoundListener;
pub use connect::{connect_tcp, connect_unix};
pub use event::{Ticker, Turn, WakeEvent};
pub use handover::{Handed, HandoverLine};
pub use inherited::{Inherited, Passed, share_out};
pub use listen::{
    AcceptSwitch, ListenSocket, RemoteAddr, bind_for_all, check_address, is_exhausted,
};
pub use operations::operations;
#[cfg(not(test))]
use plain_socket::PlainSocket;
#[cfg(not(test))]
pub use plain_socket::ReceiveQueue;
pub use plain_socket::Unasked;
pub use probe_socket::{ProbeSocket, ProbeStream};
pub use runtime::{
    ChosenEngine, Engine, allowed_cpus, forgo_huge_pages, pin, raise_descriptor_limit, run, spawn,
    thread_number,
};
#[cfg(test)]
use simulated::PlainSocket;
#[cfg(test)]
pub use simulated::{ReceiveQueue, inside_engine};
pub use sleeper::{WakeSocket, run_sleeper, within};
pub use socket::Socket;
pub use socket_file::{allow, close, may_allow, unlike};
pub use timer::{Expired, Interrupted, Timer, Timers, Wheel};
pub use tls::{Negotiated, TlsFailure, TlsVersion};
