//! How a backend proves that it has understood a request for a WebSocket (RFC 6455 section 4.2.2).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a key: 16 random ones in base64.
pub const KEY_BYTES: usize = 24;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key out of 16 random bytes.
pub fn key(random: [u8; 16]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let written = STANDARD.encode_slice(random, &mut key);
    debug_assert_eq!(written, Ok(KEY_BYTES));
    key
}

/// Whether `accept`, the value of `Sec-WebSocket-Accept`, is what follows from `key`.
pub fn is_accepted(key: &[u8], accept: &[u8]) -> bool {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    STANDARD.encode(digest).as_bytes() == accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_accepted(key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!is_accepted(key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
        assert!(!is_accepted(
            &super::key([7; 16]),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        ));
    }
}
