//! Requests as httparse reads them, with the strictest reading of lines and framing: every line ends in CRLF, at most
//! one field says where the body ends, and that field has the plainest form.

use httparse::{EMPTY_HEADER, Status};

use crate::{Message, sorted};

/// More fields than any forwarded request has.
const FIELDS: usize = 300;

/// All requests of a connection that ends behind `bytes`, or why they cannot be read.
pub fn read(mut bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (message, used) = read_one(bytes)?;
        messages.push(message);
        bytes = &bytes[used..];
    }
    Ok(messages)
}

fn read_one(bytes: &[u8]) -> Result<(Message, usize), String> {
    if matches!(bytes[0], b'\r' | b'\n') {
        return Err("an empty line where a request should begin".into());
    }
    let mut slots = [EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut slots);
    let head_bytes = match request.parse(bytes) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Err("an incomplete head".into()),
        Err(error) => return Err(format!("a malformed head: {error}")),
    };
    check_lines(&bytes[..head_bytes])?;
    if request.version != Some(1) {
        return Err("a version other than 1.1".into());
    }
    let fields = request.headers.iter();
    let mut message = Message {
        method: request.method.unwrap_or_default().into(),
        target: request.path.unwrap_or_default().into(),
        fields: sorted(fields.map(|field| (field.name.as_bytes(), field.value))),
        ..Message::default()
    };
    let rest = &bytes[head_bytes..];
    let taken = match framing(&message)? {
        Framing::Length(length) => {
            message.body = rest.get(..length).ok_or("an incomplete body")?.to_vec();
            length
        }
        Framing::Chunked => read_chunks(rest, &mut message)?,
    };
    Ok((message, head_bytes + taken))
}

/// Fails unless CR and LF stand in pairs only, which httparse does not ask for.
fn check_lines(section: &[u8]) -> Result<(), String> {
    let pairs = section.windows(2).filter(|pair| pair == b"\r\n").count();
    let ends = section.iter().filter(|byte| b"\r\n".contains(byte)).count();
    if ends != 2 * pairs {
        return Err("a line that does not end in CRLF".into());
    }
    Ok(())
}

enum Framing {
    Length(usize),
    Chunked,
}

fn framing(message: &Message) -> Result<Framing, String> {
    let values = |wanted: &'static [u8]| {
        let fields = message.fields.iter();
        fields
            .filter(move |(name, _)| name == wanted)
            .map(|(_, value)| &value[..])
    };
    let codings: Vec<_> = values(b"transfer-encoding").collect();
    let lengths: Vec<_> = values(b"content-length").collect();
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([b"chunked"], []) => Ok(Framing::Chunked),
        ([], [digits]) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(digits)
                .expect("digits are ASCII")
                .parse();
            length
                .map(Framing::Length)
                .map_err(|error| format!("a length: {error}"))
        }
        framing => Err(format!("more than one reading of the framing: {framing:?}")),
    }
}

/// Reads a chunked body into `message`; returns how many bytes it took.
fn read_chunks(bytes: &[u8], message: &mut Message) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(Status::Complete(found)) => found,
            other => return Err(format!("a chunk size: {other:?}")),
        };
        at += line;
        if size == 0 {
            return Ok(at + read_trailers(&bytes[at..], message)?);
        }
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size));
        let end = end.ok_or("a chunk that no memory holds")?;
        message
            .body
            .extend_from_slice(bytes.get(at..end).ok_or("an incomplete chunk")?);
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err("a chunk that does not end in CRLF".into());
        }
        at = end + 2;
    }
}

fn read_trailers(bytes: &[u8], message: &mut Message) -> Result<usize, String> {
    let mut slots = [EMPTY_HEADER; FIELDS];
    match httparse::parse_headers(bytes, &mut slots) {
        Ok(Status::Complete((used, fields))) => {
            let fields = fields.iter();
            check_lines(&bytes[..used])?;
            message.trailers = sorted(fields.map(|field| (field.name.as_bytes(), field.value)));
            Ok(used)
        }
        other => Err(format!("trailers: {other:?}")),
    }
}
