//! One line of the access log as text. What a client sent is hostile: nothing in it can end a line or a string early.

use std::fmt::Display;
use std::io::Write;
use std::time::SystemTime;

use super::names::LineNames;
use super::timestamp;
use crate::shared::access::AccessLine;
use crate::snapshot::AccessLogFormat;

/// Everything that is written of one exchange.
#[derive(Debug)]
pub struct Record<'a> {
    /// The line of the exchange.
    pub line: &'a AccessLine,
    /// The names that the line contains.
    pub names: LineNames<'a>,
    /// When the request came.
    pub at: SystemTime,
}

/// Appends one line with its newline.
pub fn write_line(format: AccessLogFormat, record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    match format {
        AccessLogFormat::Json => json(record, out),
        AccessLogFormat::Combined => combined(record, out),
    }
    debug_assert!(!out[start..].contains(&b'\n'), "a record is one line");
    out.push(b'\n');
}

/// One object (RFC 8259), UTF-8 whatever the client sent. What is not known is `null`.
fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let Record { line, names, at } = record;
    out.extend_from_slice(b"{\"time\":\"");
    timestamp::rfc3339(*at, out);
    out.extend_from_slice(b"\",\"request_id\":\"");
    hexadecimal(line.request_id.0, out);
    out.extend_from_slice(b"\",\"client\":");
    match line.facts.client {
        Some(client) => print(out, format_args!("\"{client}\"")),
        None => out.extend_from_slice(b"null"),
    }
    let mut member = |name: &str, value: Json<'_>| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Json::Text(Some(text)) => json_string(text, out),
            Json::Text(None) => out.extend_from_slice(b"null"),
            Json::Number(number) => decimal(number, out),
        }
    };
    member("trace_id", text(line.texts.trace_id()));
    member("method", text(line.texts.method()));
    member("target", text(line.texts.target()));
    member("host", text(line.texts.host()));
    member("version", text(version(line.facts.version).as_bytes()));
    member("status", Json::Number(line.tally.status.into()));
    member("route", optional(names.route));
    member("pool", optional(names.pool));
    member("backend", optional(names.backend));
    member("attempts", Json::Number(line.tally.attempts.into()));
    member(
        "upstream_us",
        Json::Number(line.tally.upstream_micros.unwrap_or_default()),
    );
    member("total_us", Json::Number(line.total_micros));
    member("request_bytes", Json::Number(line.tally.request_bytes));
    member("response_bytes", Json::Number(line.tally.response_bytes));
    member("failure", text(line.failure.as_bytes()));
    member("cache", text(line.cache.part.word().as_bytes()));
    member("cache_reason", text(line.cache.reason.as_bytes()));
    member("user_agent", text(line.texts.user_agent()));
    member("referer", text(line.texts.referer()));
    out.push(b'}');
}

enum Json<'a> {
    /// A number.
    Number(u64),
    /// A text; `None`: there is none.
    Text(Option<&'a [u8]>),
}

/// Present unless empty.
fn text(text: &[u8]) -> Json<'_> {
    Json::Text(Some(text).filter(|text| !text.is_empty()))
}

fn optional(text: Option<&str>) -> Json<'_> {
    Json::Text(text.map(str::as_bytes))
}

/// A string in quotes. Control characters are escaped beyond what RFC 8259 section 7 asks for (DEL and C1 too, for the
/// sake of terminals); bytes that are not UTF-8 become U+FFFD.
fn json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if text.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(text);
    } else {
        escape_json(text, out);
    }
    out.push(b'"');
}

fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                control if control.is_control() => {
                    print(out, format_args!("\\u{:04x}", u32::from(control)));
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether a byte stands for itself in either format.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Apache's combined format, then what it has no place for as `name=value`. What is not known is `-`.
fn combined(record: &Record<'_>, out: &mut Vec<u8>) {
    let Record { line, names, at } = record;
    match line.facts.client {
        Some(client) => print(out, client),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - - [");
    timestamp::clf(*at, out);
    out.extend_from_slice(b"] \"");
    escape(line.texts.method(), out);
    out.push(b' ');
    escape(line.texts.target(), out);
    print(
        out,
        format_args!(
            " {}\" {} {} ",
            version(line.facts.version),
            line.tally.status,
            line.tally.response_bytes
        ),
    );
    quote(line.texts.referer(), out);
    out.push(b' ');
    quote(line.texts.user_agent(), out);
    print(out, format_args!(" id={} trace_id=", line.request_id));
    match line.texts.trace_id() {
        b"" => out.push(b'-'),
        digits => escape(digits, out),
    }
    let mut quoted = |name: &str, value: &[u8]| {
        print(out, format_args!(" {name}="));
        quote(value, out);
    };
    quoted("host", line.texts.host());
    quoted("route", names.route.unwrap_or_default().as_bytes());
    quoted("pool", names.pool.unwrap_or_default().as_bytes());
    quoted("backend", names.backend.unwrap_or_default().as_bytes());
    let or_dash = |label: &'static str| if label.is_empty() { "-" } else { label };
    let failure = or_dash(line.failure);
    let cache = or_dash(line.cache.part.word());
    let cache_reason = or_dash(line.cache.reason);
    print(
        out,
        format_args!(
            " attempts={} upstream_us={} total_us={} request_bytes={} failure={failure} \
             cache={cache} cache_reason={cache_reason}",
            line.tally.attempts,
            line.tally.upstream_micros.unwrap_or_default(),
            line.total_micros,
            line.tally.request_bytes,
        ),
    );
}

/// In quotes, `-` if empty.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(if text.is_empty() { b"-" } else { text }, out);
    out.push(b'"');
}

/// As Apache does: quotes and backslashes get a backslash, everything outside of printable ASCII becomes `\xHH`.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => print(out, format_args!("\\x{byte:02x}")),
        }
    }
}

fn version(version: u8) -> &'static str {
    match version {
        10 => "HTTP/1.0",
        20 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Sixteen digits, as an id reads everywhere else.
fn hexadecimal(number: u64, out: &mut Vec<u8>) {
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf];
    out.extend((0..16).rev().map(digit));
}

fn print(out: &mut Vec<u8>, what: impl Display) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{what}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::base::ids::{PoolId, RequestId, RouteId};
    use crate::base::time::Micros;
    use crate::shared::access::{
        CacheOutcome, CachePart, LoggedTexts, RequestFacts, RequestTexts, Tally,
    };

    fn line(texts: LoggedTexts) -> AccessLine {
        AccessLine {
            began: Micros(0),
            request_id: RequestId(0xbeef),
            generation: 1,
            facts: RequestFacts {
                client: Some([192, 0, 2, 7].into()),
                version: 11,
                route: Some(RouteId(0)),
                pool: Some(PoolId(0)),
                ..RequestFacts::default()
            },
            texts,
            tally: Tally {
                status: 200,
                request_bytes: 3,
                response_bytes: 1234,
                backend: Some(0),
                attempts: 1,
                upstream_micros: Some(800),
                ..Tally::default()
            },
            total_micros: 1000,
            failure: "",
            cache: Default::default(),
        }
    }

    fn print_line(format: AccessLogFormat, line: &AccessLine, names: LineNames<'_>) -> String {
        let at = UNIX_EPOCH + Duration::from_micros(784_111_777_000_005);
        let mut out = Vec::new();
        write_line(format, &Record { line, names, at }, &mut out);
        String::from_utf8(out).unwrap()
    }

    const TEXTS: RequestTexts<'static> = RequestTexts {
        method: b"GET",
        target: b"/a?b=c",
        host: b"example.com",
        referer: b"http://from/",
        user_agent: b"curl/8",
        trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
    };

    const NAMES: LineNames<'static> = LineNames {
        route: Some("/api"),
        pool: Some("api"),
        backend: Some("127.0.0.1:9001"),
    };

    #[test]
    fn json_line() {
        let line = line(LoggedTexts::new(&TEXTS));
        assert_eq!(
            print_line(AccessLogFormat::Json, &line, NAMES),
            concat!(
                r#"{"time":"1994-11-06T08:49:37.000005Z","request_id":"000000000000beef","client":"192.0.2.7","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
                r#""method":"GET","target":"/a?b=c","host":"example.com","version":"HTTP/1.1","status":200,"#,
                r#""route":"/api","pool":"api","backend":"127.0.0.1:9001","attempts":1,"upstream_us":800,"#,
                r#""total_us":1000,"request_bytes":3,"response_bytes":1234,"failure":null,"cache":null,"cache_reason":null,"#,
                r#""user_agent":"curl/8","referer":"http://from/"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn combined_line() {
        let line = line(LoggedTexts::new(&TEXTS));
        assert_eq!(
            print_line(AccessLogFormat::Combined, &line, NAMES),
            concat!(
                r#"192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "#,
                r#""http://from/" "curl/8" id=000000000000beef trace_id=4bf92f3577b34da6a3ce929d0e0e4736 host="example.com" route="/api" pool="api" "#,
                r#"backend="127.0.0.1:9001" attempts=1 upstream_us=800 total_us=1000 request_bytes=3 failure=- cache=- cache_reason=-"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_is_not_known_is_left_open() {
        let mut line = line(LoggedTexts::new(&RequestTexts::default()));
        line.facts.client = None;
        line.facts.version = 10;
        line.failure = "no_route";
        line.cache = CacheOutcome {
            part: CachePart::Miss,
            reason: "no_entry",
        };
        let json = print_line(AccessLogFormat::Json, &line, LineNames::default());
        for part in [
            r#""client":null"#,
            r#""trace_id":null"#,
            r#""method":null"#,
            r#""route":null,"pool":null,"backend":null"#,
            r#""version":"HTTP/1.0""#,
            r#""failure":"no_route","cache":"miss","cache_reason":"no_entry""#,
            r#""user_agent":null,"referer":null}"#,
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        let combined = print_line(AccessLogFormat::Combined, &line, LineNames::default());
        assert!(combined.starts_with("- - - [06/Nov/1994"), "{combined}");
        assert!(
            combined.contains(r#"trace_id=- host="-" route="-" pool="-" backend="-""#),
            "{combined}"
        );
        assert!(
            combined.ends_with("failure=no_route cache=miss cache_reason=no_entry\n"),
            "{combined}"
        );
    }

    #[test]
    fn hostile_texts_table() {
        let rows: [(&[u8], &str, &str); 8] = [
            (b"plain", r#""plain""#, r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#, r#""a\"b\\c""#),
            (
                b"a\nb\r\0",
                r#""a\u000ab\u000d\u0000""#,
                r#""a\x0ab\x0d\x00""#,
            ),
            (b"\x1b[2J\x7f", r#""\u001b[2J\u007f""#, r#""\x1b[2J\x7f""#),
            ("ü€".as_bytes(), "\"ü€\"", r#""\xc3\xbc\xe2\x82\xac""#),
            ("\u{9b}x".as_bytes(), r#""\u009bx""#, r#""\xc2\x9bx""#),
            (b"a\xffb\xc3", "\"a\u{fffd}b\u{fffd}\"", r#""a\xffb\xc3""#),
            (
                b"\xed\xa0\x80",
                "\"\u{fffd}\u{fffd}\u{fffd}\"",
                r#""\xed\xa0\x80""#,
            ),
        ];
        for (text, json, combined) in rows {
            let mut out = Vec::new();
            json_string(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), json, "{text:?}");
            let mut out = Vec::new();
            quote(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), combined, "{text:?}");
        }
    }

    proptest::proptest! {
        /// For every input, the output is one line of printable text with balanced quotes.
        #[test]
        fn no_text_breaks_a_line(
            target in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            agent in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let texts = RequestTexts {
                target: &target,
                user_agent: &agent,
                ..TEXTS
            };
            let line = line(LoggedTexts::new(&texts));
            for format in [AccessLogFormat::Json, AccessLogFormat::Combined] {
                let printed = print_line(format, &line, NAMES);
                let body = printed.strip_suffix('\n').unwrap();
                proptest::prop_assert!(!body.chars().any(char::is_control), "{}", body);
                let bare = body.replace("\\\\", "").replace("\\\"", "");
                proptest::prop_assert_eq!(bare.matches('"').count() % 2, 0);
            }
        }
    }
}
