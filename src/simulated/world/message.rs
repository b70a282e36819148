//! Messages of HTTP/1 as clients and backends of the simulated world read and write them: a reader of its own, so that
//! a mistake of the proxy's parser is not made twice.

use std::sync::OnceLock;

use memchr::memmem;

use crate::base::random::SplitMix64;
use crate::simulated::ByteQueue;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
    /// The end of the message is to be told.
    End,
}

/// A piece of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Head(Head),
    Body(Vec<u8>),
    /// The end of a message, with the number in its trailer, if it has one.
    End(Option<usize>),
    Malformed(String),
}

/// A head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The request or status line.
    pub line: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number in a field.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.field(name)?.parse().ok()
    }

    /// The status in a status line.
    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    }
}

/// Reads messages one after the other.
pub struct Reader {
    buffer: ByteQueue,
    state: State,
    /// The number in the trailer of the message.
    trailer: Option<usize>,
    reads_responses: bool,
}

/// The name of the trailer whose value is the number of the request.
pub const TRAILER: &str = "x-trailer";

impl Reader {
    /// A reader of requests or of responses.
    pub fn new(reads_responses: bool) -> Reader {
        Reader {
            buffer: ByteQueue::default(),
            state: State::Head,
            trailer: None,
            reads_responses,
        }
    }

    /// Adds what was received.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// Takes a line of PROXY, version 1, from the front. `None`: it is not there yet.
    pub fn take_proxy_line(&mut self) -> Option<bool> {
        const NAME: &[u8] = b"PROXY ";
        let known = self.buffer.len().min(NAME.len());
        if self.buffer[..known] != NAME[..known] {
            return Some(false);
        }
        let end = memmem::find(&self.buffer, b"\r\n")?;
        self.buffer.drop_front(end + 2);
        Some(true)
    }

    /// Says that no body stands behind the head that was read last, whatever the head says.
    pub fn skip_body(&mut self) {
        self.state = State::End;
    }

    /// The next piece of a message, if there is one.
    pub fn next(&mut self) -> Option<Part> {
        match self.state {
            State::Head => self.head(),
            State::Length(0) => {
                self.state = State::Head;
                Some(Part::End(None))
            }
            State::Length(left) => {
                let bytes = self.take(left)?;
                self.state = State::Length(left - bytes.len());
                Some(Part::Body(bytes))
            }
            State::ChunkSize => {
                let line = self.line()?;
                let Ok(size) = usize::from_str_radix(line.split(';').next()?.trim(), 16) else {
                    return Some(Part::Malformed(format!("chunk size {line:?}")));
                };
                self.state = if size == 0 {
                    State::Trailers
                } else {
                    State::Chunk(size)
                };
                self.next()
            }
            State::Chunk(left) => {
                let bytes = self.take(left)?;
                let left = left - bytes.len();
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::Chunk(left)
                };
                Some(Part::Body(bytes))
            }
            State::ChunkEnd => {
                if self.line()?.is_empty() {
                    self.state = State::ChunkSize;
                    self.next()
                } else {
                    Some(Part::Malformed("no line end behind a chunk".to_owned()))
                }
            }
            State::Trailers => {
                let line = self.line()?;
                if line.is_empty() {
                    self.state = State::End;
                } else if let Some((TRAILER, value)) = line.split_once(": ") {
                    self.trailer = value.parse().ok();
                }
                self.next()
            }
            State::UntilClose => self.take(usize::MAX).map(Part::Body),
            State::End => {
                self.state = State::Head;
                Some(Part::End(self.trailer.take()))
            }
        }
    }

    fn take(&mut self, most: usize) -> Option<Vec<u8>> {
        let bytes = self.buffer.take(most);
        (!bytes.is_empty()).then_some(bytes)
    }

    fn line(&mut self) -> Option<String> {
        let end = memmem::find(&self.buffer, b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drop_front(end + 2);
        Some(line)
    }

    fn head(&mut self) -> Option<Part> {
        let end = memmem::find(&self.buffer, b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drop_front(end + 4);
        let mut lines = text.split("\r\n");
        let mut head = Head {
            line: lines.next().unwrap_or_default().to_owned(),
            fields: Vec::new(),
        };
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            head.fields
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        self.state = self.framing(&head);
        Some(Part::Head(head))
    }

    fn framing(&self, head: &Head) -> State {
        let is_chunked = head.field("transfer-encoding") == Some("chunked");
        let switches = if self.reads_responses {
            head.status() == 101
        } else {
            head.field("upgrade").is_some()
        };
        if switches {
            return State::UntilClose;
        }
        if self.reads_responses && head.status() / 100 == 1 {
            return State::Head;
        }
        match head.number("content-length") {
            _ if is_chunked => State::ChunkSize,
            Some(length) => State::Length(length),
            None if self.reads_responses => State::UntilClose,
            None => State::Length(0),
        }
    }
}

/// The longest body.
const LONGEST: usize = 200_000;

/// A body that tells whose it is and where in it each byte belongs.
pub fn body(id: usize, salt: usize, length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut random = SplitMix64::from_seed(1);
        let count = (LONGEST + STARTS) / 8 + 1;
        (0..count)
            .flat_map(|_| random.number().to_ne_bytes())
            .collect()
    });
    const STARTS: usize = 10_007;
    &bytes[(id * 397 + salt * 5_003) % STARTS..][..length]
}

/// The framing of a body whose length is not told beforehand, in pieces, without the last chunk.
pub fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(4_000) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The last chunk, perhaps with a trailer that has this number.
pub fn last_chunk(trailer: Option<usize>) -> String {
    match trailer {
        Some(id) => format!("0\r\n{TRAILER}: {id}\r\n\r\n"),
        None => "0\r\n\r\n".to_owned(),
    }
}
