//! The answers that the routes of a test server give.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Origin, Request};
use crate::base::limits;

/// Size of `/large`, in bytes.
const LARGE_BYTES: usize = 1 << 20;
/// Chunks of `/stream`.
const STREAM_CHUNKS: usize = 5;

/// An answer being sent.
struct Answer<'a> {
    stream: &'a mut TcpStream,
    request: &'a Request,
    origin: Origin,
}

/// Answers one request.
pub(super) async fn send(
    stream: &mut TcpStream,
    request: &Request,
    origin: Origin,
) -> io::Result<()> {
    let target = request.target.as_str();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut answer = Answer {
        stream,
        request,
        origin,
    };
    match path {
        "/" => answer.whole(200, format!("{origin}\n").as_bytes()).await,
        "/health" => answer.whole(200, b"ok\n").await,
        "/large" => answer.whole(200, &vec![b'x'; LARGE_BYTES]).await,
        "/echo" => {
            let received = [&request.head[..], &request.body[..]].concat();
            answer.whole(200, &received).await
        }
        "/slow" => {
            let millis = slow_millis(query);
            sleep(Duration::from_millis(millis)).await;
            let text = format!("{origin} after {millis} ms\n");
            answer.whole(200, text.as_bytes()).await
        }
        "/stream" => answer.parts().await,
        "/sse" => answer.events().await,
        _ => {
            let status = status_asked_for(path).unwrap_or(404);
            let text = format!("{origin}: {status}\n");
            answer.whole(status, text.as_bytes()).await
        }
    }
}

/// The `ms` of a query; absent or unreadable counts as 0.
fn slow_millis(query: &str) -> u64 {
    let mut pairs = query.split('&');
    let millis = pairs.find_map(|pair| pair.strip_prefix("ms="));
    let millis = millis.and_then(|text| text.parse().ok()).unwrap_or(0);
    u64::min(millis, limits::TEST_SERVER_SLOW_MILLIS)
}

/// The status of `/status/NNN`, if it can end an exchange.
fn status_asked_for(path: &str) -> Option<u16> {
    let status = path.strip_prefix("/status/")?.parse().ok()?;
    (200..600).contains(&status).then_some(status)
}

impl Answer<'_> {
    /// Sends an answer whose length is known.
    async fn whole(&mut self, status: u16, body: &[u8]) -> io::Result<()> {
        let bodiless = matches!(status, 204 | 304);
        let fields = if bodiless {
            String::new()
        } else {
            format!(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
                body.len()
            )
        };
        let mut answer = self.head(status, &fields).into_bytes();
        if !bodiless && self.request.method != "HEAD" {
            answer.extend_from_slice(body);
        }
        self.stream.write_all(&answer).await
    }

    /// Sends an answer in chunks with a trailer.
    async fn parts(&mut self) -> io::Result<()> {
        let kind = "Content-Type: text/plain; charset=utf-8\r\nTrailer: X-Parts\r\n";
        self.begin_stream(kind).await?;
        if self.request.method == "HEAD" {
            return Ok(());
        }
        for number in 1..=STREAM_CHUNKS {
            let text = format!("{}, part {number} of {STREAM_CHUNKS}\n", self.origin);
            self.send_part(&text).await?;
        }
        match self.request.minor_version {
            0 => Ok(()),
            _ => {
                let end = format!("0\r\nX-Parts: {STREAM_CHUNKS}\r\n\r\n");
                self.stream.write_all(end.as_bytes()).await
            }
        }
    }

    /// Sends server-sent events, one each second, until the client leaves.
    async fn events(&mut self) -> io::Result<()> {
        self.begin_stream("Content-Type: text/event-stream\r\nCache-Control: no-store\r\n")
            .await?;
        if self.request.method == "HEAD" {
            return Ok(());
        }
        let mut number = 0u64;
        loop {
            number += 1;
            let event = format!("id: {number}\ndata: {}\n\n", self.origin);
            self.send_part(&event).await?;
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn head(&self, status: u16, fields: &str) -> String {
        let known = http::StatusCode::from_u16(status).ok();
        let reason = known.and_then(|status| status.canonical_reason());
        let connection = if self.request.keep_alive {
            "keep-alive"
        } else {
            "close"
        };
        format!(
            "HTTP/1.1 {status} {}\r\nServer: palantir-test-server/{}\r\n\
             Connection: {connection}\r\n{fields}\r\n",
            reason.unwrap_or_default(),
            self.origin.number,
        )
    }

    /// Begins an answer whose length is not known: in chunks, or until close for HTTP/1.0.
    async fn begin_stream(&mut self, fields: &str) -> io::Result<()> {
        let coding = match self.request.minor_version {
            0 => "",
            _ => "Transfer-Encoding: chunked\r\n",
        };
        let head = self.head(200, &format!("{fields}{coding}"));
        self.stream.write_all(head.as_bytes()).await
    }

    async fn send_part(&mut self, text: &str) -> io::Result<()> {
        let part = match self.request.minor_version {
            0 => text.to_owned(),
            _ => format!("{:x}\r\n{text}\r\n", text.len()),
        };
        self.stream.write_all(part.as_bytes()).await
    }
}
