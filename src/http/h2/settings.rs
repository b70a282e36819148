//! SETTINGS (RFC 9113 section 6.5): what we announce and what the peer did.

use super::Role;
use super::error::ConnectionError;
use super::frame::{self, MAX_31_BITS, kind, number};
use super::hpack::ListLimits;
use crate::base::limits;

mod id {
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    /// RFC 8441 section 3.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
    /// RFC 9218 section 2.1.
    pub const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

/// The window that holds before any SETTINGS; a server's are never smaller, so that nothing sent before its SETTINGS
/// arrive can exceed them. (What a client receives was asked for behind its own.)
pub(super) const FIRST_WINDOW: u32 = 65_535;

/// Requests to the peer and allowances for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// Bounds on a received field section.
    pub head: ListLimits,
    /// Bytes of a request target: 414.
    pub target_bytes: u32,
    /// Streams that the peer may have open at once.
    pub streams: u32,
    /// Bytes of a body that the peer may send before we release them, on a stream that has just begun; at a server at
    /// least 65,535.
    pub stream_window: u32,
    /// The bytes to which the window of a stream grows while its bytes are taken faster than they come.
    pub widest_stream_window: u32,
    /// Bytes of bodies that the peer may send on all streams of the connection before we take some; at least 65,535.
    pub connection_window: u32,
    /// Whether a server takes CONNECT with a `:protocol` (RFC 8441).
    pub extended_connect: bool,
    /// Whether a server takes cookies with control bytes other than NUL, CR and LF.
    pub control_bytes: bool,
}

impl Default for LocalSettings {
    fn default() -> Self {
        LocalSettings {
            head: ListLimits {
                bytes: limits::default::REQUEST_HEAD_BYTES,
                fields: limits::default::REQUEST_HEADERS,
            },
            target_bytes: limits::default::REQUEST_TARGET_BYTES,
            streams: limits::default::H2_STREAMS,
            stream_window: FIRST_WINDOW,
            widest_stream_window: limits::H2_WIDEST_STREAM_WINDOW,
            connection_window: limits::default::H2_CONNECTION_WINDOW,
            extended_connect: true,
            control_bytes: false,
        }
    }
}

impl LocalSettings {
    /// The settings with every value brought into its range.
    pub(super) fn clamped(mut self, role: Role) -> LocalSettings {
        let least = match role {
            Role::Client => 1,
            Role::Server => FIRST_WINDOW,
        };
        self.stream_window = self.stream_window.clamp(least, MAX_31_BITS);
        self.widest_stream_window = self
            .widest_stream_window
            .clamp(self.stream_window, MAX_31_BITS);
        self.connection_window = self.connection_window.clamp(FIRST_WINDOW, MAX_31_BITS);
        self.streams = self.streams.clamp(1, limits::H2_STREAMS);
        self
    }

    /// Appends the SETTINGS frame, and the update that brings the connection's window to its size.
    pub(super) fn announce(&self, role: Role, out: &mut Vec<u8>) {
        debug_assert!(
            self.stream_window <= MAX_31_BITS && self.connection_window >= FIRST_WINDOW,
            "settings are announced within their ranges"
        );
        let mut payload = Vec::with_capacity(36);
        let mut set = |id: u16, value: u32| {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        };
        match role {
            Role::Client => set(id::ENABLE_PUSH, 0),
            Role::Server => {
                set(id::MAX_CONCURRENT_STREAMS, self.streams);
                set(id::NO_RFC7540_PRIORITIES, 1);
                if self.extended_connect {
                    set(id::ENABLE_CONNECT_PROTOCOL, 1);
                }
            }
        }
        set(id::INITIAL_WINDOW_SIZE, self.stream_window);
        set(
            id::MAX_HEADER_LIST_SIZE,
            self.head.or_trailers().most_size(),
        );
        frame::write(out, kind::SETTINGS, 0, 0, &payload);
        if self.connection_window > FIRST_WINDOW {
            frame::write_window_update(out, 0, self.connection_window - FIRST_WINDOW);
        }
    }
}

/// The settings that the peer announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Bytes of the table that our encoder may use.
    pub(super) table_bytes: u32,
    /// Streams that we may have open at once.
    pub(super) streams: u32,
    /// Bytes of a body that we may send on a new stream.
    pub(super) stream_window: u32,
    /// Bytes of a frame that the peer takes.
    pub(super) frame_bytes: u32,
    /// Whether the peer takes CONNECT with a `:protocol`.
    pub(super) extended_connect: bool,
    no_old_priorities: Option<bool>,
}

impl Default for PeerSettings {
    /// The values that hold before any SETTINGS.
    fn default() -> Self {
        PeerSettings {
            table_bytes: 4096,
            streams: u32::MAX,
            stream_window: FIRST_WINDOW,
            frame_bytes: 16_384,
            extended_connect: false,
            no_old_priorities: None,
        }
    }
}

impl PeerSettings {
    /// Takes the payload of a SETTINGS frame of `peer` over, whose length is a multiple of six. Unknown settings are
    /// ignored.
    pub(super) fn apply(&mut self, payload: &[u8], peer: Role) -> Result<(), ConnectionError> {
        for setting in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            self.set(id, number(setting, 2), peer)?;
        }
        // A change of mind is an error (RFC 9218 section 2.1); the first frame decides, also by silence.
        self.no_old_priorities.get_or_insert(false);
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32, peer: Role) -> Result<(), ConnectionError> {
        match id {
            id::HEADER_TABLE_SIZE => self.table_bytes = value,
            // A server must not ask to be allowed to push (section 6.5.2).
            id::ENABLE_PUSH if peer == Role::Server && value != 0 => {
                return Err(ConnectionError::BadSetting);
            }
            id::ENABLE_PUSH => drop(switch(value)?),
            id::MAX_CONCURRENT_STREAMS => self.streams = value,
            id::INITIAL_WINDOW_SIZE if value > MAX_31_BITS => {
                return Err(ConnectionError::WindowOverflow);
            }
            id::INITIAL_WINDOW_SIZE => self.stream_window = value,
            id::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(ConnectionError::BadSetting);
            }
            id::MAX_FRAME_SIZE => self.frame_bytes = value,
            id::ENABLE_CONNECT_PROTOCOL => {
                let value = switch(value)?;
                if self.extended_connect && !value {
                    return Err(ConnectionError::BadSetting);
                }
                self.extended_connect = value;
            }
            id::NO_RFC7540_PRIORITIES => {
                let value = switch(value)?;
                if *self.no_old_priorities.get_or_insert(value) != value {
                    return Err(ConnectionError::BadSetting);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn switch(value: u32) -> Result<bool, ConnectionError> {
    match value {
        0 | 1 => Ok(value == 1),
        _ => Err(ConnectionError::BadSetting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(settings: &[(u16, u32)]) -> Vec<u8> {
        let bytes = settings
            .iter()
            .map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        bytes.collect::<Vec<_>>().concat()
    }

    #[test]
    fn values_table() {
        use ConnectionError::{BadSetting, WindowOverflow};
        use Role::{Client, Server};
        let rows = [
            (Client, id::ENABLE_PUSH, 1, Ok(())),
            (Client, id::ENABLE_PUSH, 2, Err(BadSetting)),
            (Server, id::ENABLE_PUSH, 0, Ok(())),
            (Server, id::ENABLE_PUSH, 1, Err(BadSetting)),
            (Client, id::INITIAL_WINDOW_SIZE, MAX_31_BITS, Ok(())),
            (
                Client,
                id::INITIAL_WINDOW_SIZE,
                MAX_31_BITS + 1,
                Err(WindowOverflow),
            ),
            (Client, id::MAX_FRAME_SIZE, 16_383, Err(BadSetting)),
            (Client, id::MAX_FRAME_SIZE, 16_384, Ok(())),
            (Client, id::MAX_FRAME_SIZE, 16_777_215, Ok(())),
            (Client, id::MAX_FRAME_SIZE, 16_777_216, Err(BadSetting)),
            (Client, id::ENABLE_CONNECT_PROTOCOL, 2, Err(BadSetting)),
            (Client, id::NO_RFC7540_PRIORITIES, 2, Err(BadSetting)),
            (Client, 0xfafa, 7, Ok(())),
        ];
        for (peer, id, value, expected) in rows {
            let applied = PeerSettings::default().apply(&payload(&[(id, value)]), peer);
            assert_eq!(applied, expected, "{id} {value}");
        }
    }

    #[test]
    fn what_was_granted_stays() {
        let mut peer = PeerSettings::default();
        let apply =
            |peer: &mut PeerSettings, id, value| peer.apply(&payload(&[(id, value)]), Role::Server);
        assert_eq!(apply(&mut peer, id::ENABLE_CONNECT_PROTOCOL, 1), Ok(()));
        assert!(apply(&mut peer, id::ENABLE_CONNECT_PROTOCOL, 0).is_err());
        assert!(apply(&mut peer, id::NO_RFC7540_PRIORITIES, 1).is_err());
        assert_eq!(apply(&mut peer, id::NO_RFC7540_PRIORITIES, 0), Ok(()));
    }

    #[test]
    fn ours_are_understood_by_ourselves() {
        let local = LocalSettings {
            streams: 7,
            stream_window: 1,
            ..LocalSettings::default()
        }
        .clamped(Role::Server);
        let mut out = Vec::new();
        local.announce(Role::Server, &mut out);
        let header = frame::FrameHeader::parse(out.first_chunk().unwrap());
        let mut peer = PeerSettings::default();
        peer.apply(&out[frame::HEADER_BYTES..][..header.len], Role::Server)
            .unwrap();
        assert_eq!(
            (peer.streams, peer.stream_window, peer.extended_connect),
            (7, FIRST_WINDOW, true)
        );
        assert_eq!(out.len(), 2 * frame::HEADER_BYTES + header.len + 4);
    }
}
