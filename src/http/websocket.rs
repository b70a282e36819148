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

/// Bytes of `Sec-WebSocket-Accept`: a digest of 20 bytes in base64.
pub const ACCEPT_BYTES: usize = 28;

/// The key that a client gave; `None`: the value is no key.
pub fn given_key(value: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let key = <[u8; KEY_BYTES]>::try_from(value).ok()?;
    let is_key = STANDARD.decode(key).is_ok_and(|random| random.len() == 16);
    is_key.then_some(key)
}

/// The value of `Sec-WebSocket-Accept` that follows from `key`.
pub fn accept(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES));
    accept
}

/// Whether `accept`, the value of `Sec-WebSocket-Accept`, is what follows from `key`.
pub fn is_accepted(key: &[u8], accept: &[u8]) -> bool {
    self::accept(key) == accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_accepted(key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!is_accepted(key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
        assert!(given_key(key).is_some() && given_key(&super::key([7; 16])).is_some());
        for wrong in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQAA",
        ] {
            assert_eq!(given_key(wrong), None);
        }
        assert!(!is_accepted(
            &super::key([7; 16]),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        ));
    }
}
