//! The connections of the API, over TCP or a Unix socket: so many at once, each with a bound on its heads and on the time
//! they take.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::warn;

use super::asking::Caller;
use crate::base::limits;
use crate::net::BoundListener;
use crate::snapshot::ListenAddr;

/// Serves for ever. Errors: no descriptors left to watch the socket.
pub async fn serve(listener: BoundListener, router: Router) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    match listener.addr {
        ListenAddr::Tcp(_) => {
            let listener = TcpListener::from_std(StdTcpListener::from(listener.socket))?;
            let accept = async || {
                let (stream, peer) = listener.accept().await?;
                Ok((stream, Caller(peer.to_string())))
            };
            accept_for_ever(accept, permits, router).await
        }
        ListenAddr::Unix(_) => {
            let listener = UnixListener::from_std(StdUnixListener::from(listener.socket))?;
            let accept = async || {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map(|peer| peer.uid().to_string());
                let user = user.unwrap_or_else(|_| "unknown".to_owned());
                Ok((stream, Caller(format!("unix, user {user}"))))
            };
            accept_for_ever(accept, permits, router).await
        }
    }
}

/// Accepts as long as there are permits; further connections wait in the socket's queue.
async fn accept_for_ever<S>(
    accept: impl AsyncFn() -> io::Result<(S, Caller)>,
    permits: Arc<Semaphore>,
    router: Router,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return Ok(());
        };
        match accept().await {
            Ok((stream, caller)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, caller, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "the API cannot accept a connection");
                sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)).await;
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
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::ADMIN_HEADER_SECS))
        .max_buf_size(limits::ADMIN_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
}
