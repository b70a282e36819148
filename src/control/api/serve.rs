//! The connections of the API, over TCP or a Unix socket, perhaps with TLS: so many at once, each with a bound on its
//! heads and on the time they take.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::admission::{self, ConnectionAdmission};
use super::bounded_write::BoundedWrite;
use super::send_request::ApiClient;
use crate::base::addresses::{ListenAddr, Purpose};
use crate::base::limits;
use crate::base::panic_on_demand::panic_on_demand;
use crate::control::change_request::Standing;
use crate::net::BoundListener;
use crate::tls;
use crate::worker::GONE;

/// A listening socket on the control thread's runtime.
enum Socket {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connection of whatever kind. One type for all kinds has hyper compiled once instead of once for each kind.
trait ApiStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ApiStream for S {}

/// A socket on which the API listens.
pub struct ApiListener {
    socket: Socket,
    /// As in [`BoundListener`].
    came_for: Option<Purpose>,
}

impl ApiListener {
    /// Registers the socket with this thread's runtime, which must have been entered. Errors: no descriptors are left
    /// to watch the socket.
    pub fn open(listener: BoundListener) -> io::Result<ApiListener> {
        Ok(ApiListener {
            came_for: listener.came_for,
            socket: Socket::open(listener)?,
        })
    }
}

/// Serves for ever, up to the limit of connections at once; further connections wait in the socket's queue.
pub async fn serve(listener: ApiListener, router: Router, standing: Standing) {
    let ApiListener { socket, came_for } = listener;
    if let Some(came_for) = came_for {
        turn_away(&socket, came_for).await;
    }
    let most = standing.borrow().snapshot.descriptors.management;
    let permits = Arc::new(Semaphore::new(most));
    let mut errors = AcceptErrors::default();
    loop {
        panic_on_demand("accepting");
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match socket.accept().await {
            Ok((accepted, peer)) => {
                let router = router.clone();
                // By the configuration in force: certificates may have changed since the start.
                let admission = ConnectionAdmission::now(standing.clone());
                tokio::spawn(async move {
                    greet(accepted, peer, router, admission).await;
                    drop(permit);
                });
            }
            Err(error) => {
                errors.note(&error);
                sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)).await;
            }
        }
    }
}

/// Errors of accepting. They come many times a second, so that the log reports them now and then only.
#[derive(Default)]
struct AcceptErrors {
    told: Option<Instant>,
    /// The number of errors that the log has not reported yet.
    untold: u32,
}

impl AcceptErrors {
    fn note(&mut self, error: &io::Error) {
        self.untold += 1;
        let pause = Duration::from_secs(limits::ADMIN_ACCEPT_TELL_SECS);
        if self.told.is_none_or(|told| told.elapsed() >= pause) {
            let times = std::mem::take(&mut self.untold);
            warn!(%error, times, "the management API cannot accept a connection");
            self.told = Some(Instant::now());
        }
    }
}

/// Turns away the clients in the socket's queue that connected for another purpose, which the socket had in another
/// process: their requests must not reach the API. If no descriptor is free, the function waits for one.
async fn turn_away(socket: &Socket, came_for: Purpose) {
    let deadline = Instant::now() + Duration::from_millis(limits::LEFTOVER_MILLIS);
    let mut turned_away = 0;
    while turned_away <= limits::BACKLOG {
        // Once the time is over, only the clients that are in the queue already are accepted.
        let pause = if Instant::now() < deadline {
            Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)
        } else {
            Duration::ZERO
        };
        let Ok(accepted) = timeout(pause, socket.accept()).await else {
            return;
        };
        let Ok((accepted, _)) = accepted else {
            sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)).await;
            continue;
        };
        turned_away += 1;
        if came_for.is_cleartext {
            tokio::spawn(tell_gone(accepted));
        }
    }
}

/// Tells a client that the service it connected for is gone, and lets it read that before the connection is closed.
async fn tell_gone(mut stream: Box<dyn ApiStream>) {
    let told = async {
        stream.write_all(GONE).await?;
        stream.shutdown().await?;
        let mut waste = [0; 1024];
        while stream.read(&mut waste).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that does not take the answer in time is closed without it.
    let _ = timeout(Duration::from_millis(limits::LINGER_MILLIS), told).await;
}

impl Socket {
    fn open(listener: BoundListener) -> io::Result<Socket> {
        Ok(match listener.addr {
            ListenAddr::Tcp(_) => Socket::Tcp(TcpListener::from_std(listener.socket.into())?),
            ListenAddr::Unix(_) => Socket::Unix(UnixListener::from_std(listener.socket.into())?),
        })
    }

    async fn accept(&self) -> io::Result<(Box<dyn ApiStream>, ApiClient)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, addr) = listener.accept().await?;
                let peer = ApiClient {
                    name: addr.to_string(),
                    is_local: addr.ip().to_canonical().is_loopback(),
                };
                Ok((Box::new(stream), peer))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map(|peer| peer.uid().to_string());
                let user = user.unwrap_or_else(|_| "unknown".to_owned());
                let peer = ApiClient {
                    name: format!("unix, user {user}"),
                    is_local: true,
                };
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// Makes the TLS handshake if there is one to make, and learns who the client is.
async fn greet(
    stream: Box<dyn ApiStream>,
    peer: ApiClient,
    router: Router,
    admission: ConnectionAdmission,
) {
    let Some(tls) = admission.tls() else {
        return converse(stream, peer, router, admission).await;
    };
    let handshake = TlsAcceptor::from(tls.config.clone()).accept(stream);
    match timeout(Duration::from_secs(limits::ADMIN_HEADER_SECS), handshake).await {
        Ok(Ok(stream)) => {
            let peer = named(peer, stream.get_ref().1.peer_certificates());
            converse(Box::new(stream), peer, router, admission).await;
        }
        Ok(Err(error)) => debug!("no TLS with {} at the management API: {error}", peer.name),
        Err(_) => debug!("no TLS with {} at the management API in time", peer.name),
    }
}

/// The peer with the subject of its certificate, such as `192.0.2.1:4711, CN=alice`.
fn named(peer: ApiClient, chain: Option<&[CertificateDer<'_>]>) -> ApiClient {
    let certificate = chain.and_then(|chain| chain.first());
    match certificate.and_then(|certificate| tls::subject(certificate)) {
        Some(subject) => ApiClient {
            name: format!("{}, {subject}", peer.name),
            ..peer
        },
        None => peer,
    }
}

/// Serves one connection from beginning to end. A failure of the connection concerns its client only.
async fn converse(
    stream: Box<dyn ApiStream>,
    peer: ApiClient,
    router: Router,
    admission: ConnectionAdmission,
) {
    let router = router
        .layer(axum::Extension(peer))
        .layer(middleware::from_fn_with_state(
            admission.clone(),
            admission::check,
        ));
    let patience = Duration::from_secs(limits::ADMIN_WRITE_SECS);
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::ADMIN_HEADER_SECS))
        .max_buf_size(limits::ADMIN_HEAD_BYTES)
        .serve_connection(
            TokioIo::new(BoundedWrite::new(stream, patience)),
            TowerToHyperService::new(router),
        );
    let served = tokio::select! {
        biased;
        () = admission.end() => None,
        served = poll_fn(|cx| serving.poll_without_shutdown(cx)) => Some(served),
    };
    let served = match served {
        Some(served) => Ok(served),
        None => {
            Pin::new(&mut serving).graceful_shutdown();
            let ending = poll_fn(|cx| serving.poll_without_shutdown(cx));
            timeout(admission.patience(), ending).await
        }
    };
    if let Ok(Ok(())) = served {
        let patience = Duration::from_millis(limits::LINGER_MILLIS);
        let _ = timeout(patience, linger(serving.into_parts().io.into_inner())).await;
    }
}

/// Lets the client read an answer that came before it had sent everything, such as that its body is too large: ends the
/// sending side, and discards the bytes that still come. To close the connection at once would reset it and destroy the
/// answer.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u64> {
    stream.shutdown().await?;
    let rest = &mut stream.take(limits::ADMIN_LINGER_BYTES);
    tokio::io::copy(rest, &mut tokio::io::sink()).await
}
