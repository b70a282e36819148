//! Handshakes: those that succeed, with what they agree on, and those that fail, with what the peer is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

use super::*;
use crate::net::TlsVersion;

#[test]
fn a_server_learns_what_its_client_asked_for() {
    let pki = Pki::new();
    for versions in BOTH {
        let mut server = pki.server_config(versions);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = pki.client_config(versions);
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (server, client) = (Arc::new(server), Arc::new(client));
        for resumed in [false, true] {
            let client = client.clone();
            let peer = move |stream| {
                let mut peer = peer_client(&client, stream);
                peer.send(b"ping");
                assert_eq!(peer.receive_exactly(4), b"pong");
            };
            meet(peer, async |socket, core| {
                let socket = core.accept(socket, &server).await.unwrap();
                assert_eq!(core.receive_exactly(&socket, 4).await, b"ping");
                core.send(&socket, b"pong").await;
                assert!(socket.is_tls());
                assert_eq!(socket.alpn(), Some(&b"http/1.1"[..]));
                assert_eq!(socket.server_name(), Some("server.test"));
                assert_eq!(socket.peer_certificate(), None);
                let negotiated = socket.negotiated().unwrap();
                assert_eq!(negotiated.version, version_of(versions));
                assert_eq!(negotiated.resumed, resumed);
            });
        }
    }
}

#[test]
fn a_client_learns_what_its_server_chose() {
    let pki = Pki::new();
    for versions in BOTH {
        let mut server = pki.server_config(versions);
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = pki.client_config(versions);
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (server, client) = (Arc::new(server), Arc::new(client));
        for resumed in [false, true] {
            let server = server.clone();
            let peer = move |stream| {
                let mut peer = peer_server(&server, stream);
                assert_eq!(peer.receive_exactly(4), b"ping");
                peer.send(b"pong");
                assert!(peer.receive_all().1);
            };
            meet(peer, async |socket, core| {
                let socket = core.connect(socket, &client).await.unwrap();
                core.send(&socket, b"ping").await;
                assert_eq!(core.receive_exactly(&socket, 4).await, b"pong");
                assert_eq!(socket.alpn(), Some(&b"h2"[..]));
                assert_eq!(socket.server_name(), None);
                assert_eq!(socket.peer_certificate(), Some(pki.server.0.as_ref()));
                let negotiated = socket.negotiated().unwrap();
                assert_eq!(negotiated.version, version_of(versions));
                assert_eq!(negotiated.resumed, resumed);
            });
        }
    }
}

fn version_of(versions: &[&'static SupportedProtocolVersion]) -> TlsVersion {
    match versions {
        TLS12 => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    }
}

#[test]
fn a_client_can_be_known_by_its_certificate() {
    let pki = Pki::new();
    for versions in BOTH {
        let server = Arc::new(pki.strict_server_config(versions));
        let client = Arc::new(pki.known_client_config(versions));
        let peer = move |stream| peer_client(&client, stream).send(b"here I am");
        meet(peer, async |socket, core| {
            let socket = core.accept(socket, &server).await.unwrap();
            assert_eq!(socket.peer_certificate(), Some(pki.client.0.as_ref()));
            assert_eq!(core.receive_exactly(&socket, 9).await, b"here I am");
        });
    }
}

#[test]
fn we_can_be_known_by_our_certificate() {
    let pki = Pki::new();
    for versions in BOTH {
        let server = Arc::new(pki.strict_server_config(versions));
        let client = Arc::new(pki.known_client_config(versions));
        let peer = move |stream| {
            let mut peer = peer_server(&server, stream);
            peer.handshake().unwrap();
            peer.tls.peer_certificates().unwrap()[0].as_ref().to_vec()
        };
        let (shown, _) = meet(peer, async |socket, core| {
            core.connect(socket, &client).await.unwrap();
        });
        assert_eq!(shown, pki.client.0.as_ref());
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_it_needs_one() {
    let pki = Pki::new();
    for versions in BOTH {
        let server = Arc::new(pki.strict_server_config(versions));
        let client = Arc::new(pki.client_config(versions));
        let peer = move |stream| {
            let mut peer = peer_client(&client, stream);
            peer.plain().read(&mut [0]).unwrap_err().to_string()
        };
        let (told, failure) = meet(peer, async |socket, core| {
            core.accept(socket, &server).await.unwrap_err()
        });
        assert_eq!(failure.label(), "certificate_missing");
        let reason = told.to_lowercase();
        assert!(
            reason.contains("certificate") || reason.contains("handshakefailure"),
            "{told}"
        );
    }
}

#[test]
fn a_server_that_cannot_prove_its_name_is_refused() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let attempts: [(ClientConfig, &str, &str, AlertDescription); 2] = [
        (
            pki.client_config(TLS13),
            "other.test",
            "certificate_wrong_name",
            AlertDescription::BadCertificate,
        ),
        (
            Pki::of("somebody else").client_config(TLS13),
            "server.test",
            "certificate_unknown_issuer",
            AlertDescription::UnknownCA,
        ),
    ];
    for (client, name, word, alert) in attempts {
        let server = server.clone();
        let name = ServerName::try_from(name).unwrap();
        let peer = move |stream| peer_server(&server, stream).handshake().unwrap_err();
        let (told, failure) = meet(peer, async |socket, core| {
            let attempt = socket.connect_tls(Arc::new(client), name, &core.blocks, &core.timer);
            attempt.await.unwrap_err()
        });
        assert_eq!(failure.label(), word);
        let told = told.downcast::<Error>().unwrap();
        assert_eq!(told, Error::AlertReceived(alert));
    }
}

#[test]
fn our_certificate_may_be_refused() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let client = Arc::new(Pki::of("somebody else").client_config(TLS13));
    let peer = move |stream| peer_client(&client, stream).handshake().unwrap_err();
    let (known, failure) = meet(peer, async |socket, core| {
        core.accept(socket, &server).await.unwrap_err()
    });
    let known = known.downcast::<Error>().unwrap();
    assert_eq!(
        known,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
    assert_eq!(failure.label(), "refused_by_peer");
}

#[test]
fn plain_http_comes_back_with_its_socket() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let peer = |mut stream: TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let (answer, _) = meet(peer, async |socket, core| {
        let failure = core.accept(socket, &server).await.unwrap_err();
        let TlsFailure::PlainHttp { socket, received } = failure else {
            panic!("{failure:?}");
        };
        assert_eq!(received.filled(), b"GET / HTTP/1.1\r\n\r\n");
        assert!(!socket.is_tls());
        core.send(&socket, b"in the clear").await;
    });
    assert_eq!(answer, "in the clear");
}

#[test]
fn garbage_is_answered_by_an_alert() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let nonsense: [&[u8]; 3] = [
        b"\x00\x01\x02\x03 hello, hello",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ];
    for bytes in nonsense {
        let peer = move |mut stream: TcpStream| {
            stream.write_all(bytes).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        };
        let (answer, failure) = meet(peer, async |socket, core| {
            core.accept(socket, &server).await.unwrap_err()
        });
        assert!(matches!(failure, TlsFailure::Refused(..)), "{failure:?}");
        assert_eq!(failure.label(), "malformed");
        assert!(
            matches!(answer[..], [21, 3, _, 0, 2, 2, _]),
            "a fatal alert: {answer:?}"
        );
    }
}

/// Writes and reads byte by byte.
struct Trickle(TcpStream);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

impl Write for Trickle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let pki = Pki::new();
    for versions in BOTH {
        let server = Arc::new(pki.strict_server_config(versions));
        let client = Arc::new(pki.known_client_config(versions));
        let peer = move |stream| {
            let peer = peer_client(&client, stream);
            let (tls, stream) = (peer.tls, Trickle(peer.stream));
            let mut peer = Peer { tls, stream };
            peer.send(b"ping");
            assert_eq!(peer.receive_exactly(4), b"pong");
        };
        meet(peer, async |socket, core| {
            let socket = core.accept(socket, &server).await.unwrap();
            assert_eq!(socket.server_name(), Some("server.test"));
            assert_eq!(core.receive_exactly(&socket, 4).await, b"ping");
            core.send(&socket, b"pong").await;
        });
    }
}

#[test]
fn what_was_received_before_is_part_of_the_handshake() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    for before in [1, 5, 64, 1 << 14] {
        let client = Arc::new(pki.client_config(TLS13));
        let peer = move |stream| {
            let mut peer = peer_client(&client, stream);
            peer.send(b"ping");
        };
        meet(peer, async |socket, core| {
            let mut received = core.blocks.take();
            received.extend(b"gone: ");
            received.consume(6);
            let first = core.receive(&socket, before).await.unwrap();
            received.extend(&first);
            let accepting = socket.accept_tls(server.clone(), received, &core.blocks, &core.timer);
            let socket = accepting.await.unwrap();
            assert_eq!(socket.server_name(), Some("server.test"));
            assert_eq!(core.receive_exactly(&socket, 4).await, b"ping");
        });
    }
}

#[test]
fn a_silent_client_costs_a_deadline() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let peer = |mut stream: TcpStream| {
        stream.write_all(&[22, 3, 1]).unwrap();
        let _ = stream.read(&mut [0]);
    };
    let (_, failure) = meet(peer, async |socket, core| {
        core.timer.set(Duration::from_millis(200));
        core.accept(socket, &server).await.unwrap_err()
    });
    assert!(matches!(failure, TlsFailure::Expired), "{failure:?}");
}

#[test]
fn a_peer_may_go_away_in_the_middle() {
    let pki = Pki::new();
    let client = Arc::new(pki.client_config(TLS13));
    let peer = |mut stream: TcpStream| {
        stream.read_exact(&mut [0; 20]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    };
    let (_, failure) = meet(peer, async |socket, core| {
        core.connect(socket, &client).await.unwrap_err()
    });
    assert!(matches!(failure, TlsFailure::PeerGone), "{failure:?}");
}

#[test]
fn a_message_that_never_ends_is_refused() {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(TLS13));
    let peer = |mut stream: TcpStream| {
        // A ClientHello of 64 KiB less a byte, in records of one byte each.
        let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 255, 255];
        bytes.extend([22, 3, 1, 0, 1, 0].repeat(1 << 16));
        let _ = stream.write_all(&bytes);
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let (_, failure) = meet(peer, async |socket, core| {
        core.accept(socket, &server).await.unwrap_err()
    });
    assert_eq!(failure.label(), "malformed");
}
