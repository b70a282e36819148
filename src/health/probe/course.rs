//! How the bytes below TLS go: a probe that asks nothing learns from them whether its backend has said something behind
//! the handshake, which need not be anything that TLS passes on.

use std::cell::Cell;

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};

/// The course of a connection so far.
#[derive(Default)]
pub struct Course {
    has_last_word: Cell<bool>,
    /// How often the connection may still be read; `None`: there is no bound.
    reads: Cell<Option<u8>>,
}

impl Course {
    /// Whether this side wrote, and has read nothing since.
    pub fn has_last_word(&self) -> bool {
        self.has_last_word.get()
    }

    /// Lets the connection be read once more. It seems to have ended after that.
    pub fn read_once_more(&self) {
        self.reads.set(Some(1));
    }

    /// Whether the connection may be read.
    fn may_read(&self) -> bool {
        let left = self.reads.get();
        self.reads.set(left.map(|left| left.saturating_sub(1)));
        left != Some(0)
    }
}

/// A connection of which the course is noted.
pub struct Noted<'a, S> {
    pub stream: S,
    pub course: &'a Course,
}

impl<S: AsyncReadRent> AsyncReadRent for Noted<'_, S> {
    async fn read<T: IoBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        if !self.course.may_read() {
            return (Ok(0), buf);
        }
        let (count, buf) = self.stream.read(buf).await;
        self.course.has_last_word.set(false);
        (count, buf)
    }

    async fn readv<T: IoVecBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        if !self.course.may_read() {
            return (Ok(0), buf);
        }
        let (count, buf) = self.stream.readv(buf).await;
        self.course.has_last_word.set(false);
        (count, buf)
    }
}

impl<S: AsyncWriteRent> AsyncWriteRent for Noted<'_, S> {
    async fn write<T: IoBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        self.course.has_last_word.set(true);
        self.stream.write(buf).await
    }

    async fn writev<T: IoVecBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        self.course.has_last_word.set(true);
        self.stream.writev(buf).await
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush().await
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }
}
