//! The connections of the API, over TCP or a Unix socket: so many at once, each with a bound on its heads and on the time
//! they take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::asking::Caller;
use crate::base::limits;
use crate::net::BoundListener;
use crate::snapshot::ListenAddr;

/// A listening socket on the control thread's runtime.
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that came over it.
enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves for ever, as many connections at once as there may be; further ones wait in the socket's queue. Errors: no
/// descriptors left to watch the socket.
pub async fn serve(listener: BoundListener, router: Router) -> io::Result<()> {
    let socket = Socket::open(listener)?;
    let permits = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return Ok(());
        };
        match socket.accept().await {
            Ok((accepted, caller)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    match accepted {
                        Accepted::Tcp(stream) => converse(stream, caller, router).await,
                        Accepted::Unix(stream) => converse(stream, caller, router).await,
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "the management API cannot accept a connection");
                sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)).await;
            }
        }
    }
}

impl Socket {
    fn open(listener: BoundListener) -> io::Result<Socket> {
        Ok(match listener.addr {
            ListenAddr::Tcp(_) => Socket::Tcp(TcpListener::from_std(listener.socket.into())?),
            ListenAddr::Unix(_) => Socket::Unix(UnixListener::from_std(listener.socket.into())?),
        })
    }

    async fn accept(&self) -> io::Result<(Accepted, Caller)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Accepted::Tcp(stream), Caller(peer.to_string())))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map(|peer| peer.uid().to_string());
                let user = user.unwrap_or_else(|_| "unknown".to_owned());
                Ok((Accepted::Unix(stream), Caller(format!("unix, user {user}"))))
            }
        }
    }
}

/// One connection, from beginning to end. What goes wrong with it is the client's business.
async fn converse<S>(stream: S, caller: Caller, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(axum::Extension(caller));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::ADMIN_HEADER_SECS))
        .max_buf_size(limits::ADMIN_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .without_shutdown()
        .await;
    if let Ok(parts) = served {
        let patience = Duration::from_millis(limits::LINGER_MILLIS);
        let _ = timeout(patience, linger(parts.io.into_inner())).await;
    }
}

/// Lets the client read an answer that it got before it had sent everything, such as that its body is too large: says
/// that nothing more comes, and throws away what it still sends. Closing at once would reset the connection and with it
/// the answer.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<u64> {
    stream.shutdown().await?;
    let rest = &mut stream.take(limits::ADMIN_LINGER_BYTES);
    tokio::io::copy(rest, &mut tokio::io::sink()).await
}
