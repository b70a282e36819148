//! Our own answers, for requests that no backend answers. They say what is wrong in one word and tell nothing of what
//! is behind the proxy.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::date::imf_fixdate;
use crate::http::grpc;
use crate::http::names::{self, FieldEdits};
use crate::http::refusal::Refusal;
use crate::http::status::reason_phrase;
use crate::net::Block;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::{Consequences, Failure};
use crate::worker::shard::Shard;

/// Ends an exchange that failed: with an answer if none is on its way, else by cutting the connection.
pub async fn respond(shard: &Shard, client: &Client, exchange: &Exchange, failure: Failure) {
    exchange.failure.set(Some(failure));
    // To a client that did not take all of an interim answer, what comes next would be the rest of that.
    let is_gone = matches!(
        failure,
        Failure::ClientLeft | Failure::ClientStalled | Failure::ReaderTooSlow
    );
    if exchange.answered.get() || is_gone {
        client.cut();
        return;
    }
    let may_go_on = failure.keeps_connection() && client.may_go_on(shard, exchange);
    client.keep_alive.set(may_go_on);
    client.is_slow.set(failure.is_slowness());
    let consequences = failure.consequences();
    exchange.status.set(consequences.status);
    let mut out = shard.blocks.take();
    let body = match failure {
        Failure::Challenged => challenge_body(exchange),
        Failure::ForwardsSpent => AnswerBody::EMPTY,
        _ => body_of(exchange, &consequences),
    };
    let has_body = !exchange.is_head.get() && !exchange.is_grpc.get();
    match exchange.is_grpc.get() {
        true => write_grpc_head(&mut out, exchange, &consequences),
        false => write_head(&mut out, exchange, failure, &consequences, &body, may_go_on),
    }
    if has_body {
        out.extend(body.text.as_bytes());
    }
    client.timer.set(client.stall(exchange));
    let sent = client
        .wire
        .stream
        .send_answer(&mut out, &client.timer)
        .await;
    shard.blocks.give(out);
    if !matches!(sent, Ok(Ok(()))) {
        client.cut();
    }
}

/// An answer to a gRPC call has its status in what is at once its head and its trailers.
fn write_grpc_head(out: &mut Block, exchange: &Exchange, consequences: &Consequences) {
    let Consequences { status, word, .. } = *consequences;
    let mut head = OwnHead::new(200, exchange.response_edits());
    head.field("Content-Type", "application/grpc");
    head.field("grpc-status", grpc::status_of(status));
    head.field("grpc-message", word);
    head.field("X-Request-Id", format_args!("{:016x}", exchange.id.0));
    out.extend(head.end().as_bytes());
}

/// Fields that say what an answer of ours is, how it is read, or for how long it may be kept in place of a better
/// one. An operator sets them for the answers of backends.
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

/// The head of an own answer, with what the operator changes in the answers of its route: a browser that lacks what
/// it is told for the whole site (`Strict-Transport-Security`), or may not look at an answer (CORS), cannot know that
/// it is ours.
struct OwnHead<'a> {
    text: String,
    edits: &'a FieldEdits,
}

impl<'a> OwnHead<'a> {
    fn new(status: u16, edits: &'a FieldEdits) -> OwnHead<'a> {
        let text = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        OwnHead { text, edits }
    }

    fn field(&mut self, name: &str, value: impl Display) {
        let is_edited = self.edits.names().contains(name.as_bytes());
        if !is_edited || is_ours_alone(name) {
            self.push(name, value);
        }
    }

    fn push(&mut self, name: &str, value: impl Display) {
        // A string takes everything.
        let _ = write!(self.text, "{name}: {value}\r\n");
    }

    fn end(mut self) -> String {
        for (name, value) in &self.edits.set {
            if !is_ours_alone(name) {
                self.push(name, value);
            }
        }
        self.text.push_str("\r\n");
        self.text
    }
}

fn is_ours_alone(name: &str) -> bool {
    let mut ours = OURS_ALONE.iter();
    ours.any(|known| names::same(name.as_bytes(), known))
}

/// What an answer says at length.
struct AnswerBody {
    /// The media type of the text; empty if there is no text.
    content_type: &'static str,
    text: String,
}

impl AnswerBody {
    const EMPTY: AnswerBody = AnswerBody {
        content_type: "",
        text: String::new(),
    };
}

fn body_of(exchange: &Exchange, consequences: &Consequences) -> AnswerBody {
    let Consequences { status, word, .. } = *consequences;
    let reason = reason_phrase(status);
    let id = exchange.id.0;
    if exchange.wants_json.get() {
        let text = format!(
            "{{\"status\":{status},\"error\":\"{word}\",\"title\":\"{reason}\",\"request_id\":\"{id:016x}\"}}\n"
        );
        let content_type = "application/json";
        return AnswerBody { content_type, text };
    }
    AnswerBody {
        content_type: "text/plain; charset=utf-8",
        text: format!("{status} {reason}\n{word}\nrequest id: {id:016x}\n"),
    }
}

/// An authority wants the answer alone.
fn challenge_body(exchange: &Exchange) -> AnswerBody {
    AnswerBody {
        content_type: "application/octet-stream",
        text: exchange.own_text.take().unwrap_or_default(),
    }
}

fn write_head(
    out: &mut Block,
    exchange: &Exchange,
    failure: Failure,
    consequences: &Consequences,
    body: &AnswerBody,
    may_go_on: bool,
) {
    let Consequences {
        status,
        word,
        error_type,
        ..
    } = *consequences;
    let date = imf_fixdate(unix_secs());
    let mut head = OwnHead::new(status, exchange.response_edits());
    head.field("Date", String::from_utf8_lossy(&date));
    if !body.content_type.is_empty() {
        head.field("Content-Type", body.content_type);
    }
    head.field("Content-Length", body.text.len());
    head.field("X-Request-Id", format_args!("{:016x}", exchange.id.0));
    if !matches!(failure, Failure::Challenged | Failure::ForwardsSpent) {
        let outcome = format_args!("palantir; error={error_type}; details=\"{word}\"");
        head.field("Proxy-Status", outcome);
    }
    match failure {
        Failure::NoBackend | Failure::Saturated | Failure::Exhausted => {
            head.field("Retry-After", 1)
        }
        Failure::HttpsWanted => {
            let location = exchange.own_text.take().unwrap_or_default();
            head.field("Location", location);
        }
        Failure::Refused(Refusal::MethodNotAllowed) | Failure::ForwardsSpent => {
            head.field("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
        _ => {}
    }
    if !may_go_on {
        head.field("Connection", "close");
    } else if exchange.version.get() == 10 {
        head.field("Connection", "keep-alive");
    }
    out.extend(head.end().as_bytes());
}

fn unix_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
