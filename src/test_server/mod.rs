//! Origins to try the proxy against, started by the program itself: a fresh clone answers its first request without
//! any other server. Plain tokio on one thread of its own, because what stands behind the proxy must not share code
//! with it.

mod answer;
mod connection;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::base::limits;

/// Which of the servers answers.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// Counted from 1 in the order of the configuration.
    number: usize,
    addr: SocketAddr,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test server {} at {}", self.number, self.addr)
    }
}

/// A request with its body.
struct Request {
    /// As received, the empty line included.
    head: Bytes,
    method: String,
    target: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    minor_version: u8,
    /// Without the chunks around it.
    body: Bytes,
    /// Whether another request may follow.
    keep_alive: bool,
}

/// Starts one server on each address, all on one thread named `test-server` that runs as long as the process. Errors:
/// an address that cannot be listened on, named in the message; nothing is left listening then.
pub fn start(addrs: &[SocketAddr]) -> io::Result<JoinHandle<()>> {
    let mut listeners = Vec::with_capacity(addrs.len());
    for &addr in addrs {
        let listener = bind(addr).map_err(|error| {
            let text = format!("the test server cannot listen on {addr}: {error}");
            io::Error::new(error.kind(), text)
        })?;
        listeners.push(listener);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("test-server".to_owned())
        .spawn(move || runtime.block_on(serve(listeners)))
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves all listeners for ever.
async fn serve(listeners: Vec<TcpListener>) {
    let free = Arc::new(Semaphore::new(limits::TEST_SERVER_CONNECTIONS));
    let mut servers = tokio::task::JoinSet::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        servers.spawn(accept(index + 1, listener, free.clone()));
    }
    while let Some(ended) = servers.join_next().await {
        if let Ok(Err(error)) = ended {
            tracing::error!("a test server ended: {error}");
        }
    }
}

async fn accept(number: usize, listener: TcpListener, free: Arc<Semaphore>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let addr = listener.local_addr()?;
    let origin = Origin { number, addr };
    loop {
        let permit = free.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    connection::run(stream, origin).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back when connections end.
                tracing::warn!("test server {number} cannot accept: {error}");
                let pause = Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS);
                tokio::time::sleep(pause).await;
            }
        }
    }
}
