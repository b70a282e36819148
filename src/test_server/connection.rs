//! One client's connection: requests are read whole, answered one after the other, and what a client sent ahead waits
//! in the buffer.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Origin, Request, answer};
use crate::base::limits;

/// Why a connection ends.
enum End {
    Gone,
    /// The request cannot be served: answered with this status first.
    Refused(u16),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

struct Connection {
    stream: TcpStream,
    input: BytesMut,
}

/// Serves requests until the client leaves, asks for the end or sends something unreadable.
pub(super) async fn run(stream: TcpStream, origin: Origin) {
    // Without it each small answer would wait for the acknowledgement of the last one.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        stream,
        input: BytesMut::new(),
    };
    loop {
        match connection.read_request().await {
            Ok(request) => {
                let sent = answer::send(&mut connection.stream, &request, origin).await;
                if sent.is_err() || !request.keep_alive {
                    return;
                }
            }
            Err(End::Gone) => return,
            Err(End::Refused(status)) => {
                let head =
                    format!("HTTP/1.1 {status} \r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = connection.stream.write_all(head.as_bytes()).await;
                return;
            }
        }
    }
}

impl Connection {
    async fn read_request(&mut self) -> Result<Request, End> {
        let (mut request, framing, expects_continue) = loop {
            if let Some(parsed) = parse_head(&mut self.input)? {
                break parsed;
            }
            if self.input.len() > limits::TEST_SERVER_HEAD_BYTES {
                return Err(End::Refused(431));
            }
            self.fill().await?;
        };
        if expects_continue {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.stream.write_all(interim).await?;
        }
        request.body = match framing {
            Framing::Length(length) => self.read_exactly(length).await?,
            Framing::Chunked => self.read_chunks().await?,
        };
        Ok(request)
    }

    /// Reads some more bytes into the buffer.
    async fn fill(&mut self) -> Result<(), End> {
        if self.input.len() > limits::TEST_SERVER_BODY_BYTES + limits::TEST_SERVER_HEAD_BYTES {
            return Err(End::Refused(413));
        }
        let patience = Duration::from_secs(limits::TEST_SERVER_IDLE_SECS);
        match timeout(patience, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(1..)) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Result<Bytes, End> {
        if length > limits::TEST_SERVER_BODY_BYTES {
            return Err(End::Refused(413));
        }
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    async fn read_chunks(&mut self) -> Result<Bytes, End> {
        let mut body = BytesMut::new();
        loop {
            let size = self.read_chunk_size().await?;
            if size == 0 {
                self.skip_trailers().await?;
                return Ok(body.freeze());
            }
            if body.len() as u64 + size > limits::TEST_SERVER_BODY_BYTES as u64 {
                return Err(End::Refused(413));
            }
            body.extend_from_slice(&self.read_exactly(size as usize).await?);
            if &self.read_exactly(2).await?[..] != b"\r\n" {
                return Err(End::Refused(400));
            }
        }
    }

    async fn read_chunk_size(&mut self) -> Result<u64, End> {
        loop {
            match httparse::parse_chunk_size(&self.input) {
                Ok(Status::Complete((line, size))) => {
                    self.input.advance(line);
                    return Ok(size);
                }
                Ok(Status::Partial) => self.fill().await?,
                Err(_) => return Err(End::Refused(400)),
            }
        }
    }

    async fn skip_trailers(&mut self) -> Result<(), End> {
        for _ in 0..=limits::TRAILER_FIELDS {
            let line = loop {
                match memchr::memchr(b'\n', &self.input) {
                    Some(end) => break self.input.split_to(end + 1),
                    None => self.fill().await?,
                }
            };
            if &line[..] == b"\r\n" {
                return Ok(());
            }
        }
        Err(End::Refused(431))
    }
}

/// Takes a head off the buffer once it is complete. The request's body is still empty then.
fn parse_head(input: &mut BytesMut) -> Result<Option<(Request, Framing, bool)>, End> {
    let mut fields = [httparse::EMPTY_HEADER; limits::TEST_SERVER_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(End::Refused(400)),
    };
    let value = |name: &str| {
        let mut fields = parsed.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).to_ascii_lowercase())
    };
    let framing = match (value("transfer-encoding"), value("content-length")) {
        (Some(coding), None) if coding == "chunked" => Framing::Chunked,
        (None, None) => Framing::Length(0),
        (None, Some(length)) => Framing::Length(length.parse().map_err(|_| End::Refused(400))?),
        _ => return Err(End::Refused(400)),
    };
    let minor_version = parsed.version.unwrap_or(0);
    let asks_to_close = value("connection").is_some_and(|options| options.contains("close"));
    let expects_continue = value("expect").is_some_and(|expected| expected == "100-continue");
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        minor_version,
        keep_alive: minor_version == 1 && !asks_to_close,
        head: Bytes::new(),
        body: Bytes::new(),
    };
    let head = input.split_to(length).freeze();
    let expects_continue = expects_continue && minor_version == 1;
    Ok(Some((
        Request { head, ..request },
        framing,
        expects_continue,
    )))
}
