//! A backend that does what a test tells it, down to the byte, and remembers what it was sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::head::{Framing, Head};
use super::place::{free_addr, listen};

/// A request as the origin received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: Head,
    /// Byte for byte, chunks included.
    pub raw_body: Vec<u8>,
    /// Without the chunks around it.
    pub body: Vec<u8>,
    /// The trailer section of a chunked body.
    pub trailers: String,
}

/// The connections and requests that the origin has seen so far.
#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Received>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    stopped: AtomicBool,
    /// Bytes that the closures have sent, for tests of back-pressure.
    sent: AtomicU64,
}

/// A listening backend; each accepted connection runs the test's closure on a thread of its own.
pub struct Origin {
    pub addr: SocketAddr,
    record: Arc<Record>,
}

/// One accepted connection, in the closure's hands. It is closed when the closure returns.
pub struct Link<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    record: Arc<Record>,
}

impl Origin {
    /// Starts listening on an address of its own.
    pub fn start(serve: impl Fn(&mut Link) + Send + Sync + 'static) -> Origin {
        Origin::start_at(free_addr(), serve)
    }

    /// Starts listening on `addr`.
    #[track_caller]
    pub fn start_at(addr: SocketAddr, serve: impl Fn(&mut Link) + Send + Sync + 'static) -> Origin {
        let listener = listen(addr);
        lengthen_queue(&listener);
        let record = Arc::new(Record::default());
        let origin = Origin {
            addr,
            record: record.clone(),
        };
        thread::spawn(move || accept(listener, &record, Arc::new(serve)));
        origin
    }

    /// Answers every request with the same bytes on connections that stay open.
    pub fn answering(answer: impl AsRef<[u8]>) -> Origin {
        let answer = answer.as_ref().to_vec();
        Origin::start(
            move |link| {
                while link.request().is_some() && link.try_send(&answer) {}
            },
        )
    }

    /// An origin that holds each answer back until it is let go.
    pub fn waiting() -> (Origin, mpsc::Sender<()>) {
        let (let_go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let origin = Origin::start(move |link| {
            while link.request().is_some() {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
                link.send(ok("slow"));
            }
        });
        (origin, let_go)
    }

    /// Answers every request with 200 and this body.
    pub fn saying(body: &str) -> Origin {
        Origin::answering(ok(body))
    }

    /// The requests received so far.
    pub fn requests(&self) -> Vec<Received> {
        self.record.requests.lock().unwrap().clone()
    }

    /// The only request received so far.
    #[track_caller]
    pub fn request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests: {requests:#?}");
        requests.pop().unwrap()
    }

    /// How many requests were received so far.
    pub fn count(&self) -> usize {
        self.record.requests.lock().unwrap().len()
    }

    /// Waits until this many requests were received.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        self.wait(&format!("{count} requests"), || self.count() >= count);
    }

    /// Waits until this many connections have ended.
    #[track_caller]
    pub fn wait_for_ended(&self, count: usize) {
        self.wait(&format!("{count} ended connections"), || {
            self.ended() >= count
        });
    }

    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        super::eventually(&format!("the origin saw {what}"), holds);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.record.accepted.load(SeqCst)
    }

    /// Connections whose closure has returned.
    pub fn ended(&self) -> usize {
        self.record.ended.load(SeqCst)
    }

    /// Bytes that the closures have handed to the kernel.
    pub fn sent(&self) -> u64 {
        self.record.sent.load(SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.record.stopped.store(true, SeqCst);
        // Wakes the accepting thread, which then drops its listener.
        let _ = TcpStream::connect(self.addr).map(|mut stream| stream.read(&mut [0]));
    }
}

/// Lets as many connections wait to be accepted as the kernel allows: beyond the standard library's 128, which come at
/// once from a busy test, each would only be tried again after a second.
fn lengthen_queue(listener: &TcpListener) {
    // SAFETY: plain system call on a live descriptor; a second listen() only changes the queue's length.
    let done = unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    assert_eq!(done, 0, "listen");
}

fn accept<F>(listener: TcpListener, record: &Arc<Record>, serve: Arc<F>)
where
    F: Fn(&mut Link) + Send + Sync + 'static,
{
    for stream in listener.incoming() {
        if record.stopped.load(SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
        stream.set_write_timeout(Some(4 * PATIENCE)).unwrap();
        record.accepted.fetch_add(1, SeqCst);
        let mut link = Link {
            stream,
            buffer: Vec::new(),
            record: record.clone(),
        };
        let serve = serve.clone();
        thread::spawn(move || {
            serve(&mut link);
            let record = link.record.clone();
            drop(link);
            record.ended.fetch_add(1, SeqCst);
        });
    }
}

impl<S: Read + Write> Link<S> {
    /// A link over the same connection, spoken to through something on top of it.
    pub fn layered<T>(&self, stream: T) -> Link<T> {
        Link {
            stream,
            buffer: Vec::new(),
            record: self.record.clone(),
        }
    }

    /// Reads one request with its body and records it; `None` when the connection ends before it is complete.
    pub fn request(&mut self) -> Option<Received> {
        let head = self.head()?;
        self.body_of(head)
    }

    /// Reads a head without its body and records nothing.
    pub fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(head) = Head::take(&mut self.buffer) {
                return Some(head);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads the body behind a head and records the request.
    pub fn body_of(&mut self, head: Head) -> Option<Received> {
        let mut received = Received {
            head,
            raw_body: Vec::new(),
            body: Vec::new(),
            trailers: String::new(),
        };
        match received.head.framing() {
            Framing::Absent => {}
            Framing::Length(length) => {
                received.raw_body = self.bytes(length as usize)?;
                received.body = received.raw_body.clone();
            }
            Framing::Chunked => self.chunks(&mut received)?,
        }
        self.record(&received);
        Some(received)
    }

    /// Adds a request to what the origin has seen.
    pub fn record(&self, received: &Received) {
        let mut requests = self.record.requests.lock().unwrap();
        requests.push(received.clone());
    }

    fn chunks(&mut self, received: &mut Received) -> Option<()> {
        loop {
            let line = self.line()?;
            received.raw_body.extend_from_slice(&line);
            let text = std::str::from_utf8(&line).expect("chunk size").trim_end();
            let size = usize::from_str_radix(text, 16);
            let size = size.unwrap_or_else(|_| panic!("not a plain chunk size: {text:?}"));
            if size == 0 {
                break;
            }
            let chunk = self.bytes(size + 2)?;
            assert!(chunk.ends_with(b"\r\n"), "a chunk ends with CRLF");
            received.raw_body.extend_from_slice(&chunk);
            received.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let line = self.line()?;
            received.raw_body.extend_from_slice(&line);
            if line == b"\r\n" {
                return Some(());
            }
            received.trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// A line with its CRLF.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                return Some(self.buffer.drain(..end + 2).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Exactly this many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Waits for bytes and returns all that have come; none if the proxy has ended the connection.
    pub fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads whatever comes until the proxy ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    fn fill(&mut self) -> bool {
        let mut block = [0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                true
            }
        }
    }

    /// Sends bytes; false if the proxy has left.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    self.record.sent.fetch_add(count as u64, SeqCst);
                    bytes = &bytes[count..];
                }
            }
        }
        true
    }

    /// Sends bytes that the proxy may no longer want.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes);
    }
}

impl Link {
    /// Waits until all that was sent has come to the proxy's kernel, and so has the end, if that was sent. On a busy
    /// machine this may take a while.
    pub fn wait_until_come(&self) {
        super::eventually("what was sent has come", || {
            let has_failed = self.stream.take_error().is_ok_and(|error| error.is_some());
            has_failed || unacknowledged(&self.stream) == 0
        });
    }

    /// Ends both directions, and returns when the proxy's kernel knows of it. (A process that is just being started
    /// elsewhere may hold a socket open that is merely dropped.)
    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.wait_until_come();
    }

    /// Ends the sending side: what was sent arrives, then the end.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Lets the connection end with a reset instead of an orderly close.
    pub fn reset_on_close(&mut self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: sets an option on a live descriptor from a live struct of the right size.
        let done = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as u32,
            )
        };
        assert_eq!(done, 0, "SO_LINGER");
    }

    /// Whether another request begins within this time; false too if the connection ends.
    pub fn request_within(&mut self, patience: Duration) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let came = self.fill();
        self.stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
        came
    }
}

/// An answer with a length, whose connection stays open.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers every request with its body, which is text.
pub fn echoing<S: Read + Write>(link: &mut Link<S>) {
    while let Some(request) = link.request() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if !link.try_send(ok(&body)) {
            return;
        }
    }
}

/// The bytes that the other side has not received, the end of the connection counted as one; 0 if there is no
/// connection.
pub fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: asks about a live descriptor, and writes to the one live argument.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match done {
        0 => bytes,
        _ => 0,
    }
}
