//! The head of a stored response with the fields of a newer one (RFC 9111 section 3.2).

use httparse::Header;

use crate::cache::stored_head;
use crate::http::date;
use crate::http::fields::{KnownField, list, recognise, values};

/// The new fields of a stored response: those of a 304, of the answer to a HEAD, or of a 206 that completes a stored
/// part.
#[derive(Clone, Copy)]
pub struct NewFields<'a> {
    /// The fields as they were received.
    pub fields: &'a [Header<'a>],
    /// Seconds since 1970 when they were received.
    pub received_secs: u64,
    /// Whether `Set-Cookie` may be stored.
    pub keeps_cookies: bool,
    /// Whether a field of this name must not be stored: one that `private` or `no-cache` names.
    pub is_unstorable: &'a dyn Fn(&str) -> bool,
}

/// The stored head with the new fields (RFC 9111 section 3.2). A field of the new ones replaces all stored ones of its
/// name.
pub fn updated_head(head: &[u8], new: &NewFields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 256);
    out.extend_from_slice(stored_head::status_line(head));
    out.extend_from_slice(b"\r\n");
    // RFC 9111 section 3.2 (MUST): every new field is taken over, and replaces the stored ones of its name.
    let taken = new.fields.iter().filter(|field| new.takes(field.name));
    let taken: Vec<&Header<'_>> = taken.collect();
    let is_replaced = |name: &[u8]| {
        let mut names = taken.iter().map(|field| field.name.as_bytes());
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    for (name, value) in stored_head::fields(head) {
        // The stored Age was one of the old answer. Date is there in every stored head (RFC 9110 section 6.6.1).
        let is_of_receipt = name.eq_ignore_ascii_case(b"age") || name.eq_ignore_ascii_case(b"date");
        if !is_of_receipt && !is_replaced(name) {
            stored_head::write_field(name, value, &mut out);
        }
    }
    let dates = || values(new.fields, "date");
    let has_date = dates().count() == 1 && dates().all(|value| date::parse(value).is_some());
    let is_written = |name: &str| has_date || !name.eq_ignore_ascii_case("date");
    for field in taken.iter().filter(|field| is_written(field.name)) {
        stored_head::write_field(field.name.as_bytes(), field.value, &mut out);
    }
    if !has_date {
        // RFC 9110 section 6.6.1 (MUST): a recipient with a clock notes when a response without Date came. An invalid
        // one it may replace.
        stored_head::write_field(b"Date", &date::imf_fixdate(new.received_secs), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    out
}

impl NewFields<'_> {
    /// Whether a new field replaces the stored ones of its name.
    fn takes(&self, name: &str) -> bool {
        // RFC 9111 section 3.2 (SHOULD): Content-Length is excepted, and so is what describes the bytes that are
        // stored, which a 304 does not change: a coding that does not fit would make the body unreadable. Nothing else
        // is.
        const OF_BODY: [&str; 3] = ["content-encoding", "content-length", "content-range"];
        const OF_COOKIES: [&str; 2] = ["set-cookie", "set-cookie2"];
        let is_one = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        !is_one(&OF_BODY)
            && !is_of_connection(name, self.fields)
            && (self.keeps_cookies || !is_one(&OF_COOKIES))
            && !(self.is_unstorable)(name)
    }
}

/// Whether a field is meant for one connection only.
fn is_of_connection(name: &str, fields: &[Header<'_>]) -> bool {
    // RFC 9111 section 3.1 (MUST NOT, a): such fields are not stored.
    let is_known = matches!(
        recognise(name.as_bytes()),
        KnownField::Connection
            | KnownField::KeepAlive
            | KnownField::ProxyAuthenticate
            | KnownField::ProxyAuthorization
            | KnownField::ProxyConnection
            | KnownField::Te
            | KnownField::Trailer
            | KnownField::TransferEncoding
            | KnownField::Upgrade
            | KnownField::Disguised
    );
    let is_info = name.eq_ignore_ascii_case("proxy-authentication-info");
    let mut options = values(fields, "connection").flat_map(list);
    is_known || is_info || options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'f> = &'f [(&'f str, &'f str)];

    const STORED: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"a\"\r\nAge: 7\r\n\
        Content-Type: text/plain\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\nX-A: 1\r\nx-a: 2\r\n\
        Set-Cookie: a=b\r\n\r\n";

    fn updated(fields: Fields<'_>, keeps_cookies: bool) -> String {
        let header = |(name, value): &(&'static str, &'static str)| Header {
            name,
            value: value.as_bytes(),
        };
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (leak(name), leak(value)))
            .collect();
        let fields: Vec<_> = fields.iter().map(header).collect();
        let new = NewFields {
            fields: &fields,
            received_secs: 784_111_800,
            keeps_cookies,
            is_unstorable: &|name| name.eq_ignore_ascii_case("x-private"),
        };
        String::from_utf8(updated_head(STORED.as_bytes(), &new)).unwrap()
    }

    /// The values of a field after an update, joined.
    fn value(name: &str, fields: Fields<'_>) -> String {
        let head = updated(fields, true);
        let found = stored_head::fields(head.as_bytes());
        let found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        let found: Vec<_> = found
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect();
        found.join("+")
    }

    #[test]
    fn a_whole_head() {
        let found = updated(
            &[
                ("ETag", "\"a\""),
                ("X-A", "3"),
                ("Cache-Control", "max-age=9"),
            ],
            false,
        );
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
            Content-Encoding: gzip\r\nSet-Cookie: a=b\r\nETag: \"a\"\r\nX-A: 3\r\nCache-Control: max-age=9\r\n\
            Date: Sun, 06 Nov 1994 08:50:00 GMT\r\n\r\n";
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_table() {
        let rows: [(&str, Fields<'_>, &str); 24] = [
            // RFC 9111 section 3.2 (MUST): each field of the new response replaces the stored ones of its name.
            ("x-a", &[], "1+2"),
            ("x-a", &[("X-A", "3")], "3"),
            ("x-a", &[("x-A", "3"), ("X-a", "4")], "3+4"),
            ("x-b", &[("X-B", "3")], "3"),
            ("x-a", &[("X-A", "")], ""),
            (
                "content-type",
                &[("Content-Type", "text/html")],
                "text/html",
            ),
            ("content-foo", &[("Content-Foo", "b")], "b"),
            ("content-location", &[("Content-Location", "/b")], "/b"),
            (
                "set-cookie",
                &[("Set-Cookie", "c=d"), ("Set-Cookie", "e=f")],
                "c=d+e=f",
            ),
            // RFC 9111 section 3.2 (SHOULD): except Content-Length, and what describes the stored bytes.
            ("content-length", &[("Content-Length", "10")], "5"),
            ("content-encoding", &[("Content-Encoding", "br")], "gzip"),
            ("content-range", &[("Content-Range", "bytes 0-1/5")], ""),
            // RFC 9111 section 3.1 (MUST NOT, a): fields of the connection are not stored.
            ("transfer-encoding", &[("Transfer-Encoding", "chunked")], ""),
            ("keep-alive", &[("Keep-Alive", "timeout=5")], ""),
            ("upgrade", &[("Upgrade", "h2c")], ""),
            ("proxy-authenticate", &[("Proxy-Authenticate", "Basic")], ""),
            (
                "proxy-authentication-info",
                &[("Proxy-Authentication-Info", "a")],
                "",
            ),
            ("x-a", &[("Connection", "close, X-A"), ("X-A", "3")], "1+2"),
            ("connection", &[("Connection", "x-a")], ""),
            ("x-private", &[("X-Private", "me")], ""),
            // The age and the date are those of the new response.
            ("age", &[("Age", "3")], "3"),
            ("age", &[], ""),
            (
                "date",
                &[("Date", "Mon, 07 Nov 1994 08:49:37 GMT")],
                "Mon, 07 Nov 1994 08:49:37 GMT",
            ),
            (
                "date",
                &[("Date", "today")],
                "Sun, 06 Nov 1994 08:50:00 GMT",
            ),
        ];
        for (name, fields, expected) in rows {
            assert_eq!(value(name, fields), expected, "{name} {fields:?}");
        }
    }

    #[test]
    fn cookies_are_stored_only_where_the_operator_says_so() {
        let new = [("Set-Cookie", "secret=1"), ("Set-Cookie2", "secret=2")];
        assert!(!updated(&new, false).contains("secret"));
        assert!(updated(&new, true).contains("secret=1"));
    }

    proptest::proptest! {
        /// A second update with the same fields changes nothing.
        #[test]
        fn updates_are_settled(fields in proptest::collection::vec(
            (proptest::sample::select(vec!["X-A", "Age", "Date", "ETag", "Content-Length", "Connection", "Vary"]), "[a-z]{0,4}"),
            0..6))
        {
            let header = |(name, value): &'static (&'static str, String)| Header { name, value: value.as_bytes() };
            let fields: Vec<_> = fields.leak().iter().map(header).collect();
            let new = NewFields {
                fields: &fields,
                received_secs: 1,
                keeps_cookies: false,
                is_unstorable: &|_| false,
            };
            let once = updated_head(STORED.as_bytes(), &new);
            proptest::prop_assert!(once.ends_with(b"\r\n\r\n"));
            let sorted = |head: &[u8]| {
                let mut fields: Vec<_> = stored_head::fields(head).map(|(a, b)| (a.to_vec(), b.to_vec())).collect();
                fields.sort();
                fields
            };
            proptest::prop_assert_eq!(sorted(&updated_head(&once, &new)), sorted(&once));
            proptest::prop_assert!(stored_head::find(&once, "date").is_some());
        }
    }
}
