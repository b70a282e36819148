//! The bytes of replies. A core renders a reply once, and sets the date and the id of the request each time it sends
//! the reply. A reply with text of its own, and a reply whose fields an operator edits, are rendered each time.

use std::cell::RefCell;
use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{FieldValue, Reply, ReplyBody};
use crate::base::ids::RequestId;
use crate::base::limits;
use crate::http::date::imf_fixdate;
use crate::http::grpc;
use crate::http::names::{self, FieldEdits};
use crate::http::status::reason_phrase;
use crate::net::Block;
use crate::worker::exchange::Exchange;

/// The form of a reply, as its client needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The form of the body.
    pub body: BodyLook,
    /// The value of `Connection`; `None`: the reply has no such field.
    pub connection: Option<&'static str>,
}

/// The form of a reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLook {
    Text,
    Json,
    /// No body: the head of the reply is also its trailers, and has the status of the gRPC call.
    Grpc,
}

impl Look {
    /// The form of a reply in this exchange. `may_go_on`: the client's connection stays open.
    pub fn of(exchange: &Exchange, reply: &Reply, may_go_on: bool) -> Look {
        let is_call = exchange.facts.is_grpc && matches!(reply.body, ReplyBody::Label(_));
        Look {
            body: match exchange.facts.wants_json {
                _ if is_call => BodyLook::Grpc,
                true => BodyLook::Json,
                false => BodyLook::Text,
            },
            connection: match may_go_on {
                false => Some("close"),
                // HTTP/1.0 closes unless the field says otherwise (RFC 9112 section 9.3).
                true if exchange.facts.version == 10 => Some("keep-alive"),
                true => None,
            },
        }
    }
}

/// The replies that a core has rendered.
#[derive(Default)]
pub struct RenderedReplies {
    known: RefCell<Vec<(Reply, Look, Rendered)>>,
}

/// A reply with gaps for the date and the id of the request.
#[derive(Default)]
struct Rendered {
    text: String,
    /// The bytes of the head.
    head: usize,
    /// The position of the date.
    date: Option<usize>,
    /// The positions of the id: in the head and in the body.
    ids: [Option<usize>; 2],
}

const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
const ID: &str = "0000000000000000";

impl RenderedReplies {
    /// Writes a reply, without its body if the request is a HEAD.
    pub fn write(&self, reply: &Reply, look: Look, exchange: &Exchange, out: &mut Block) {
        let edits = exchange.response_edits();
        let has_body = !exchange.facts.is_head && look.body != BodyLook::Grpc;
        if !edits.names().is_empty() || has_own_text(reply) {
            let rendered = Rendered::new(reply, look, edits);
            return rendered.write(exchange.id, has_body, out);
        }
        let mut known = self.known.borrow_mut();
        let is_it =
            |(one, its_look, _): &(Reply, Look, Rendered)| one == reply && *its_look == look;
        if let Some((_, _, rendered)) = known.iter().find(|entry| is_it(entry)) {
            return rendered.write(exchange.id, has_body, out);
        }
        let rendered = Rendered::new(reply, look, edits);
        rendered.write(exchange.id, has_body, out);
        if known.len() == limits::RENDERED_REPLIES {
            known.clear();
        }
        known.push((reply.clone(), look, rendered));
    }
}

/// Whether a reply has text that no other reply has.
fn has_own_text(reply: &Reply) -> bool {
    let mut fields = reply.fields.iter().flatten();
    matches!(reply.body, ReplyBody::Own { .. })
        || fields.any(|(_, value)| matches!(value, FieldValue::Own(_)))
}

impl Rendered {
    fn new(reply: &Reply, look: Look, edits: &FieldEdits) -> Rendered {
        let mut head = Head {
            edits,
            rendered: Rendered::default(),
        };
        match look.body {
            BodyLook::Grpc => head.grpc(reply),
            BodyLook::Text | BodyLook::Json => head.http(reply, look),
        }
        head.rendered
    }

    /// Writes the reply to the request with this id.
    fn write(&self, id: RequestId, has_body: bool, out: &mut Block) {
        debug_assert!(
            out.is_empty(),
            "the places of date and id count from the block's beginning"
        );
        let length = if has_body { self.text.len() } else { self.head };
        out.extend(&self.text.as_bytes()[..length]);
        let written = out.filled_mut();
        if let Some(at) = self.date {
            written[at..at + DATE.len()].copy_from_slice(&imf_fixdate(unix_secs()));
        }
        let digits = hexadecimal(id.0);
        for at in self.ids.into_iter().flatten().filter(|at| *at < length) {
            written[at..at + ID.len()].copy_from_slice(&digits);
        }
    }
}

/// An id as sixteen hexadecimal digits.
fn hexadecimal(id: u64) -> [u8; ID.len()] {
    std::array::from_fn(|at| {
        let nibble = id >> (60 - 4 * at) & 15;
        b"0123456789abcdef"[nibble as usize]
    })
}

fn unix_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Fields that describe a reply itself: its content, how it is read, or how long it may be kept in place of a better
/// answer. The operator's edits of these fields are for answers of backends, and do not apply to replies.
const OURS_ALONE: [&[u8]; 15] = [
    b"age",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-language",
    b"content-length",
    b"content-location",
    b"content-range",
    b"content-type",
    b"etag",
    b"expires",
    b"grpc-message",
    b"grpc-status",
    b"last-modified",
    b"location",
];

fn is_ours_alone(name: &str) -> bool {
    let mut ours = OURS_ALONE.iter();
    ours.any(|known| names::same(name.as_bytes(), known))
}

/// A reply that is being rendered, with the operator's edits of its route. Browsers need the fields that the operator
/// sets for the whole site (`Strict-Transport-Security`, CORS) in replies, too, because they cannot tell a reply from
/// an answer of a backend.
struct Head<'a> {
    edits: &'a FieldEdits,
    rendered: Rendered,
}

impl Head<'_> {
    /// Renders a reply to an ordinary request.
    fn http(&mut self, reply: &Reply, look: Look) {
        let (body, id) = body_of(reply, look.body);
        self.begin(reply.status);
        self.rendered.date = self.field("Date", DATE);
        if let Some(content_type) = content_type_of(reply, look.body) {
            self.field("Content-Type", content_type);
        }
        self.field("Content-Length", body.len());
        self.rendered.ids[0] = self.field("X-Request-Id", ID);
        for (name, value) in reply.fields.iter().flatten() {
            self.field(name, value);
        }
        if let Some(connection) = look.connection {
            self.field("Connection", connection);
        }
        self.end();
        self.rendered.ids[1] = id.map(|at| self.rendered.head + at);
        self.rendered.text.push_str(&body);
    }

    /// Renders the answer to a gRPC call: one head, which is also the trailers, has its status.
    fn grpc(&mut self, reply: &Reply) {
        self.begin(200);
        self.field("Content-Type", "application/grpc");
        self.field("grpc-status", grpc::status_of(reply.status));
        if let ReplyBody::Label(label) = reply.body {
            self.field("grpc-message", label);
        }
        self.rendered.ids[0] = self.field("X-Request-Id", ID);
        self.end();
    }

    fn begin(&mut self, status: u16) {
        let reason = reason_phrase(status);
        let _ = write!(self.rendered.text, "HTTP/1.1 {status} {reason}\r\n");
    }

    /// Writes a field unless the operator has changed it. The result is the position of its value.
    fn field(&mut self, name: &str, value: impl Display) -> Option<usize> {
        let is_edited = self.edits.names().contains(name.as_bytes());
        (!is_edited || is_ours_alone(name)).then(|| self.push(name, value))
    }

    fn push(&mut self, name: &str, value: impl Display) -> usize {
        let text = &mut self.rendered.text;
        let at = text.len() + name.len() + ": ".len();
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}: {value}\r\n");
        at
    }

    fn end(&mut self) {
        let edits = self.edits;
        for (name, value) in edits.set.iter().filter(|(name, _)| !is_ours_alone(name)) {
            self.push(name, value);
        }
        self.rendered.text.push_str("\r\n");
        self.rendered.head = self.rendered.text.len();
    }
}

/// The media type of a reply's body; `None`: there is no body.
fn content_type_of(reply: &Reply, look: BodyLook) -> Option<&'static str> {
    match (&reply.body, look) {
        (ReplyBody::Empty, _) => None,
        (ReplyBody::Own { content_type, .. }, _) => Some(content_type),
        (ReplyBody::Label(_), BodyLook::Json) => Some("application/json"),
        (ReplyBody::Label(_), _) => Some("text/plain; charset=utf-8"),
    }
}

/// The body of a reply, and the position of the request's id in it.
fn body_of(reply: &Reply, look: BodyLook) -> (String, Option<usize>) {
    let label = match &reply.body {
        ReplyBody::Empty => return (String::new(), None),
        ReplyBody::Own { text, .. } => return (text.clone(), None),
        ReplyBody::Label(label) => label,
    };
    let status = reply.status;
    let reason = reason_phrase(status);
    let (text, rest) = match look {
        BodyLook::Json => (
            format!(
                "{{\"status\":{status},\"error\":\"{label}\",\"title\":\"{reason}\",\"request_id\":\""
            ),
            "\"}\n",
        ),
        BodyLook::Text | BodyLook::Grpc => {
            (format!("{status} {reason}\n{label}\nrequest id: "), "\n")
        }
    };
    let at = text.len();
    (text + ID + rest, Some(at))
}

impl Display for FieldValue {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FieldValue::Fixed(value) => out.write_str(value),
            FieldValue::Own(value) => out.write_str(value),
            FieldValue::ProxyStatus { error_type, label } => {
                write!(out, "palantir; error={error_type}; details=\"{label}\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::names::NO_EDITS;
    use crate::worker::failure::Failure;

    const TEXT: Look = Look {
        body: BodyLook::Text,
        connection: None,
    };

    fn written(reply: &Reply, look: Look, edits: &FieldEdits, has_body: bool) -> String {
        let mut out = Block::with_capacity(2_000);
        Rendered::new(reply, look, edits).write(RequestId(0xab12), has_body, &mut out);
        let text = String::from_utf8_lossy(out.filled()).into_owned();
        let date = text.find("\r\nDate: ").map(|at| at + "\r\nDate: ".len());
        match date {
            Some(at) => text.replace(&text[at..at + DATE.len()], "NOW"),
            None => text,
        }
    }

    #[test]
    fn failures_as_text_json_and_grpc() {
        let reply = Reply::of_failure(Failure::NoBackend);
        let close = Some("close");
        let rows = [
            (
                BodyLook::Text,
                None,
                "HTTP/1.1 503 Service Unavailable\r\nDate: NOW\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: 64\r\nX-Request-Id: 000000000000ab12\r\nProxy-Status: palantir; \
                 error=destination_unavailable; details=\"no_backend\"\r\nRetry-After: 1\r\n\r\n\
                 503 Service Unavailable\nno_backend\nrequest id: 000000000000ab12\n",
            ),
            (
                BodyLook::Json,
                close,
                "HTTP/1.1 503 Service Unavailable\r\nDate: NOW\r\nContent-Type: application/json\r\n\
                 Content-Length: 98\r\nX-Request-Id: 000000000000ab12\r\nProxy-Status: palantir; \
                 error=destination_unavailable; details=\"no_backend\"\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
                 {\"status\":503,\"error\":\"no_backend\",\"title\":\"Service Unavailable\",\
                 \"request_id\":\"000000000000ab12\"}\n",
            ),
            (
                BodyLook::Grpc,
                close,
                "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 14\r\n\
                 grpc-message: no_backend\r\nX-Request-Id: 000000000000ab12\r\n\r\n",
            ),
        ];
        for (body, connection, expected) in rows {
            let look = Look { body, connection };
            assert_eq!(written(&reply, look, &NO_EDITS, true), expected);
        }
    }

    #[test]
    fn an_answer_to_head_ends_with_its_head() {
        let reply = Reply::of_failure(Failure::NoRoute);
        let text = written(&reply, TEXT, &NO_EDITS, false);
        assert!(text.contains("Content-Length: ") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_operator_changes_all_but_what_says_how_the_reply_is_read() {
        let set = [
            ("x-request-id", "none"),
            ("content-type", "a/b"),
            ("hsts", "1"),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let edits = FieldEdits::new(vec!["date".to_owned()], set.to_vec());
        let text = written(&Reply::options(), TEXT, &edits, true);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n\
             x-request-id: none\r\nhsts: 1\r\n\r\n"
        );
    }

    #[test]
    fn texts_of_their_own_are_not_kept() {
        let rows = [
            (Reply::redirect_to_https("https://a/".to_owned()), true),
            (Reply::challenge("a.b".to_owned()), true),
            (Reply::options(), false),
            (Reply::of_failure(Failure::Saturated), false),
        ];
        for (reply, expected) in rows {
            assert_eq!(has_own_text(&reply), expected, "{reply:?}");
        }
    }
}
