//! The meaning of status codes to the cache (RFC 9110 section 15, RFC 9111 section 3).

/// Whether the cache understands what a status says about storing, as `must-understand` asks for. Partial content is
/// understood where the caller combines it.
pub fn is_understood(status: u16, combines_parts: bool) -> bool {
    match status {
        206 => combines_parts,
        200..=205 | 300..=303 | 307 | 308 => true,
        400..=405 | 409..=411 | 413..=415 | 422 | 451 => true,
        500..=505 => true,
        _ => false,
    }
}

/// Whether a response of this status may be fresh although it names no lifetime (RFC 9110 section 15.1).
pub fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Whether a status speaks of the connection, the conditions, the size or the rate of its own request, so that it never
/// answers another one.
pub fn is_of_its_request(status: u16) -> bool {
    match status {
        // RFC 9110 sections 15.4.5, 15.5.13 and 15.5.17: these depend on conditions and ranges, which no key has.
        304 | 412 | 416 => true,
        // RFC 6585 sections 3 to 6 (MUST NOT): these statuses are not stored.
        428 | 429 | 431 | 511 => true,
        // RFC 9110 and RFC 8470: these speak of the connection or of fields that concern one request.
        407 | 408 | 417 | 421 | 425 | 426 => true,
        _ => status < 200,
    }
}
