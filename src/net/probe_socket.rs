//! A connection of a probe, in cleartext or with TLS. The health thread makes few of them, and each carries one
//! question: so this uses the streams of the engine as they are, without blocks and wheels of timers.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::sink::SinkExt;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{TcpStream, UnixStream};
use monoio_http::common::error::HttpError;
use monoio_http::h1::codec::encoder::{EncodeError, GenericEncoder};
use monoio_http::h1::payload::{Payload, PayloadError};
use monoio_rustls::{ClientTlsStream, TlsConnector, TlsError};
use rustls::pki_types::ServerName;

use crate::base::addresses::BackendAddr;
use crate::tls::SharedClientConfig;

/// The course of a connection below TLS. A probe that asks nothing learns from it whether its backend has said
/// something after the handshake, which need not be anything that TLS passes on.
#[derive(Default)]
struct Course {
    /// Whether this side wrote, and has read nothing since.
    wrote_last: Cell<bool>,
    /// How often the connection may still be read; `None`: there is no bound.
    reads: Cell<Option<u8>>,
}

impl Course {
    /// Counts a read; false if the connection may not be read any more, and is to seem ended.
    fn may_read(&self) -> bool {
        let left = self.reads.get();
        self.reads.set(left.map(|left| left.saturating_sub(1)));
        left != Some(0)
    }
}

/// A socket that is connected to a backend.
pub struct ProbeSocket {
    socket: Connected,
    course: Rc<Course>,
}

enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The stream of a probe's question and answer.
pub struct ProbeStream<'a> {
    transport: Transport<'a>,
    course: Rc<Course>,
}

enum Transport<'a> {
    Plain(&'a mut ProbeSocket),
    Tls(Box<ClientTlsStream<&'a mut ProbeSocket>>),
}

impl ProbeSocket {
    /// Connects to a backend. Errors: as the system reports them.
    pub async fn connect(addr: &BackendAddr) -> io::Result<ProbeSocket> {
        let socket = match addr {
            BackendAddr::Tcp(addr) => Connected::Tcp(TcpStream::connect_addr(*addr).await?),
            BackendAddr::Unix(path) => Connected::Unix(UnixStream::connect(path).await?),
        };
        Ok(ProbeSocket {
            socket,
            course: Rc::default(),
        })
    }

    /// Sends bytes that stand before TLS. Errors: the connection breaks.
    pub async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.write_all(bytes).await.0.map(drop)
    }

    /// Receives at most `most` bytes as they come over the wire; none: the backend has ended the connection. Errors:
    /// the connection breaks.
    pub async fn receive(&mut self, most: usize) -> io::Result<Vec<u8>> {
        received(self.read(Vec::with_capacity(most)).await)
    }

    /// The stream for a question in cleartext.
    pub fn plain(&mut self) -> ProbeStream<'_> {
        ProbeStream {
            course: self.course.clone(),
            transport: Transport::Plain(self),
        }
    }

    /// Makes a TLS handshake with a backend that must prove to be `name`. Errors: the connection breaks, or TLS fails;
    /// the error then holds a [`rustls::Error`].
    pub async fn secure(
        &mut self,
        tls: SharedClientConfig,
        name: ServerName<'static>,
    ) -> io::Result<ProbeStream<'_>> {
        let course = self.course.clone();
        match TlsConnector::from(tls).connect(name, self).await {
            Ok(stream) => Ok(ProbeStream {
                transport: Transport::Tls(Box::new(stream)),
                course,
            }),
            Err(TlsError::Io(error)) => Err(error),
            Err(TlsError::Rustls(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

impl ProbeStream<'_> {
    /// Sends bytes. Errors: the connection breaks, or TLS fails.
    pub async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(socket) => {
                socket.write_all(bytes).await.0?;
                socket.flush().await
            }
            Transport::Tls(stream) => {
                stream.write_all(bytes).await.0?;
                stream.flush().await
            }
        }
    }

    /// Sends a request without a body over HTTP/1.1. The inner error: the request cannot be written. Errors: the
    /// connection breaks, or TLS fails.
    pub async fn send_request(
        &mut self,
        request: http::Request<()>,
    ) -> io::Result<Result<(), String>> {
        let request = request.map(|()| Payload::<Bytes, PayloadError>::None);
        let sent = match &mut self.transport {
            Transport::Plain(socket) => GenericEncoder::new(socket).send_and_flush(request).await,
            Transport::Tls(stream) => {
                GenericEncoder::new(&mut **stream)
                    .send_and_flush(request)
                    .await
            }
        };
        match sent {
            Ok(()) => Ok(Ok(())),
            Err(HttpError::IOError(error) | HttpError::H1EncodeError(EncodeError::Io(error))) => {
                Err(error)
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Receives at most `most` bytes; none: the backend has ended the connection. Errors: the connection breaks, or
    /// TLS fails.
    pub async fn receive(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(most);
        received(match &mut self.transport {
            Transport::Plain(socket) => socket.read(room).await,
            Transport::Tls(stream) => stream.read(room).await,
        })
    }

    /// Whether this side sent the last bytes over TLS, and has received nothing since.
    pub fn wrote_last(&self) -> bool {
        matches!(self.transport, Transport::Tls(_)) && self.course.wrote_last.get()
    }

    /// Lets the connection be read once more. It seems to have ended after that.
    pub fn read_once_more(&self) {
        self.course.reads.set(Some(1));
    }
}

fn received((count, mut bytes): BufResult<usize, Vec<u8>>) -> io::Result<Vec<u8>> {
    bytes.truncate(count?);
    Ok(bytes)
}

impl AsyncReadRent for ProbeSocket {
    async fn read<T: IoBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        if !self.course.may_read() {
            return (Ok(0), buf);
        }
        let (count, buf) = match &mut self.socket {
            Connected::Tcp(socket) => socket.read(buf).await,
            Connected::Unix(socket) => socket.read(buf).await,
        };
        self.course.wrote_last.set(false);
        (count, buf)
    }

    async fn readv<T: IoVecBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        if !self.course.may_read() {
            return (Ok(0), buf);
        }
        let (count, buf) = match &mut self.socket {
            Connected::Tcp(socket) => socket.readv(buf).await,
            Connected::Unix(socket) => socket.readv(buf).await,
        };
        self.course.wrote_last.set(false);
        (count, buf)
    }
}

impl AsyncWriteRent for ProbeSocket {
    async fn write<T: IoBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        self.course.wrote_last.set(true);
        match &mut self.socket {
            Connected::Tcp(socket) => socket.write(buf).await,
            Connected::Unix(socket) => socket.write(buf).await,
        }
    }

    async fn writev<T: IoVecBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        self.course.wrote_last.set(true);
        match &mut self.socket {
            Connected::Tcp(socket) => socket.writev(buf).await,
            Connected::Unix(socket) => socket.writev(buf).await,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Connected::Tcp(socket) => socket.flush().await,
            Connected::Unix(socket) => socket.flush().await,
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Connected::Tcp(socket) => socket.shutdown().await,
            Connected::Unix(socket) => socket.shutdown().await,
        }
    }
}
