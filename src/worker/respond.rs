//! Our own answers, for requests that no backend answers. They say what is wrong in one word and tell nothing of what is
//! behind the proxy.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::date::imf_fixdate;
use crate::http::grpc;
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
    if exchange.answered.get() || failure == Failure::ClientLeft {
        client.cut();
        return;
    }
    let may_go_on = failure.keeps_connection() && client.may_go_on(shard, exchange);
    client.keep_alive.set(may_go_on);
    let consequences = failure.consequences();
    exchange.status.set(consequences.status);
    let mut out = shard.blocks.take();
    let body = body_of(exchange, &consequences);
    let has_body = !exchange.is_head.get() && !exchange.is_grpc.get();
    match exchange.is_grpc.get() {
        true => write_grpc_head(&mut out, exchange, &consequences),
        false => write_head(&mut out, exchange, failure, &consequences, &body, may_go_on),
    }
    if has_body {
        out.extend(body.text.as_bytes());
    }
    client
        .timer
        .set(exchange.plan.snapshot().client.idle_timeout);
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
    let grpc_status = grpc::status_of(status);
    let id = exchange.id.0;
    // A vector takes everything.
    let _ = write!(
        out.vec(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: {grpc_status}\r\n\
         grpc-message: {word}\r\nX-Request-Id: {id:016x}\r\n\r\n"
    );
}

/// What an answer says at length.
struct AnswerBody {
    content_type: &'static str,
    text: String,
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
    let reason = reason_phrase(status);
    let id = exchange.id.0;
    let date = imf_fixdate(unix_secs());
    let date = String::from_utf8_lossy(&date);
    let mut head = format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {}\r\n\
         Content-Length: {}\r\nX-Request-Id: {id:016x}\r\n\
         Proxy-Status: palantir; error={error_type}; details=\"{word}\"\r\n",
        body.content_type,
        body.text.len()
    );
    match failure {
        Failure::NoBackend | Failure::Saturated | Failure::Exhausted => {
            head.push_str("Retry-After: 1\r\n")
        }
        Failure::HttpsWanted => {
            let location = exchange.location.take().unwrap_or_default();
            head.push_str(&format!("Location: {location}\r\n"));
        }
        Failure::Refused(Refusal::MethodNotAllowed) => {
            head.push_str("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
        }
        _ => {}
    }
    if !may_go_on {
        head.push_str("Connection: close\r\n");
    } else if exchange.version.get() == 10 {
        head.push_str("Connection: keep-alive\r\n");
    }
    // A vector takes everything.
    let _ = write!(out.vec(), "{head}\r\n");
}

fn unix_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
