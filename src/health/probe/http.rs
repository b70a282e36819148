//! Sends one `GET` on a connection of its own and looks at the status of the answer. The body is nobody's concern: the
//! connection is closed as soon as the head is there.

use std::io;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version, header};
use monoio::BufResult;
use monoio::buf::{IoBufMut, IoVecBufMut};
use monoio::io::sink::SinkExt;
use monoio::io::stream::Stream;
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio_http::common::error::HttpError;
use monoio_http::h1::codec::decoder::{ClientResponseDecoder, DecodeError};
use monoio_http::h1::codec::encoder::{EncodeError, GenericEncoder};
use monoio_http::h1::payload::{Payload, PayloadError};

use super::{Outcome, Question, describe, h2};
use crate::base::limits;
use crate::snapshot::Protocol;

type GetRequest = Request<Payload<Bytes, PayloadError>>;

/// Passes if `GET path` is answered with a status in one of the inclusive ranges.
pub struct Get<'g> {
    pub host: &'g str,
    pub scheme: &'static str,
    pub path: &'g str,
    pub expect: &'g [(u16, u16)],
    /// What the backend speaks.
    pub protocol: Protocol,
}

impl Question for Get<'_> {
    async fn ask(self, stream: impl AsyncReadRent + AsyncWriteRent) -> io::Result<Outcome> {
        let status = match self.protocol {
            Protocol::Http1 => self.over_http1(stream).await,
            Protocol::Http2 => self.over_http2(stream).await?,
        };
        Ok(status.and_then(|status| judge(status, self.expect)))
    }
}

impl Get<'_> {
    async fn over_http1(&self, stream: impl AsyncReadRent + AsyncWriteRent) -> Result<u16, String> {
        let request = request(self.host, self.path).map_err(|error| error.to_string())?;
        ask(stream, request).await.map(|status| status.as_u16())
    }

    async fn over_http2(
        &self,
        stream: impl AsyncReadRent + AsyncWriteRent,
    ) -> io::Result<Result<u16, String>> {
        let question = h2::Question {
            method: "GET",
            scheme: self.scheme,
            host: self.host,
            target: self.path,
            fields: &[],
            body: &[],
        };
        let answer = h2::Asking::new(&question).run(stream).await?;
        Ok(answer.map(|answer| answer.status))
    }
}

fn judge(status: u16, expect: &[(u16, u16)]) -> Outcome {
    let words = format!("answered {status}");
    let is_expected = expect
        .iter()
        .any(|&(low, high)| (low..=high).contains(&status));
    if is_expected { Ok(words) } else { Err(words) }
}

fn request(host: &str, path: &str) -> http::Result<GetRequest> {
    Request::builder()
        .method(Method::GET)
        .uri(path)
        .version(Version::HTTP_11)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "palantir")
        .header(header::CONNECTION, "close")
        .body(Payload::None)
}

/// Sends the request and reads heads until one is final (RFC 9110 section 15.2).
async fn ask(
    mut stream: impl AsyncReadRent + AsyncWriteRent,
    request: GetRequest,
) -> Result<StatusCode, String> {
    GenericEncoder::new(&mut stream)
        .send_and_flush(request)
        .await
        .map_err(|error| describe_http(&error))?;
    let mut heads = ClientResponseDecoder::new(Bounded {
        stream,
        left: limits::PROBE_ANSWER_BYTES,
    });
    loop {
        match heads.next().await {
            None => return Err("closed without an answer".to_owned()),
            Some(Err(error)) => return Err(describe_http(&error)),
            Some(Ok(head)) if interim(head.status()) => {}
            Some(Ok(head)) => return Ok(head.status()),
        }
    }
}

fn interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn describe_http(error: &HttpError) -> String {
    match error {
        HttpError::IOError(error)
        | HttpError::H1EncodeError(EncodeError::Io(error))
        | HttpError::H1DecodeError(DecodeError::Io(error)) => describe(error),
        _ => "malformed answer".to_owned(),
    }
}

/// A stream that fails after so many bytes, because the decoder would buffer a head of any length.
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncReadRent> AsyncReadRent for Bounded<S> {
    async fn read<T: IoBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        if self.left == 0 {
            return (Err(too_long()), buffer);
        }
        let (result, buffer) = self.stream.read(buffer).await;
        if let Ok(read) = result {
            self.left = self.left.saturating_sub(read);
        }
        (result, buffer)
    }

    async fn readv<T: IoVecBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        if self.left == 0 {
            return (Err(too_long()), buffer);
        }
        let (result, buffer) = self.stream.readv(buffer).await;
        if let Ok(read) = result {
            self.left = self.left.saturating_sub(read);
        }
        (result, buffer)
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!(
        "no complete head in {} bytes",
        limits::PROBE_ANSWER_BYTES
    ))
}
