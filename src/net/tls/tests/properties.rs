//! However the stream of bytes is cut, and however little room there is, the plaintext is the same.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, ServerConfig};

use super::{BOTH, Pki, pattern, server_name};
use crate::net::Block;
use crate::net::tls::TlsRecords;

type Pair = (Arc<ServerConfig>, Arc<ClientConfig>);

static CONFIGS: LazyLock<[Pair; 2]> = LazyLock::new(|| {
    let pki = Pki::new();
    BOTH.map(|versions| {
        let client = pki.client_config(versions);
        (Arc::new(pki.server_config(versions)), Arc::new(client))
    })
});

/// Our server and a client, without a network.
struct Wire {
    server: TlsRecords,
    client: ClientConnection,
}

impl Wire {
    fn new(configs: &Pair) -> Wire {
        Wire {
            server: TlsRecords::server(configs.0.clone()).unwrap(),
            client: ClientConnection::new(configs.1.clone(), server_name()).unwrap(),
        }
    }

    /// The bytes that the client has to send.
    fn client_sends(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn client_receives(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }

    /// Lets the server have `bytes`, as they are cut, and receive with `room` each time.
    fn server_receives(
        &mut self,
        mut bytes: &[u8],
        cut: &mut impl FnMut() -> usize,
        room: usize,
    ) -> Vec<u8> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cut().min(bytes.len()));
            bytes = rest;
            let mut raw = Block::default();
            self.server.load(&mut raw);
            raw.extend(piece);
            loop {
                let mut into = Block::with_capacity(room);
                self.server.open(&mut raw, &mut into, room).unwrap();
                assert!(into.len() <= room);
                plain.extend_from_slice(into.filled());
                while self.server.has_plain() {
                    into.clear();
                    self.server.take_plain(&mut into, room);
                    plain.extend_from_slice(into.filled());
                }
                if !self.server.has_unread() || self.server.has_closed() {
                    break;
                }
            }
            self.server.keep(&raw);
        }
        plain
    }

    fn handshake(&mut self, cut: &mut impl FnMut() -> usize) {
        while self.server.is_handshaking() || self.client.is_handshaking() {
            let bytes = self.client_sends();
            self.server_receives(&bytes, cut, 1);
            let replies = self.server.replies();
            self.client_receives(&replies);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_leave_no_trace(
        version in 0..2usize,
        cuts in prop::collection::vec(prop_oneof![1..8usize, 1..2_000usize, 10_000..50_000usize], 1..8),
        sizes in prop::collection::vec(prop_oneof![1..100usize, 1..40_000usize], 1..8),
        room in prop_oneof![1..64usize, 1..40_000usize],
        updates in any::<bool>(),
    ) {
        let mut endless = cuts.iter().cycle();
        let mut cut = || *endless.next().unwrap();
        let mut wire = Wire::new(&CONFIGS[version]);
        wire.handshake(&mut cut);
        let mut sent = Vec::new();
        let mut bytes = Vec::new();
        for size in sizes {
            let piece = pattern(size);
            wire.client.writer().write_all(&piece).unwrap();
            sent.extend(piece);
            bytes.extend(wire.client_sends());
            if updates && version == 1 {
                wire.client.refresh_traffic_keys().unwrap();
            }
        }
        wire.client.send_close_notify();
        bytes.extend(wire.client_sends());
        let received = wire.server_receives(&bytes, &mut cut, room);
        prop_assert!(received == sent);
        prop_assert!(wire.server.has_closed());
        prop_assert_eq!(wire.server.held_bytes(), 0);
    }

    #[test]
    fn no_byte_may_be_changed(version in 0..2usize, size in 1..20_000usize, at in any::<prop::sample::Index>()) {
        let mut wire = Wire::new(&CONFIGS[version]);
        wire.handshake(&mut || 1 << 20);
        wire.client.writer().write_all(&pattern(size)).unwrap();
        let mut bytes = wire.client_sends();
        let at = 5 + at.index(bytes.len().min(16_000) - 5);
        bytes[at] ^= 0x40;
        let mut raw = Block::default();
        raw.extend(&bytes);
        let room = 1 << 20;
        let outcome = wire.server.open(&mut raw, &mut Block::with_capacity(room), room);
        prop_assert_eq!(outcome, Err(rustls::Error::DecryptError));
        prop_assert!(!wire.server.alert().is_empty());
    }
}
