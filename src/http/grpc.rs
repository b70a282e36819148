//! The rules of gRPC over HTTP/2 that a proxy has to know
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

/// Whether a `content-type` is that of gRPC calls: `application/grpc`, perhaps with a suffix or parameters. (gRPC-Web
/// is another protocol, and travels as any other request.)
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    content_type
        .split_at_checked(NAME.len())
        .is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(NAME)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
        })
}

/// The value of `grpc-timeout`: up to eight digits and a unit. `None` if it is not that.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The status of gRPC that says what a status of HTTP says, with its number: for answers of our own.
pub fn status_of(http: u16) -> u8 {
    match http {
        499 => 1,              // CANCELLED
        408 | 504 => 4,        // DEADLINE_EXCEEDED
        403 => 7,              // PERMISSION_DENIED
        413 | 431 => 8,        // RESOURCE_EXHAUSTED
        404 | 405 => 12,       // UNIMPLEMENTED
        429 | 502 | 503 => 14, // UNAVAILABLE
        401 => 16,             // UNAUTHENTICATED
        _ => 13,               // INTERNAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_table() {
        let rows = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; a=b", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ];
        for (value, expected) in rows {
            assert_eq!(is_grpc(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn timeouts_table() {
        let rows = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0m", Some(Duration::ZERO)),
            ("123456789m", None),
            ("m", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("", None),
        ];
        for (value, expected) in rows {
            assert_eq!(timeout(value.as_bytes()), expected, "{value}");
        }
    }
}
