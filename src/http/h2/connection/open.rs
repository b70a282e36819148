//! Opening streams, as a client.

use super::H2Connection;
use crate::http::h2::frame::{HEADER_BYTES, MAX_31_BITS, finish_section};
use crate::http::h2::head::Field;
use crate::http::h2::stream::StreamState;
use crate::http::h2::{Role, StreamId};

/// The content of a request that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRequest<'b> {
    /// The value of `:method`.
    pub method: &'b [u8],
    /// The value of `:scheme`.
    pub scheme: &'b [u8],
    /// The value of `:authority`.
    pub authority: &'b [u8],
    /// Path and query.
    pub target: &'b [u8],
    /// With CONNECT: the protocol asked for (RFC 8441), if the peer [takes](H2Connection::takes_extended_connect) that.
    pub protocol: Option<&'b [u8]>,
}

impl H2Connection {
    /// Streams that could be opened now.
    pub fn free_streams(&self) -> usize {
        let is_used_up = self.next_stream > MAX_31_BITS;
        if self.role == Role::Server || self.is_ending() || is_used_up {
            return 0;
        }
        (self.peer.streams as usize).saturating_sub(self.streams.len())
    }

    /// Whether the peer's first SETTINGS have come.
    pub fn has_peer_settings(&self) -> bool {
        self.has_peer_settings
    }

    /// Whether the peer takes CONNECT with a protocol.
    pub fn takes_extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// Refuses trailers of this stream's response that are malformed by the RFC, even if they have one reading. (The
    /// reader of a head decides that for the head.)
    pub fn refuse_odd_trailers(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_strict = true;
        }
    }

    /// Sends a request's head on a new stream. `end`: it has no body and no trailers. `None`: no stream is free.
    pub fn open<'b>(
        &mut self,
        request: &StreamRequest<'_>,
        fields: impl IntoIterator<Item = Field<'b>>,
        end: bool,
    ) -> Option<StreamId> {
        if self.free_streams() == 0 {
            return None;
        }
        let id = self.next_stream;
        debug_assert!(
            id % 2 == 1 && id <= MAX_31_BITS,
            "a client opens odd streams (RFC 9113 section 5.1.1)"
        );
        self.next_stream += 2;
        let out = &mut self.out;
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        self.encoder.begin(out);
        self.encoder.pseudo(out, 2..=3, request.method);
        self.encoder.pseudo(out, 6..=7, request.scheme);
        self.encoder.pseudo(out, 1..=1, request.authority);
        self.encoder.pseudo(out, 4..=5, request.target);
        if let Some(protocol) = request.protocol {
            self.encoder.field(out, b":protocol", protocol, false);
        }
        for field in fields {
            self.encoder
                .field(out, field.name, field.value, field.sensitive);
        }
        finish_section(out, start, id, end, self.peer.frame_bytes as usize);
        let mut stream = StreamState::new(self.peer.stream_window, self.local.stream_window);
        stream.sends = !end;
        stream.asked_head = request.method == b"HEAD";
        stream.asked_tunnel = request.protocol.is_some();
        debug_assert!(!self.streams.contains_key(&id), "a stream is opened once");
        self.streams.insert(id, stream);
        self.ended.note_opened(id);
        Some(id)
    }
}
