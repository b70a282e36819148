//! One question and its answer over HTTP/2, on a connection of its own.

use std::io;

use super::body::Search;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::hpack::ListLimits;
use crate::http::h2::{
    Field, H2Connection, H2Event, Head, LocalSettings, Role, StreamId, StreamRequest,
};
use crate::net::ProbeStream;

/// The number of bytes that one read takes at most.
const READ_BYTES: usize = 4096;

/// A request.
pub struct ProbeRequest<'q> {
    pub method: &'q str,
    pub scheme: &'q str,
    pub host: &'q str,
    pub target: &'q str,
    pub fields: &'q [(&'q str, &'q str)],
    /// Far shorter than any window.
    pub body: &'q [u8],
    pub wants: Wants,
}

/// The part of the answer that a probe waits for.
#[derive(Default)]
pub enum Wants {
    /// The status alone.
    Status,
    /// The whole answer.
    #[default]
    Whole,
    /// A text in the body.
    Text(Search),
}

/// The answer of the backend, as far as it came.
#[derive(Default)]
pub struct ProbeAnswer {
    pub status: u16,
    /// `grpc-status`, which stands in the trailers, or in the head if nothing else follows.
    pub call: Option<u32>,
    /// Of an answer that is wanted whole.
    pub body: Vec<u8>,
    pub wants: Wants,
}

/// A question on its way.
pub struct ProbeExchange {
    connection: H2Connection,
    stream: Option<StreamId>,
    answer: ProbeAnswer,
    is_complete: bool,
}

impl ProbeExchange {
    /// Puts a question; what must be sent is in the output.
    pub fn new(question: ProbeRequest<'_>) -> ProbeExchange {
        let settings = LocalSettings {
            head: ListLimits::RESPONSE,
            ..LocalSettings::default()
        };
        let mut connection = H2Connection::new(Role::Client, settings, Micros::now());
        let request = StreamRequest {
            method: question.method.as_bytes(),
            scheme: question.scheme.as_bytes(),
            authority: question.host.as_bytes(),
            target: question.target.as_bytes(),
            protocol: None,
        };
        let is_named = question
            .fields
            .iter()
            .any(|(name, _)| *name == "user-agent");
        let agent: &[_] = if is_named {
            &[]
        } else {
            &[("user-agent", "palantir")]
        };
        let fields = [question.fields, agent].concat();
        let fields = fields.iter().map(|(name, value)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: false,
        });
        let ends = question.body.is_empty();
        let stream = connection.open(&request, fields, ends);
        debug_assert!(stream.is_some(), "a new connection takes a stream");
        if let Some(stream) = stream.filter(|_| !ends) {
            // A stream that is gone already is told of when the answer is received.
            let _ = connection.send_body(stream, question.body, true, Micros::now());
        }
        ProbeExchange {
            connection,
            stream,
            answer: ProbeAnswer {
                wants: question.wants,
                ..ProbeAnswer::default()
            },
            is_complete: false,
        }
    }

    /// Sends the question and receives until the answer is there, or a reason why none will come. Errors: the
    /// connection breaks.
    pub async fn run(
        mut self,
        stream: &mut ProbeStream<'_>,
    ) -> io::Result<Result<ProbeAnswer, String>> {
        let mut left = limits::PROBE_ANSWER_BYTES;
        loop {
            stream.send(self.output()).await?;
            if self.is_complete {
                return Ok(Ok(self.answer));
            }
            let bytes = stream.receive(READ_BYTES).await?;
            left = match (bytes.len(), left) {
                (0, _) => return Ok(Err("closed without an answer".to_owned())),
                (count, left) if count > left => return Ok(Err("too long an answer".to_owned())),
                (count, left) => left - count,
            };
            if let Err(reason) = self.take(&bytes) {
                return Ok(Err(reason));
            }
        }
    }

    /// The bytes that are to be sent now.
    pub fn output(&mut self) -> Vec<u8> {
        self.connection.take_output(Vec::new())
    }

    /// The answer, once it is complete.
    #[cfg(test)]
    pub fn answer(&self) -> Option<&ProbeAnswer> {
        self.is_complete.then_some(&self.answer)
    }

    /// Takes received bytes. Errors: why no answer will come.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() && !self.is_complete {
            let received = self.connection.receive(bytes, Micros::now());
            let (used, event) =
                received.map_err(|error| format!("broken HTTP/2: {}", error.label()))?;
            match event {
                Some(H2Event::Head { head, end, .. }) => {
                    self.is_complete = take_head(&mut self.answer, head, end);
                }
                Some(H2Event::Body { bytes, end, .. }) => {
                    self.is_complete = take_body(&mut self.answer, bytes) || end;
                }
                Some(H2Event::Trailers { lines, .. }) => {
                    self.answer.call = call_status_in(lines);
                    self.is_complete = true;
                }
                Some(H2Event::Refused { .. } | H2Event::RefusedTrailers { .. }) => {
                    return Err("malformed answer".to_owned());
                }
                Some(H2Event::Reset { code, .. }) => return Err(format!("reset with {}", code.0)),
                Some(H2Event::GoAway { last, code }) if self.stream.is_none_or(|id| last < id) => {
                    return Err(format!("went away with {}", code.0));
                }
                Some(H2Event::GoAway { .. } | H2Event::Settings | H2Event::Pong) | None => {}
            }
            bytes = &bytes[used..];
        }
        Ok(())
    }
}

/// Takes a head over unless it is an interim one; whether the answer is complete with it.
fn take_head(answer: &mut ProbeAnswer, head: &Head, end: bool) -> bool {
    if head.status() < 200 {
        return false;
    }
    answer.status = head.status();
    answer.call = head.field("grpc-status").and_then(number);
    end || matches!(answer.wants, Wants::Status)
}

/// Takes a piece of a body over; whether no further one matters.
fn take_body(answer: &mut ProbeAnswer, bytes: &[u8]) -> bool {
    match &mut answer.wants {
        Wants::Status => true,
        Wants::Text(search) => {
            search.feed(bytes);
            search.is_over()
        }
        Wants::Whole => {
            answer.body.extend_from_slice(bytes);
            false
        }
    }
}

/// `grpc-status` among lines of `name: value CRLF`.
fn call_status_in(lines: &[u8]) -> Option<u32> {
    let mut lines = lines.split(|&byte| byte == b'\n');
    number(lines.find_map(|line| line.strip_prefix(b"grpc-status:"))?)
}

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
