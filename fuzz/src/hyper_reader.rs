//! Requests as a server of hyper reads them, over a connection in memory.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::{Message, sorted};

/// More fields than any forwarded request has.
const FIELDS: usize = 300;

/// How often a connection may ask to be polled again before it counts as hanging. Each poll handles at least a request.
const POLLS: usize = 100_000;

/// All requests of a connection that brings `bytes` in pieces of at most `most`, and then ends; or why hyper refuses
/// them.
pub fn read(bytes: &[u8], most: usize) -> Result<Vec<Message>, String> {
    let messages = RefCell::new(Vec::new());
    let service = service_fn(|request| async {
        let message = receive(request).await?;
        messages.borrow_mut().push(message);
        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
    });
    let wire = Wire { bytes, most };
    let mut server = http1::Builder::new();
    // The end of the bytes is no reason to give up requests that are complete.
    server
        .half_close(true)
        .max_headers(FIELDS)
        .header_read_timeout(None);
    let mut connection = pin!(server.serve_connection(wire, service));
    let mut context = Context::from_waker(Waker::noop());
    let ended = (0..POLLS).find_map(|_| match connection.as_mut().poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    });
    ended
        .expect("the connection never waits, so that it comes to its end")
        .map_err(|error| format!("{error:?}"))?;
    Ok(messages.take())
}

async fn receive(request: Request<Incoming>) -> Result<Message, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(fields_of).unwrap_or_default();
    Ok(Message {
        method: head.method.as_str().into(),
        target: head.uri.to_string().into(),
        fields: fields_of(&head.headers),
        body: body.to_bytes().to_vec(),
        trailers,
    })
}

fn fields_of(fields: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = fields.iter();
    sorted(fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// A connection whose client has sent everything, and reads everything at once.
struct Wire<'b> {
    bytes: &'b [u8],
    most: usize,
}

impl Read for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.bytes.len().min(self.most).min(buffer.remaining());
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
