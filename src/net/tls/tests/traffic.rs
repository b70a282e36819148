//! Plaintext both ways, and the ends that it can come to.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;

use super::*;

/// Lets our server and a client meet, after the handshake.
fn served<P: Send + 'static, O>(
    versions: &[&'static SupportedProtocolVersion],
    peer: impl FnOnce(PeerClient) -> P + Send + 'static,
    ours: impl AsyncFnOnce(Socket, &Core) -> O,
) -> (P, O) {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(versions));
    let client = Arc::new(pki.client_config(versions));
    let peer = move |stream| {
        let mut client = peer_client(&client, stream);
        client.handshake().unwrap();
        peer(client)
    };
    meet(peer, async |socket, core| {
        let socket = core.accept(socket, &server).await.unwrap();
        ours(socket, core).await
    })
}

/// Runs the connection with the roles exchanged: palantir is the client.
fn asked<P: Send + 'static, O>(
    versions: &[&'static SupportedProtocolVersion],
    peer: impl FnOnce(PeerServer) -> P + Send + 'static,
    ours: impl AsyncFnOnce(Socket, &Core) -> O,
) -> (P, O) {
    let pki = Pki::new();
    let server = Arc::new(pki.server_config(versions));
    let client = Arc::new(pki.client_config(versions));
    let peer = move |stream| {
        let mut server = peer_server(&server, stream);
        server.handshake().unwrap();
        peer(server)
    };
    meet(peer, async |socket, core| {
        let socket = core.connect(socket, &client).await.unwrap();
        ours(socket, core).await
    })
}

const ECHOED: usize = 5_000_003;

/// Sends back all that comes, in pieces of odd sizes.
async fn echo(socket: Socket, core: &Core) {
    let mut rooms = [1, 7, 1000, 4096, 16_384, 16_385, 40_001, 131_072]
        .iter()
        .cycle();
    loop {
        let piece = core.receive(&socket, *rooms.next().unwrap()).await.unwrap();
        if piece.is_empty() {
            return;
        }
        core.send(&socket, &piece).await;
    }
}

fn send_and_compare<C, D>(mut peer: Peer<C>)
where
    C: std::ops::DerefMut<Target = ConnectionCommon<D>>,
    D: SideData,
{
    let all = pattern(ECHOED);
    let mut sizes = [1, 13, 16_383, 16_384, 16_385, 100_000, 300_007]
        .iter()
        .cycle();
    let mut rest = &all[..];
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).min(rest.len());
        let (piece, next) = rest.split_at(size);
        peer.send(piece);
        assert!(peer.receive_exactly(size) == piece);
        rest = next;
    }
    peer.close();
    assert_eq!(peer.receive_all(), (Vec::new(), true));
}

#[test]
fn megabytes_come_back_as_they_were_sent() {
    for versions in BOTH {
        served(versions, send_and_compare, async |socket, core| {
            echo(socket, core).await
        });
        asked(versions, send_and_compare, async |socket, core| {
            echo(socket, core).await
        });
    }
}

#[test]
fn a_large_block_is_sent_in_pieces_and_kept() {
    let all = pattern(3_000_001);
    let (received, _) = served(
        TLS13,
        |mut client| client.receive_all(),
        async |socket, core| core.send(&socket, &all).await,
    );
    assert!(received == (all, true));
}

#[test]
fn what_is_left_of_a_record_wakes_its_receiver() {
    // One record, several in one go, one that comes in two parts: each is received by the spoon, after the last byte
    // came.
    for count in [16_384, 3 * 16_384, 100] {
        let (_, received) = served(
            TLS13,
            move |mut client| {
                client.send(&pattern(count));
                client.receive_exactly(1)
            },
            async |socket, core| {
                let mut received = Vec::new();
                while received.len() < count {
                    received.extend(core.receive(&socket, 97).await.unwrap());
                }
                core.send(&socket, b"!").await;
                received
            },
        );
        assert!(received == pattern(count));
    }
}

#[test]
fn a_record_may_come_in_parts() {
    let (_, received) = served(
        TLS13,
        |mut client| {
            client.tls.writer().write_all(&pattern(1000)).unwrap();
            let mut sealed = Vec::new();
            client.tls.write_tls(&mut sealed).unwrap();
            for byte in sealed {
                client.stream.write_all(&[byte]).unwrap();
            }
            client.receive_exactly(1)
        },
        async |socket, core| {
            let received = core.receive_exactly(&socket, 1000).await;
            core.send(&socket, b"!").await;
            received
        },
    );
    assert!(received == pattern(1000));
}

#[test]
fn a_connection_that_waits_holds_nothing() {
    served(
        TLS13,
        |mut client| {
            client.send(b"ping");
            client.receive_exactly(4);
        },
        async |socket, core| {
            assert_eq!(core.receive(&socket, 100).await.unwrap(), b"ping");
            core.send(&socket, b"pong").await;
            let tls = socket.tls.as_ref().unwrap();
            assert_eq!(tls.records.borrow().held_bytes(), 0);
            assert!(!tls.has_unread());
        },
    );
}

#[test]
fn the_end_is_believed_only_from_the_peer() {
    for versions in BOTH {
        for says_so in [true, false] {
            let (_, ends) = served(
                versions,
                move |mut client| {
                    client.send(b"last words");
                    if says_so {
                        client.close();
                    }
                    client.stream.shutdown(Shutdown::Write).unwrap();
                    client.receive_all().1
                },
                async |socket, core| {
                    assert_eq!(core.receive_exactly(&socket, 10).await, b"last words");
                    let mut ends = Vec::new();
                    for _ in 0..2 {
                        let end = core.receive(&socket, 10).await;
                        ends.push(end.map_err(|error| error.kind()));
                    }
                    assert_eq!(socket.unasked(), Some(Unasked::End));
                    ends
                },
            );
            let end = if says_so {
                Ok(Vec::new())
            } else {
                Err(io::ErrorKind::UnexpectedEof)
            };
            assert_eq!(ends, [end.clone(), end]);
        }
    }
}

#[test]
fn our_end_is_said_unless_the_connection_is_cut() {
    for versions in BOTH {
        let listen = |mut client: PeerClient| client.receive_all();
        let all = (b"all".to_vec(), true);
        let (received, _) = served(versions, listen, async |socket, core| {
            core.send(&socket, b"all").await;
        });
        assert_eq!(received, all, "closed");
        let (received, _) = served(versions, listen, async |socket, core| {
            core.send(&socket, b"all").await;
            socket.end_sending();
            assert!(
                core.receive(&socket, 1).await.is_err(),
                "the client closes without a word"
            );
        });
        assert_eq!(received, all, "ended");
        let (received, _) = served(versions, listen, async |socket, core| {
            core.send(&socket, b"all").await;
            socket.finish_sending(&core.timer).await;
        });
        assert_eq!(received, all, "finished");
        let (received, _) = served(versions, listen, async |socket, core| {
            core.send(&socket, b"all").await;
            socket.reset_on_close();
        });
        assert!(!received.1, "cut");
    }
}

#[test]
fn the_end_arrives_behind_much_that_is_not_read_yet() {
    let all = pattern(8_000_000);
    let listen = |mut client: PeerClient| {
        thread::sleep(Duration::from_millis(200));
        client.receive_all()
    };
    let (received, _) = served(TLS13, listen, async |socket, core| {
        core.send(&socket, &all).await;
        socket.finish_sending(&core.timer).await;
    });
    assert!(received == (all, true));
}

#[test]
fn a_broken_record_ends_the_connection() {
    let (told, kinds) = served(
        TLS13,
        |mut client| {
            client.receive_exactly(5);
            client.tls.writer().write_all(b"genuine").unwrap();
            let mut sealed = Vec::new();
            client.tls.write_tls(&mut sealed).unwrap();
            *sealed.last_mut().unwrap() ^= 1;
            client.stream.write_all(&sealed).unwrap();
            let outcome = client.plain().read(&mut [0]).unwrap_err();
            outcome.downcast::<rustls::Error>().unwrap()
        },
        async |socket, core| {
            core.send(&socket, b"begin").await;
            let mut kinds = Vec::new();
            for _ in 0..2 {
                kinds.push(core.receive(&socket, 10).await.unwrap_err().kind());
            }
            let mut block = Block::with_capacity(10);
            block.extend(b"too late");
            let sent = socket.send_all(&mut block, &core.timer).await.unwrap();
            assert!(sent.is_err());
            kinds
        },
    );
    assert_eq!(kinds, [io::ErrorKind::InvalidData; 2]);
    let alert = rustls::AlertDescription::BadRecordMac;
    assert_eq!(told, rustls::Error::AlertReceived(alert));
}

#[test]
fn keys_may_be_updated_on_the_way() {
    fn update_often<C, D>(mut peer: Peer<C>)
    where
        C: std::ops::DerefMut<Target = ConnectionCommon<D>>,
        D: SideData,
    {
        for round in 0..5u8 {
            peer.tls.refresh_traffic_keys().unwrap();
            let piece = vec![round; 20_000];
            peer.send(&piece);
            assert!(peer.receive_exactly(piece.len()) == piece);
        }
        peer.close();
    }
    served(TLS13, update_often, async |socket, core| {
        echo(socket, core).await
    });
    asked(TLS13, update_often, async |socket, core| {
        echo(socket, core).await
    });
}

#[test]
fn our_keys_are_updated_before_they_wear_out() {
    // rustls updates the keys by itself before too many records are sealed with them: here after a few.
    let pki = Pki::new();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![short_lived_suite()];
    let (certificate, key) = &pki.server;
    let server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(TLS13)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.clone_key())
        .unwrap();
    let server = Arc::new(server);
    let client = Arc::new(pki.client_config(TLS13));
    let all = pattern(1_000_000);
    let expected = all.clone();
    meet(
        move |stream| {
            let mut client = peer_client(&client, stream);
            assert!(client.receive_all() == (expected, true));
        },
        async |socket, core| {
            let socket = core.accept(socket, &server).await.unwrap();
            core.send(&socket, &all).await;
        },
    );
}

fn short_lived_suite() -> rustls::SupportedCipherSuite {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .unwrap();
    let common = rustls::crypto::CipherSuiteCommon {
        suite: suite.common.suite,
        hash_provider: suite.common.hash_provider,
        confidentiality_limit: 16,
    };
    let short_lived = rustls::Tls13CipherSuite {
        common,
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: None,
    };
    rustls::SupportedCipherSuite::Tls13(Box::leak(Box::new(short_lived)))
}

#[test]
fn the_end_is_told_from_bytes() {
    // A pool asks whether an idle connection that woke has bytes or has ended: a server's tickets are neither.
    let (_, seen) = asked(
        TLS13,
        |mut server| {
            server.receive_exactly(1);
            server.send(b"unasked");
            server.receive_exactly(1);
            server.close();
            server.stream.shutdown(Shutdown::Write).unwrap();
            server.receive_all();
        },
        async |socket, core| {
            let mut seen = vec![socket.unasked()];
            core.send(&socket, b"1").await;
            wait(&socket, core).await;
            while !socket.tls.as_ref().unwrap().has_unread() {
                seen.push(socket.unasked());
            }
            seen.retain(|unasked| *unasked != Some(Unasked::Bytes)); // A part of a record is some, too.
            assert_eq!(socket.unasked(), Some(Unasked::Bytes));
            assert_eq!(core.receive_exactly(&socket, 7).await, b"unasked");
            core.send(&socket, b"2").await;
            wait(&socket, core).await;
            while socket.unasked().is_none() {}
            assert_eq!(socket.unasked(), Some(Unasked::End));
            seen
        },
    );
    assert!(seen.iter().all(Option::is_none), "{seen:?}");
}

async fn wait(socket: &Socket, core: &Core) {
    socket.watch();
    core.timer
        .bound(|cx| socket.poll_readable(cx))
        .await
        .unwrap();
}
