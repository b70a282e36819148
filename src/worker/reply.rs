//! Replies: answers of palantir itself. A reply to a request that failed names the failure by one label, and tells
//! nothing about the servers behind the proxy.

mod render;

use crate::http::refusal::Refusal;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::{Afterwards, Failure};
use crate::worker::shard::Shard;
use render::Look;

pub use render::RenderedReplies;

/// An answer of palantir itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of the reply.
    pub status: u16,
    /// The fields of this reply, in their order, besides the fields that every reply has.
    pub fields: [Option<ReplyField>; 2],
    /// The body of the reply.
    pub body: ReplyBody,
    /// Whether the client's connection ends with this reply.
    pub close: bool,
}

/// A field of a reply: its name and its value.
pub type ReplyField = (&'static str, FieldValue);

/// The value of a field of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    Fixed(&'static str),
    /// A value made for this reply alone.
    Own(String),
    /// The value of `Proxy-Status` (RFC 9209).
    ProxyStatus {
        error_type: &'static str,
        label: &'static str,
    },
}

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    Empty,
    /// The status, the label and the id of the request, as text or as JSON. A gRPC call gets the label in its trailers.
    Label(&'static str),
    /// Text of this content type, made for this reply alone.
    Own {
        content_type: &'static str,
        text: String,
    },
}

/// The methods that palantir forwards, for `Allow`.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl Reply {
    /// The reply to a request that failed.
    pub fn of_failure(failure: Failure) -> Reply {
        let row = failure.row();
        debug_assert!(
            (400..600).contains(&row.status) && !failure.is_without_reader(),
            "only a failure with a reader is told"
        );
        let more = match failure {
            // The missing resource may be free again in a second (RFC 9110 section 15.6.4).
            _ if row.status == 503 => Some(("Retry-After", FieldValue::Fixed("1"))),
            // RFC 9110 section 15.5.6 requires the field.
            Failure::Refused(Refusal::MethodNotAllowed) => {
                Some(("Allow", FieldValue::Fixed(METHODS)))
            }
            _ => None,
        };
        Reply {
            status: row.status,
            fields: [Some(proxy_status(row.error_type, row.label)), more],
            body: ReplyBody::Label(row.label),
            close: row.afterwards == Afterwards::Ends,
        }
    }

    /// Redirects a client that came in cleartext to this URL. The status 308 keeps the method (RFC 9110 section
    /// 15.4.9).
    pub fn redirect_to_https(url: String) -> Reply {
        const LABEL: &str = "https_wanted";
        Reply {
            status: 308,
            fields: [
                Some(proxy_status("http_request_denied", LABEL)),
                Some(("Location", FieldValue::Own(url))),
            ],
            body: ReplyBody::Label(LABEL),
            close: false,
        }
    }

    /// Answers an authority that asks whether a name belongs to this server (RFC 8555 section 8.3). The body must be
    /// the text alone.
    pub fn challenge(text: String) -> Reply {
        Reply {
            status: 200,
            fields: [None, None],
            body: ReplyBody::Own {
                content_type: "application/octet-stream",
                text,
            },
            close: false,
        }
    }

    /// Answers a client that wants a stored response or none (RFC 9111 section 5.2.1.7).
    pub fn not_cached() -> Reply {
        const LABEL: &str = "not_cached";
        Reply {
            status: 504,
            fields: [Some(proxy_status("http_request_denied", LABEL)), None],
            body: ReplyBody::Label(LABEL),
            close: false,
        }
    }

    /// Tells a client that its purge is in force.
    pub fn purged(number: u64) -> Reply {
        Reply {
            status: 200,
            fields: [Some(("Cache-Control", FieldValue::Fixed("no-store"))), None],
            body: ReplyBody::Own {
                content_type: "text/plain",
                text: format!("purged, number {number}\n"),
            },
            close: false,
        }
    }

    /// Refuses the purge of a client that the settings do not name.
    pub fn purge_not_allowed() -> Reply {
        Reply::refused_purge(403, "purge_not_allowed")
    }

    /// Refuses a purge in a form that is not understood.
    pub fn unknown_purge() -> Reply {
        Reply::refused_purge(400, "unknown_purge")
    }

    /// Tells a client that its purge is in force, but may end with the process, since the disk does not answer.
    pub fn purge_not_on_disk() -> Reply {
        Reply::refused_purge(503, "purge_not_on_disk")
    }

    fn refused_purge(status: u16, label: &'static str) -> Reply {
        Reply {
            status,
            fields: [Some(proxy_status("http_request_denied", label)), None],
            body: ReplyBody::Label(label),
            close: false,
        }
    }

    /// Answers a client that asks for the options of the proxy at which its `Max-Forwards` ends (RFC 9110 section
    /// 7.6.2).
    pub fn options() -> Reply {
        Reply {
            status: 200,
            fields: [Some(("Allow", FieldValue::Fixed(METHODS))), None],
            body: ReplyBody::Empty,
            close: false,
        }
    }
}

fn proxy_status(error_type: &'static str, label: &'static str) -> ReplyField {
    let value = FieldValue::ProxyStatus { error_type, label };
    ("Proxy-Status", value)
}

/// Ends an exchange that failed: by a reply if no answer has begun, otherwise by cutting the connection.
pub async fn fail(shard: &Shard, client: &Client, exchange: &mut Exchange, failure: Failure) {
    exchange.progress.failure = Some(failure);
    if exchange.tally().is_answered || failure.is_without_reader() {
        client.cut();
        return;
    }
    client.note(|persistence| persistence.failed(failure.is_slowness()));
    send(shard, client, exchange, &Reply::of_failure(failure)).await;
}

/// Sends a reply.
pub async fn send(shard: &Shard, client: &Client, exchange: &Exchange, reply: &Reply) {
    debug_assert!(
        !exchange.tally().is_answered,
        "an exchange has one final head"
    );
    debug_assert!((200..600).contains(&reply.status), "{reply:?}");
    let may_go_on = !reply.close && client.may_go_on(shard, exchange);
    client.note(|persistence| persistence.answer_begins(may_go_on, false));
    exchange.note(|tally| tally.status = reply.status);
    let look = Look::of(exchange, reply, may_go_on);
    let mut out = shard.blocks.take();
    let body_bytes = shard
        .rendered_replies
        .write(reply, look, exchange, &mut out);
    exchange.count_response(body_bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_to_failures() {
        let rows = [
            (Failure::NoRoute, 404, false, None),
            (Failure::Saturated, 503, false, Some("Retry-After")),
            (Failure::BodyTooLarge, 413, true, None),
            (
                Failure::Refused(Refusal::MethodNotAllowed),
                405,
                true,
                Some("Allow"),
            ),
            (Failure::Refused(Refusal::BadTarget), 400, true, None),
        ];
        for (failure, status, close, more) in rows {
            let reply = Reply::of_failure(failure);
            assert_eq!((reply.status, reply.close), (status, close), "{failure:?}");
            let [first, second] = reply.fields;
            assert_eq!(first.map(|(name, _)| name), Some("Proxy-Status"));
            assert_eq!(second.map(|(name, _)| name), more, "{failure:?}");
        }
    }

    #[test]
    fn other_replies_leave_the_connection_open() {
        let replies = [
            Reply::redirect_to_https("https://a/".to_owned()),
            Reply::challenge("token.key".to_owned()),
            Reply::options(),
        ];
        for reply in replies {
            assert!(!reply.close && reply.status < 400, "{reply:?}");
        }
    }
}
