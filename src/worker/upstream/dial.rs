//! Connecting to a backend, with TLS where its pool speaks it.

use std::future::Future;
use std::io;
use std::pin::pin;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tracing::warn;

use crate::base::addresses::BackendAddr;
use crate::http::proxy_protocol::{self, ProxiedAddrs};
use crate::net::{Expired, Socket, Timer, TlsFailure, connect_tcp, connect_unix, is_exhausted};
use crate::snapshot::{Backend, ClientTls, Pool, Protocol, ProxyProtocol};
use crate::worker::multiplex::Unconnected;
use crate::worker::shard::Shard;

/// The settings that a TLS handshake with a backend needs.
pub struct TlsTarget {
    tls: ClientTls,
    protocol: Protocol,
    server_name: ServerName<'static>,
    /// The name of the backend in logs, with its address and port.
    label: String,
}

impl TlsTarget {
    /// The TLS settings for a connection on which this protocol is spoken; `None`: the pool uses cleartext.
    pub fn of(pool: &Pool, backend: &Backend, protocol: Protocol) -> Option<TlsTarget> {
        Some(TlsTarget {
            tls: pool.tls.clone()?,
            protocol,
            server_name: backend.server_name.clone(),
            label: backend.label.clone(),
        })
    }
}

/// The preliminaries of a connection, before its first request.
#[derive(Clone, Copy)]
pub struct Preliminaries<'a> {
    /// The PROXY header; `None`: the backend gets none.
    pub introduction: Option<&'a [u8]>,
    /// The settings of the TLS handshake; `None`: the connection stays in cleartext.
    pub security: Option<&'a TlsTarget>,
}

/// The PROXY header that tells a backend the client of the connection; `None`: the pool sends none.
pub fn introduction(pool: &Pool, introduced: &ProxiedAddrs) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    match pool.proxy_protocol? {
        ProxyProtocol::V1 => proxy_protocol::write_v1(introduced, &mut header),
        ProxyProtocol::V2 => proxy_protocol::write_v2(introduced, &mut header),
    }
    Some(header)
}

/// A new connection, with its PROXY header sent and its TLS handshake made, at most until the timer's deadline.
pub async fn dial(
    shard: &Shard,
    addr: &BackendAddr,
    preliminaries: Preliminaries<'_>,
    timer: &Timer,
) -> Result<Socket, Unconnected> {
    let mut reaching = pin!(reach(addr));
    let socket = match timer.bound(|cx| reaching.as_mut().poll(cx)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) if is_exhausted(&error) => return Err(Unconnected::Exhausted),
        Ok(Err(_)) => return Err(Unconnected::Failed),
        Err(Expired) => return Err(Unconnected::TimedOut),
    };
    greet(shard, socket, preliminaries, timer).await
}

/// A connection on which no byte was sent yet.
pub async fn reach(addr: &BackendAddr) -> io::Result<Socket> {
    match addr {
        BackendAddr::Tcp(addr) => connect_tcp(*addr).await,
        BackendAddr::Unix(path) => connect_unix(path).await,
    }
}

/// Sends the PROXY header and makes the TLS handshake.
pub async fn greet(
    shard: &Shard,
    socket: Socket,
    preliminaries: Preliminaries<'_>,
    timer: &Timer,
) -> Result<Socket, Unconnected> {
    if let Some(header) = preliminaries.introduction {
        let mut block = shard.blocks.take();
        block.extend(header);
        let sent = socket.send_all(&mut block, timer).await;
        shard.blocks.give(block);
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Unconnected::Failed),
            Err(Expired) => return Err(Unconnected::TimedOut),
        }
    }
    let Some(TlsTarget {
        tls,
        protocol,
        server_name,
        label,
    }) = preliminaries.security
    else {
        return Ok(socket);
    };
    let config = match protocol {
        Protocol::Http1 => &tls.http1,
        Protocol::Http2 => &tls.config,
    };
    let handshake = socket.connect_tls(config.clone(), server_name.clone(), &shard.blocks, timer);
    let failure = match Box::pin(handshake).await {
        // HTTP/2 is spoken only to a backend that has agreed to it by ALPN (RFC 9113 section 3.2).
        Ok(socket) if wants_http2(config) && socket.alpn().is_none() => {
            TlsFailure::from(rustls::Error::NoApplicationProtocol)
        }
        Ok(socket) => return Ok(socket),
        Err(failure) => failure,
    };
    log_no_tls(shard, label, server_name, &failure);
    match failure {
        TlsFailure::PeerGone => Err(Unconnected::Failed),
        TlsFailure::Expired => Err(Unconnected::TimedOut),
        _ => Err(Unconnected::Untrusted),
    }
}

/// Logs why a TLS handshake with a backend failed.
pub fn log_no_tls(shard: &Shard, label: &str, name: &ServerName<'_>, failure: &TlsFailure) {
    if shard.log_ration.may_log_failure() {
        let (name, reason, why) = (name.to_str(), failure.label(), failure.in_words());
        warn!("no TLS with backend {label} as {name}: {reason}: {why}");
    }
}

fn wants_http2(config: &ClientConfig) -> bool {
    config
        .alpn_protocols
        .iter()
        .any(|protocol| protocol == b"h2")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample;

    #[test]
    fn a_pool_that_wants_a_proxy_header_gets_one_of_its_version() {
        let mut pool = sample::pool(&mut sample::slots(), "api", &[]);
        let said = ProxiedAddrs::Tcp {
            client: ([192, 0, 2, 7], 4711).into(),
            server: ([192, 0, 2, 1], 443).into(),
        };
        for (version, said) in [
            (None, said),
            (Some(ProxyProtocol::V1), said),
            (Some(ProxyProtocol::V1), ProxiedAddrs::Unknown),
            (Some(ProxyProtocol::V2), said),
            (Some(ProxyProtocol::V2), ProxiedAddrs::Unknown),
            (Some(ProxyProtocol::V2), ProxiedAddrs::Local),
        ] {
            pool.options.proxy_protocol = version;
            let header = introduction(&pool, &said);
            assert_eq!(header.is_some(), version.is_some());
            if let Some(header) = header {
                let read = proxy_protocol::parse(&header).unwrap().unwrap();
                assert_eq!((read.addrs, read.bytes), (said, header.len()));
            }
        }
    }

    #[test]
    fn a_pool_in_cleartext_has_no_handshake() {
        let pool = sample::pool(&mut sample::slots(), "api", &sample::addrs(1));
        for protocol in [Protocol::Http1, Protocol::Http2] {
            assert!(TlsTarget::of(&pool, &pool.backends[0], protocol).is_none());
        }
    }
}
