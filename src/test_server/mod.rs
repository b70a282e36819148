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
use tokio::sync::{Semaphore, watch};

use crate::base::limits;

/// The server that answers.
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

/// Listens on an address. Errors: it cannot be listened on; the message names it.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).map_err(|error| {
        let text = format!("the test server cannot listen on {addr}: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Starts one server on each socket, all on one thread named `test-server` that runs as long as the process. The
/// servers accept while `accepting` is true; connections from before it became false are served as before. `most`: the
/// greatest number of connections at once, of all servers together. Errors: no descriptors are left, or no thread can
/// be started.
pub fn start(
    listeners: Vec<TcpListener>,
    accepting: watch::Receiver<bool>,
    most: usize,
) -> io::Result<JoinHandle<()>> {
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("test-server".to_owned())
        .spawn(move || runtime.block_on(serve(listeners, accepting, most)))
}

/// Serves all listeners for ever.
async fn serve(listeners: Vec<TcpListener>, accepting: watch::Receiver<bool>, most: usize) {
    let free = Arc::new(Semaphore::new(most));
    let mut servers = tokio::task::JoinSet::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (free, mut accepting) = (free.clone(), accepting.clone());
        servers.spawn(async move {
            // If the sender is gone, the process ends.
            let _ = accepting.wait_for(|accepting| *accepting).await;
            tokio::select! {
                ended = accept(index + 1, listener, free) => ended,
                () = no_longer(accepting) => Ok(()),
            }
        });
    }
    drop(accepting);
    while let Some(ended) = servers.join_next().await {
        if let Ok(Err(error)) = ended {
            tracing::error!("a test server ended: {error}");
        }
    }
    // Connections that were accepted are still being served.
    std::future::pending().await
}

async fn no_longer(mut accepting: watch::Receiver<bool>) {
    let said = accepting.wait_for(|accepting| !accepting).await.is_ok();
    if !said {
        // Nobody is left who could say it.
        std::future::pending().await
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
