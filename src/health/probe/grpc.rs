//! Asks `grpc.health.v1.Health/Check`: one message there, one back, and the status of the call (gRPC Health Checking
//! Protocol; PROTOCOL-HTTP2 for the framing).

use std::io;

use super::h2::{ProbeAnswer, ProbeExchange, ProbeRequest as Asked, Wants};
use super::{ProbeOutcome, Question};
use crate::net::ProbeStream;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Field 1, of variable length, of both messages: the service asked for as a text, its state as a number.
const SERVICE_TAG: u8 = 0x0a;
const STATUS_TAG: u8 = 0x08;

/// Passes if the backend says that `service` is serving; the empty name stands for the server as a whole.
pub struct GrpcProbe<'c> {
    pub host: &'c str,
    pub scheme: &'static str,
    pub headers: &'c [(String, String)],
    pub service: &'c str,
}

impl Question for GrpcProbe<'_> {
    async fn ask(self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome> {
        let answer = self.asking().run(stream).await?;
        Ok(answer.and_then(|answer| outcome_of(&answer)))
    }
}

impl GrpcProbe<'_> {
    fn asking(&self) -> ProbeExchange {
        let own = [("content-type", "application/grpc"), ("te", "trailers")];
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<_> = own.into_iter().chain(headers).collect();
        ProbeExchange::new(Asked {
            method: "POST",
            scheme: self.scheme,
            host: self.host,
            target: "/grpc.health.v1.Health/Check",
            fields: &fields,
            body: &question(self.service),
            wants: Wants::Whole,
        })
    }
}

/// A `HealthCheckRequest` behind its prefix. An empty text is left out, as Protocol Buffers write it.
fn question(service: &str) -> Vec<u8> {
    debug_assert!(service.len() < 128, "a length of one byte");
    let message = match service.len() {
        0 => Vec::new(),
        // The configuration keeps names so short that their length is one byte.
        length => [&[SERVICE_TAG, length as u8], service.as_bytes()].concat(),
    };
    let prefix = [0, 0, 0, 0, message.len() as u8];
    [&prefix[..], &message].concat()
}

fn outcome_of(answer: &ProbeAnswer) -> ProbeOutcome {
    let serving = match (answer.status, answer.call) {
        (200, Some(0)) => state(&answer.body),
        (200, Some(5)) => Some(Err("unknown service")),
        (200, Some(12)) => Some(Err("no health service")),
        (200, Some(call)) => return Err(format!("gRPC status {call}")),
        (200, None) => return Err("no gRPC status".to_owned()),
        (status, _) => return Err(format!("answered {status}")),
    };
    let outcome = serving.unwrap_or(Err("malformed answer"));
    outcome.map(str::to_owned).map_err(str::to_owned)
}

/// The state in a `HealthCheckResponse` behind its prefix; `None` if the message is malformed. A state of 0 is left
/// out.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Micros;
    use crate::http::h2::{Field, H2Connection, H2Event, LocalSettings, Role, StreamId};

    /// A server's side of the exchange: what it is asked, and how it answers that.
    struct Server {
        connection: H2Connection,
        asked: Vec<u8>,
    }

    /// The probe's verdict on a status, a call's status and a message.
    fn verdict(status: u16, call: &str, message: &[u8]) -> ProbeOutcome {
        let mut asking = GrpcProbe {
            host: "api:80",
            scheme: "http",
            headers: &[("authorization".to_owned(), "Bearer x".to_owned())],
            service: "a.Service",
        }
        .asking();
        let mut server = Server {
            connection: H2Connection::new(Role::Server, LocalSettings::default(), Micros(0)),
            asked: Vec::new(),
        };
        server.serve(&asking.output(), status, call, message);
        assert_eq!(server.asked, b"\0\0\0\0\x0b\x0a\x09a.Service");
        let output = server.connection.take_output(Vec::new());
        // However the bytes are cut.
        for piece in output.chunks(3) {
            asking.take(piece)?;
        }
        outcome_of(asking.answer().expect("a complete answer"))
    }

    impl Server {
        fn serve(&mut self, mut bytes: &[u8], status: u16, call: &str, message: &[u8]) {
            while !bytes.is_empty() {
                let (used, event) = self.connection.receive(bytes, Micros(0)).unwrap();
                bytes = &bytes[used..];
                match event {
                    Some(H2Event::Head { head, .. }) => {
                        assert_eq!(head.target(), b"/grpc.health.v1.Health/Check");
                        assert_eq!(head.authority(), b"api:80");
                        assert!(head.te_trailers());
                        assert_eq!(head.field("content-type"), Some(&b"application/grpc"[..]));
                        assert_eq!(head.field("authorization"), Some(&b"Bearer x"[..]));
                    }
                    Some(H2Event::Body { stream, bytes, end }) => {
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
