//! A client that sends exact bytes and takes answers apart strictly.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::head::{Framing, Head};

/// One connection to the proxy, in cleartext unless `S` says otherwise.
pub struct Client<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
}

/// A final answer with the interim ones before it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub interim: Vec<Head>,
    pub head: Head,
    /// Without the chunks around it.
    pub body: Vec<u8>,
    /// The trailer section of a chunked body, `""` if it is empty.
    pub trailers: String,
    /// Whether it ended as its framing says.
    pub complete: bool,
    /// Sizes of the chunks, with what followed each size on its line.
    pub chunk_lines: Vec<String>,
}

impl Answer {
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The reason word that an own answer of the proxy carries.
    #[track_caller]
    pub fn reason(&self) -> String {
        let status = self.field("proxy-status").expect("Proxy-Status");
        let error = status
            .split(';')
            .find_map(|part| part.trim().strip_prefix("error="));
        error
            .unwrap_or_else(|| panic!("no error in {status:?}"))
            .to_owned()
    }
}

impl Client {
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        Client::try_connect(addr).expect("connect")
    }

    /// Connects to a proxy that may be gone.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client::over(stream))
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Leaves with a reset. If the client merely closed, it could also be a client that has ended its sending side and
    /// waits for its answer.
    pub fn leave(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over a connection that is there.
    pub fn over(stream: S) -> Client<S> {
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    /// Sends what the proxy may already refuse to read; whether it could be sent does not matter.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.send(request);
        self.read_answer(head_only)
    }

    /// Reads the answer to anything but HEAD.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.read_answer(false)
    }

    /// Reads one head, interim or final.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        loop {
            if let Some(head) = Head::take(&mut self.buffer) {
                return head;
            }
            if !self.fill() {
                let text = String::from_utf8_lossy(&self.buffer);
                panic!("the connection ended where a head was due, after {text:?}");
            }
        }
    }

    #[track_caller]
    pub fn read_answer(&mut self, head_only: bool) -> Answer {
        let mut answer = self.begin_answer();
        let status = answer.status();
        if head_only || status == 204 || status == 304 || status == 101 {
            return answer;
        }
        match answer.head.framing() {
            Framing::Length(length) => self.read_length(&mut answer, length),
            Framing::Chunked => self.read_chunks(&mut answer),
            Framing::Absent => answer.body = self.rest(),
        }
        answer
    }

    /// Reads up to the end of a final head; the body stays to be read.
    #[track_caller]
    pub fn begin_answer(&mut self) -> Answer {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head();
            match head.status() {
                100 | 102..=199 => interim.push(head),
                _ => break head,
            }
        };
        Answer {
            interim,
            head,
            body: Vec::new(),
            trailers: String::new(),
            complete: true,
            chunk_lines: Vec::new(),
        }
    }

    fn read_length(&mut self, answer: &mut Answer, length: u64) {
        while (self.buffer.len() as u64) < length && self.fill() {}
        let length = usize::min(length as usize, self.buffer.len());
        answer.body = self.buffer.drain(..length).collect();
        answer.complete = answer.head.framing() == Framing::Length(length as u64);
    }

    fn read_chunks(&mut self, answer: &mut Answer) {
        answer.complete = false;
        loop {
            let Some(line) = self.line() else { return };
            let size = u64::from_str_radix(&line, 16);
            let size = size.unwrap_or_else(|_| panic!("not a plain chunk size: {line:?}"));
            answer.chunk_lines.push(line);
            if size == 0 {
                break;
            }
            let size = size as usize;
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    answer.body.append(&mut self.buffer);
                    return;
                }
            }
            answer.body.extend(self.buffer.drain(..size));
            assert_eq!(self.line().as_deref(), Some(""), "a chunk ends with CRLF");
        }
        loop {
            match self.line() {
                None => return,
                Some(line) if line.is_empty() => break,
                Some(line) => answer.trailers.push_str(&format!("{line}\r\n")),
            }
        }
        answer.complete = true;
    }

    /// A line without its CRLF; `None` if the connection ends before.
    #[track_caller]
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Exactly this many bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "the connection ended before {count} bytes");
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything until the connection ends.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Fails unless the connection ends now, without another byte.
    #[track_caller]
    pub fn ends(&mut self) {
        let rest = self.rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty(), "instead of the end came {text:?}");
    }

    /// Reads some bytes; false when the connection has ended, orderly or by reset.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut block = [0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let text = String::from_utf8_lossy(&self.buffer);
                let text = &text[..text.len().min(2000)];
                panic!("nothing came within {PATIENCE:?}; received so far: {text:?}");
            }
            Err(_) => false,
        }
    }
}
