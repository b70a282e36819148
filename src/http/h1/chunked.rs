//! The chunked coding (RFC 9112 section 7.1): decoding without copying, and the few bytes of framing to write.

use std::ops::Range;

use super::head_facts::Sender;
use super::trailers;
use crate::base::limits;
use crate::http::refusal::Refusal;

/// Ends a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

const _: () = assert!(
    limits::CHUNK_SIZE_DIGITS <= u64::BITS / 4,
    "a chunk's size does not overflow"
);

/// Takes the framing off a chunked body that arrives in pieces of any size. The decoder is useless after an error. In
/// the body of a stranger every line ends in CRLF, blanks stand only where the RFC has them (section 7.1.1), and an
/// extension has no control byte. In the body of a backend lines may end in LF alone, and blanks may follow a size.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    sender: Sender,
    /// While a size is read: its value so far. While data comes: what is left of it.
    size: u64,
    /// Digits of the size being read.
    digits: u32,
    /// Bytes of the extension being read.
    extension: u32,
    /// Bytes of all extensions so far.
    extensions: u64,
    /// Bytes of data that have come so far.
    data: u64,
    trailers: Vec<u8>,
}

/// The part of the body that is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// Blanks that follow a size.
    SizeEnd,
    SizeLf,
    Extension,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer or of the last line.
    Trailer,
    TrailerRest,
    TrailerLf,
    LastLf,
    Ended,
}

/// The result of a call of [`ChunkedDecoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkedPiece {
    /// All input was used up and was framing.
    NeedMore,
    /// Data, never empty: indices of the call's input.
    Data(Range<usize>),
    /// The body is complete; input that was not consumed belongs to the next message.
    End,
}

impl ChunkedDecoder {
    /// A decoder for the body of a stranger, before its first chunk.
    pub fn new() -> Self {
        ChunkedDecoder::of(Sender::Stranger)
    }

    /// A decoder for the body of a backend's answer, before its first chunk.
    pub fn of_backend() -> Self {
        ChunkedDecoder::of(Sender::Ours)
    }

    fn of(sender: Sender) -> Self {
        ChunkedDecoder {
            state: State::Size,
            sender,
            data: 0,
            size: 0,
            digits: 0,
            extension: 0,
            extensions: 0,
            trailers: Vec::new(),
        }
    }

    /// Consumes framing and at most one run of data. Returns how many bytes were consumed, and what was found. Errors:
    /// malformed framing or a bound exceeded; the connection must not be used on.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, ChunkedPiece), Refusal> {
        let mut at = 0;
        while self.state != State::Ended {
            if self.state == State::Data && at < input.len() {
                let end = at + self.take_run(input.len() - at);
                debug_assert!(
                    at < end && end <= input.len(),
                    "a piece is a part of the input"
                );
                return Ok((end, ChunkedPiece::Data(at..end)));
            }
            let Some(&byte) = input.get(at) else {
                return Ok((at, ChunkedPiece::NeedMore));
            };
            self.state = self.step(byte)?;
            at += 1;
        }
        Ok((at, ChunkedPiece::End))
    }

    /// After [`ChunkedPiece::End`]: the trailer lines that may be passed on, each with its CRLF; empty if there are
    /// none.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn take_run(&mut self, available: usize) -> usize {
        debug_assert!(self.size > 0 && available > 0);
        let run = self.size.min(available as u64);
        self.size -= run;
        self.data += run;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        run as usize
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            // A backend's line may end with a line feed alone, which a recipient may accept (RFC 9112 section 2.2).
            (State::Size | State::SizeEnd | State::Extension, b'\n') if self.may_end_bare() => {
                Ok(self.after_size())
            }
            (State::DataCr, b'\n') if self.is_of_backend() => Ok(self.next_size()),
            (State::TrailerRest, b'\n') if self.is_of_backend() => Ok(self.next_trailer()),
            (State::Trailer, b'\n') if self.is_of_backend() => self.last_line(),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::SizeEnd, b'\r') if self.is_of_backend() => Ok(State::SizeLf),
            (State::Size, b' ' | b'\t') if self.digits > 0 => {
                self.extension = 0;
                self.extension_byte(byte, State::SizeEnd)
            }
            (State::SizeEnd, b' ' | b'\t') => self.extension_byte(byte, State::SizeEnd),
            (State::Size | State::SizeEnd, b';') if self.digits > 0 => {
                self.extension = 0;
                Ok(State::Extension)
            }
            (State::Size, _) => self.size_digit(byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) => self.extension_byte(byte, State::Extension),
            (State::SizeLf, b'\n') => Ok(self.after_size()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(self.next_size()),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::Trailer | State::TrailerRest, byte) if byte != b'\r' && byte != b'\n' => {
                self.trailer_byte(byte)
            }
            (State::TrailerRest, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => Ok(self.next_trailer()),
            (State::LastLf, b'\n') => self.last_line(),
            (State::Trailer | State::TrailerRest | State::TrailerLf, _) => Err(Refusal::BadTrailer),
            _ => Err(Refusal::BadChunk),
        }
    }

    fn is_of_backend(&self) -> bool {
        self.sender == Sender::Ours
    }

    /// Whether the line of a size may end here with LF alone.
    fn may_end_bare(&self) -> bool {
        self.is_of_backend() && self.digits > 0
    }

    fn after_size(&self) -> State {
        match self.size {
            0 => State::Trailer,
            _ => State::Data,
        }
    }

    fn next_size(&mut self) -> State {
        debug_assert_eq!(
            self.size, 0,
            "a chunk is passed on whole before the next one"
        );
        self.digits = 0;
        State::Size
    }

    fn next_trailer(&mut self) -> State {
        self.trailers.extend_from_slice(CHUNK_END);
        State::Trailer
    }

    fn last_line(&mut self) -> Result<State, Refusal> {
        debug_assert!(self.trailers.len() <= limits::TRAILER_BYTES as usize + CHUNK_END.len());
        self.trailers = trailers::checked(&self.trailers, self.sender)?;
        Ok(State::Ended)
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = char::from(byte).to_digit(16).ok_or(Refusal::BadChunk)?;
        if self.digits == limits::CHUNK_SIZE_DIGITS {
            return Err(Refusal::BadChunk);
        }
        // The size of the chunk before is 0 by now.
        self.size = self.size << 4 | u64::from(digit);
        self.digits += 1;
        Ok(State::Size)
    }

    fn extension_byte(&mut self, byte: u8, next: State) -> Result<State, Refusal> {
        if byte != b'\t' && byte.is_ascii_control() {
            return Err(Refusal::BadChunk);
        }
        self.extension += 1;
        self.extensions += 1;
        let most = limits::CHUNK_EXTENSIONS_BYTES.max(self.data / limits::CHUNK_EXTENSIONS_SHARE);
        let within = self.extension <= limits::CHUNK_EXTENSION_BYTES && self.extensions <= most;
        within.then_some(next).ok_or(Refusal::ChunkOverheadTooLarge)
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        if self.trailers.len() >= limits::TRAILER_BYTES as usize {
            return Err(Refusal::ChunkOverheadTooLarge);
        }
        self.trailers.push(byte);
        Ok(State::TrailerRest)
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        ChunkedDecoder::new()
    }
}

/// Appends the line before a chunk of `len` bytes, at least 1; [`CHUNK_END`] comes after them.
pub fn write_chunk_header(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (at * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body; `trailers` as from [`ChunkedDecoder::trailers`].
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    debug_assert!(
        trailers.is_empty() || trailers.ends_with(b"\r\n"),
        "each trailer is a line"
    );
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
