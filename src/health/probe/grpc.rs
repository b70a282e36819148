//! Asks `grpc.health.v1.Health/Check` over HTTP/2 by prior knowledge, on a connection of its own: one message there, one
//! back, and the status of the call (gRPC Health Checking Protocol; PROTOCOL-HTTP2 for the framing).

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{TcpStream, UnixStream};

use super::{Outcome, describe};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{Connection, Event, Field, Head, LocalSettings, Request, Role, StreamId};
use crate::snapshot::BackendAddr;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// What one read takes at most.
const READ_BYTES: usize = 4096;
/// Field 1, of variable length, of both messages: the service asked for as a text, its state as a number.
const SERVICE_TAG: u8 = 0x0a;
const STATUS_TAG: u8 = 0x08;

/// Passes if the backend says that `service` is serving; the empty name stands for the server as a whole. Errors: no
/// connection.
pub async fn probe(addr: &BackendAddr, host: &str, service: &str) -> io::Result<Outcome> {
    let asked = match addr {
        BackendAddr::Tcp(addr) => ask(TcpStream::connect_addr(*addr).await?, host, service).await,
        BackendAddr::Unix(path) => ask(UnixStream::connect(path).await?, host, service).await,
    };
    Ok(asked.unwrap_or_else(|error| Err(describe(&error))))
}

/// What is known of the answer.
#[derive(Default)]
struct Answer {
    status: u16,
    /// `grpc-status`, which stands in the trailers, or in the head if nothing else follows.
    call: Option<u32>,
    body: Vec<u8>,
    ended: bool,
}

/// Sends the question, and receives until the answer is complete or there is a reason not to wait for it. Errors: the
/// connection breaks.
async fn ask(
    mut stream: impl AsyncReadRent + AsyncWriteRent,
    host: &str,
    service: &str,
) -> io::Result<Outcome> {
    let mut connection = Connection::new(Role::Client, LocalSettings::default(), Micros::now());
    let Some(id) = send_question(&mut connection, host, service) else {
        return Ok(Err("no stream is free".to_owned()));
    };
    let mut answer = Answer::default();
    let mut left = limits::PROBE_ANSWER_BYTES;
    loop {
        let output = connection.take_output(Vec::new());
        stream.write_all(output).await.0?;
        if answer.ended {
            return Ok(answer.judge());
        }
        let (read, bytes) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        left = match (read?, left) {
            (0, _) => return Ok(Err("closed without an answer".to_owned())),
            (count, left) if count > left => return Ok(Err("too long an answer".to_owned())),
            (count, left) => left - count,
        };
        if let Err(reason) = answer.take(&mut connection, id, &bytes) {
            return Ok(Err(reason));
        }
    }
}

fn send_question(connection: &mut Connection, host: &str, service: &str) -> Option<StreamId> {
    let request = Request {
        method: b"POST",
        scheme: b"http",
        authority: host.as_bytes(),
        target: b"/grpc.health.v1.Health/Check",
        protocol: None,
    };
    let fields = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "palantir"),
    ];
    let fields = fields.map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        sensitive: false,
    });
    let stream = connection.open(&request, fields, false)?;
    // The first window is far wider than this.
    let sent = connection.send_body(stream, &question(service), true, Micros::now());
    sent.is_ok().then_some(stream)
}

/// A `HealthCheckRequest` behind its prefix. An empty text is left out, as Protocol Buffers write it.
fn question(service: &str) -> Vec<u8> {
    let message = match service.len() {
        0 => Vec::new(),
        // The configuration keeps names so short that their length is one byte.
        length => [&[SERVICE_TAG, length as u8], service.as_bytes()].concat(),
    };
    let prefix = [0, 0, 0, 0, message.len() as u8];
    [&prefix[..], &message].concat()
}

impl Answer {
    /// Takes received bytes. Errors: why no answer will come.
    fn take(
        &mut self,
        connection: &mut Connection,
        id: StreamId,
        mut bytes: &[u8],
    ) -> Result<(), String> {
        while !bytes.is_empty() && !self.ended {
            let received = connection.receive(bytes, Micros::now());
            let (used, event) =
                received.map_err(|error| format!("broken HTTP/2: {}", error.word()))?;
            match event {
                Some(Event::Head { head, end, .. }) => self.take_head(head, end),
                Some(Event::Body { bytes, end, .. }) => {
                    self.body.extend_from_slice(bytes);
                    self.ended = end;
                }
                Some(Event::Trailers { lines, .. }) => {
                    self.call = call_status_in(lines);
                    self.ended = true;
                }
                Some(Event::Refused { .. }) => return Err("malformed answer".to_owned()),
                Some(Event::Reset { code, .. }) => return Err(format!("reset with {}", code.0)),
                Some(Event::GoAway { last, code }) if last < id => {
                    return Err(format!("went away with {}", code.0));
                }
                Some(Event::GoAway { .. } | Event::Settings | Event::Pong) | None => {}
            }
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn take_head(&mut self, head: &Head, end: bool) {
        if head.status() >= 200 {
            self.status = head.status();
            self.call = head.field("grpc-status").and_then(number);
            self.ended = end;
        }
    }

    fn judge(&self) -> Outcome {
        let serving = match (self.status, self.call) {
            (200, Some(0)) => state(&self.body),
            (200, Some(5)) => Some(Err("unknown service")),
            (200, Some(12)) => Some(Err("no health service")),
            (200, Some(call)) => return Err(format!("gRPC status {call}")),
            (200, None) => return Err("no gRPC status".to_owned()),
            (status, _) => return Err(format!("answered {status}")),
        };
        let outcome = serving.unwrap_or(Err("malformed answer"));
        outcome.map(str::to_owned).map_err(str::to_owned)
    }
}

/// What a `HealthCheckResponse` says, behind its prefix; `None` if it is malformed. A state of 0 is left out.
fn state(body: &[u8]) -> Option<Result<&'static str, &'static str>> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let [compressed, length @ ..] = *prefix;
    let is_whole = compressed == 0 && message.len() == u32::from_be_bytes(length) as usize;
    match (is_whole, message) {
        (true, [STATUS_TAG, 1]) => Some(Ok("serving")),
        (true, [STATUS_TAG, 2]) => Some(Err("not serving")),
        (true, [STATUS_TAG, 3]) => Some(Err("unknown service")),
        (true, [] | [STATUS_TAG, 0]) => Some(Err("unknown whether it is serving")),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's side of the exchange: what it is asked, and how it answers that.
    struct Server {
        connection: Connection,
        asked: Vec<u8>,
    }

    /// What the probe makes of a status, a call's status and a message.
    fn verdict(status: u16, call: &str, message: &[u8]) -> Outcome {
        let mut client = Connection::new(Role::Client, LocalSettings::default(), Micros(0));
        let id = send_question(&mut client, "api:80", "a.Service").unwrap();
        let mut server = Server {
            connection: Connection::new(Role::Server, LocalSettings::default(), Micros(0)),
            asked: Vec::new(),
        };
        let mut answer = Answer::default();
        server.serve(&client.take_output(Vec::new()), status, call, message);
        assert_eq!(server.asked, b"\0\0\0\0\x0b\x0a\x09a.Service");
        let output = server.connection.take_output(Vec::new());
        // However the bytes are cut.
        for piece in output.chunks(3) {
            answer.take(&mut client, id, piece)?;
        }
        assert!(answer.ended);
        answer.judge()
    }

    impl Server {
        fn serve(&mut self, mut bytes: &[u8], status: u16, call: &str, message: &[u8]) {
            while !bytes.is_empty() {
                let (used, event) = self.connection.receive(bytes, Micros(0)).unwrap();
                bytes = &bytes[used..];
                match event {
                    Some(Event::Head { head, .. }) => {
                        assert_eq!(head.target(), b"/grpc.health.v1.Health/Check");
                        assert_eq!(head.authority(), b"api:80");
                        assert!(head.te_trailers());
                        assert_eq!(head.field("content-type"), Some(&b"application/grpc"[..]));
                    }
                    Some(Event::Body { stream, bytes, end }) => {
                        self.asked.extend_from_slice(bytes);
                        if end {
                            self.answer(stream, status, call, message);
                        }
                    }
                    _ => {}
                }
            }
        }

        fn answer(&mut self, stream: StreamId, status: u16, call: &str, message: &[u8]) {
            let trailer = Field {
                name: b"grpc-status",
                value: call.as_bytes(),
                sensitive: false,
            };
            let server = &mut self.connection;
            server.send_head(stream, 103, [], false).unwrap();
            if message.is_empty() {
                server.send_head(stream, status, [trailer], true).unwrap();
                return;
            }
            server.send_head(stream, status, [], false).unwrap();
            server.send_body(stream, message, false, Micros(0)).unwrap();
            server.send_trailers(stream, [trailer]).unwrap();
        }
    }

    #[test]
    fn answers_table() {
        type Row = (
            u16,
            &'static str,
            &'static [u8],
            Result<&'static str, &'static str>,
        );
        let rows: [Row; 14] = [
            (200, "0", b"\0\0\0\0\x02\x08\x01", Ok("serving")),
            (200, "0", b"\0\0\0\0\x02\x08\x02", Err("not serving")),
            (200, "0", b"\0\0\0\0\x02\x08\x03", Err("unknown service")),
            (
                200,
                "0",
                b"\0\0\0\0\x00",
                Err("unknown whether it is serving"),
            ),
            (200, "0", b"\0\0\0\0\x02\x08\x04", Err("malformed answer")),
            (200, "0", b"\0\0\0\0\x03\x08\x01", Err("malformed answer")),
            (200, "0", b"\x01\0\0\0\x02\x08\x01", Err("malformed answer")),
            (200, "0", b"", Err("malformed answer")),
            (200, "5", b"", Err("unknown service")),
            (200, "12", b"", Err("no health service")),
            (200, "14", b"\0\0\0\0\x02\x08\x01", Err("gRPC status 14")),
            (200, "", b"", Err("no gRPC status")),
            (200, "x", b"\0\0\0\0\x02\x08\x01", Err("no gRPC status")),
            (503, "0", b"\0\0\0\0\x02\x08\x01", Err("answered 503")),
        ];
        for (status, call, message, expected) in rows {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(
                verdict(status, call, message),
                expected,
                "{status} {call} {message:?}"
            );
        }
    }

    #[test]
    fn the_whole_server_is_asked_for_by_an_empty_message() {
        assert_eq!(question(""), b"\0\0\0\0\0");
    }
}
