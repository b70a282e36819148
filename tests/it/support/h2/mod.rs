//! An HTTP/2 client that knows every frame: polite where a test wants an answer, and free to send
//! whatever else. It takes the proxy's frames apart strictly.

pub mod answer;
pub mod answering;
pub mod backend;
pub mod frame;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use palantir::http::h2::hpack::{Decoder, FieldList, ListLimits};

use super::{PATIENCE, Proxy};
pub use answer::Answer;
use frame::{Frame, PREFACE, code, flag, kind, number, setting};

/// The window that holds before any SETTINGS, and a connection's own.
const FIRST_WINDOW: i64 = 65_535;

/// One connection to the proxy, in cleartext unless `S` says otherwise.
pub struct H2<S = TcpStream> {
    pub stream: S,
    inbox: Vec<u8>,
    decoder: Decoder,
    /// A field section that is not complete: its stream, whether it ends the stream, and its bytes.
    section: Option<(u32, bool, Vec<u8>)>,
    /// The answers on all streams, as far as they came.
    pub answers: BTreeMap<u32, Answer>,
    /// The streams in the order in which they came to their end.
    pub ended: Vec<u32>,
    /// The settings that the proxy has announced.
    pub settings: BTreeMap<u16, u32>,
    /// How many of our SETTINGS it has acknowledged.
    pub acknowledged: usize,
    /// Payloads of the PINGs that came back.
    pub pongs: Vec<Vec<u8>>,
    /// Every GOAWAY: the last stream and the code.
    pub goaways: Vec<(u32, u32)>,
    /// Whether DATA is answered with WINDOW_UPDATEs; without, what the proxy may send runs out.
    pub gives_credit: bool,
    next: u32,
    /// Bytes that we may send, by stream; 0 is the connection.
    may_send: BTreeMap<u32, i64>,
    /// Bytes that the proxy may send, in the same way.
    may_receive: BTreeMap<u32, i64>,
    /// The window that our streams begin with.
    own_window: i64,
    frames: usize,
}

impl Proxy {
    /// A new HTTP/2 connection, by prior knowledge.
    #[track_caller]
    pub fn h2(&self) -> H2 {
        H2::start(self.addr, &[])
    }
}

impl H2 {
    /// Connects and says nothing.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> H2 {
        let stream = TcpStream::connect(addr).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        H2::over(stream)
    }

    /// Connects, announces `settings`, and waits until both sides have acknowledged each other's.
    #[track_caller]
    pub fn start(addr: SocketAddr, settings: &[(u16, u32)]) -> H2 {
        let mut client = H2::connect(addr);
        client.greet(settings);
        client
    }
}

impl<S: Read + Write> H2<S> {
    /// Speaks over a connection that is there, and says nothing.
    pub fn over(stream: S) -> H2<S> {
        let limits = ListLimits {
            bytes: 1 << 20,
            fields: 1000,
        };
        H2 {
            stream,
            inbox: Vec::new(),
            decoder: Decoder::new(limits),
            section: None,
            answers: BTreeMap::new(),
            ended: Vec::new(),
            settings: BTreeMap::new(),
            acknowledged: 0,
            pongs: Vec::new(),
            goaways: Vec::new(),
            gives_credit: true,
            next: 1,
            may_send: BTreeMap::from([(0, FIRST_WINDOW)]),
            may_receive: BTreeMap::from([(0, FIRST_WINDOW)]),
            own_window: FIRST_WINDOW,
            frames: 0,
        }
    }

    /// Begins: announces `settings`, and waits until both sides have acknowledged each other's.
    #[track_caller]
    pub fn greet(&mut self, settings: &[(u16, u32)]) {
        self.send(PREFACE);
        self.announce(settings);
        self.pump_until("SETTINGS are acknowledged", |client| {
            client.acknowledged == 1 && !client.settings.is_empty()
        });
    }

    /// Sends exact bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    /// Sends what the proxy may already refuse to read; whether it could be sent does not matter.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends SETTINGS.
    #[track_caller]
    pub fn announce(&mut self, settings: &[(u16, u32)]) {
        for &(id, value) in settings {
            if id == setting::INITIAL_WINDOW_SIZE {
                let grown = i64::from(value) - self.own_window;
                let streams = self.may_receive.iter_mut().filter(|(id, _)| **id != 0);
                streams.for_each(|(_, window)| *window += grown);
                self.own_window = i64::from(value);
            }
        }
        self.send(frame::settings(settings));
    }

    /// Allows the proxy more bytes, on a stream or (0) on the connection.
    #[track_caller]
    pub fn credit(&mut self, stream: u32, bytes: u32) {
        *self.may_receive.entry(stream).or_insert(self.own_window) += i64::from(bytes);
        self.send(frame::window_update(stream, bytes));
    }

    /// The number of the next stream, which is then taken.
    pub fn next_stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Begins a request, of which a body follows unless this is its `end`; gives its stream.
    #[track_caller]
    pub fn begin(&mut self, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.next_stream();
        let mut section = &frame::section(fields)[..];
        let end_stream = if end { flag::END_STREAM } else { 0 };
        let mut kind_and_flags = (kind::HEADERS, end_stream);
        while section.len() > 16_384 {
            let (piece, rest) = section.split_at(16_384);
            self.send(frame::frame(
                kind_and_flags.0,
                kind_and_flags.1,
                stream,
                piece,
            ));
            (section, kind_and_flags) = (rest, (kind::CONTINUATION, 0));
        }
        let (kind, flags) = kind_and_flags;
        self.send(frame::frame(
            kind,
            flags | flag::END_HEADERS,
            stream,
            section,
        ));
        stream
    }

    /// Sends a piece of a body, as far as the windows allow, waiting for them as long as it takes.
    #[track_caller]
    pub fn body(&mut self, stream: u32, mut bytes: &[u8], end: bool) {
        while !bytes.is_empty() {
            self.pump_until("the window opens", |client| client.room(stream) > 0);
            let most = bytes.len().min(16_384).min(self.room(stream));
            self.use_window(stream, most);
            let last = end && most == bytes.len();
            let end_stream = if last { flag::END_STREAM } else { 0 };
            self.send(frame::data(end_stream, stream, &bytes[..most]));
            bytes = &bytes[most..];
            if last {
                return;
            }
        }
        if end {
            self.send(frame::data(flag::END_STREAM, stream, b""));
        }
    }

    /// Sends trailers, with which the request ends.
    #[track_caller]
    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(frame::headers(flag::WHOLE, stream, frame::section(fields)));
    }

    /// Bytes that may be sent now on a stream.
    pub fn room(&mut self, stream: u32) -> usize {
        let first = self.settings.get(&setting::INITIAL_WINDOW_SIZE);
        let first = first.map_or(FIRST_WINDOW, |window| i64::from(*window));
        let own = *self.may_send.entry(stream).or_insert(first);
        own.min(self.may_send[&0]).max(0) as usize
    }

    /// Notes that bytes were sent.
    pub fn use_window(&mut self, stream: u32, bytes: usize) {
        for id in [0, stream] {
            *self.may_send.get_mut(&id).unwrap() -= bytes as i64;
        }
    }

    /// Sends a request without a body and waits for its answer.
    #[track_caller]
    pub fn ask(&mut self, fields: &[(&str, &str)]) -> Answer {
        let stream = self.begin(fields, true);
        self.answer(stream)
    }

    /// Sends a request with a body and waits for its answer.
    #[track_caller]
    pub fn ask_with(&mut self, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let stream = self.begin(fields, false);
        self.body(stream, body, true);
        self.answer(stream)
    }

    /// Waits until a stream has come to its end.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Answer {
        self.pump_until(&format!("stream {stream} ends"), |client| {
            client.answers.get(&stream).is_some_and(Answer::has_ended)
        });
        self.answers[&stream].clone()
    }

    /// Waits until the final head of a stream is there.
    #[track_caller]
    pub fn head(&mut self, stream: u32) -> Answer {
        self.pump_until(&format!("stream {stream} has a head"), |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| !answer.fields.is_empty() || answer.has_ended())
        });
        self.answers[&stream].clone()
    }

    /// Reads frames until this holds. Fails if the connection ends before.
    #[track_caller]
    pub fn pump_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        while !holds(self) {
            assert!(
                self.pump(),
                "the connection ended before {what}: GOAWAYs {:?}, {:#?}",
                self.goaways,
                self.answers
            );
        }
    }

    /// Fails unless the proxy still answers: a PING comes back.
    #[track_caller]
    pub fn is_alive(&mut self) {
        let pongs = self.pongs.len();
        self.send(frame::ping(b"alive?!?"));
        self.pump_until("a PING comes back", |client| client.pongs.len() > pongs);
        assert_eq!(self.pongs.last().unwrap(), b"alive?!?");
    }

    /// Reads to the end of the connection and gives the code of the last GOAWAY, `None` without one.
    #[track_caller]
    pub fn end(&mut self) -> Option<u32> {
        while self.pump() {}
        self.goaways.last().map(|(_, code)| *code)
    }

    /// Reads one frame and does what it asks for; false when the connection has ended.
    #[track_caller]
    pub fn pump(&mut self) -> bool {
        let Some(frame) = self.frame() else {
            return false;
        };
        self.frames += 1;
        let is_first = self.frames == 1;
        let is_settings = frame.kind == kind::SETTINGS && !frame.has(flag::ACK);
        assert!(
            !is_first || is_settings,
            "the first frame is SETTINGS: {frame:?}"
        );
        assert!(frame.payload.len() <= 16_384, "a frame larger than allowed");
        if let Some((stream, ..)) = self.section {
            let goes_on = frame.kind == kind::CONTINUATION && frame.stream == stream;
            assert!(goes_on, "a section goes on without a break: {frame:?}");
        }
        match frame.kind {
            kind::DATA => self.data(&frame),
            kind::HEADERS => {
                let end = frame.has(flag::END_STREAM);
                assert!(!frame.has(flag::PADDED | flag::PRIORITY), "{frame:?}");
                self.continue_section(frame.stream, end, &frame);
            }
            kind::CONTINUATION => {
                let (stream, end, _) = self.section.as_ref().expect("a section to continue");
                self.continue_section(*stream, *end, &frame);
            }
            kind::RST_STREAM => {
                let answer = self.answers.entry(frame.stream).or_default();
                answer.reset = Some(number(&frame.payload));
                self.ended.push(frame.stream);
            }
            kind::SETTINGS if frame.has(flag::ACK) => self.acknowledged += 1,
            kind::SETTINGS => self.take_settings(&frame.payload),
            kind::PING if frame.has(flag::ACK) => self.pongs.push(frame.payload),
            kind::PING => {
                self.try_send(frame::frame(kind::PING, flag::ACK, 0, frame.payload));
            }
            kind::GOAWAY => {
                let last = number(&frame.payload) & 0x7fff_ffff;
                self.goaways.push((last, number(&frame.payload[4..])));
            }
            kind::WINDOW_UPDATE => {
                self.room(frame.stream);
                let bytes = i64::from(number(&frame.payload));
                assert!(bytes > 0, "an update of nothing");
                *self.may_send.get_mut(&frame.stream).unwrap() += bytes;
            }
            _ => panic!("an unexpected frame: {frame:?}"),
        }
        true
    }

    fn take_settings(&mut self, payload: &[u8]) {
        let (settings, rest) = payload.as_chunks::<6>();
        assert!(rest.is_empty(), "settings of six bytes");
        let earlier = self.settings.get(&setting::INITIAL_WINDOW_SIZE).copied();
        for setting in settings {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            self.settings.insert(id, number(&setting[2..]));
        }
        let earlier = earlier.map_or(FIRST_WINDOW, i64::from);
        let window = self.settings.get(&setting::INITIAL_WINDOW_SIZE);
        let grown = window.map_or(earlier, |window| i64::from(*window)) - earlier;
        let streams = self.may_send.iter_mut().filter(|(id, _)| **id != 0);
        streams.for_each(|(_, window)| *window += grown);
        self.try_send(frame::frame(kind::SETTINGS, flag::ACK, 0, b""));
    }

    #[track_caller]
    fn data(&mut self, frame: &Frame) {
        let stream = frame.stream;
        assert!(!frame.has(flag::PADDED), "padding wastes the window");
        let length = frame.payload.len() as i64;
        for id in [0, stream] {
            let window = self.may_receive.entry(id).or_insert(self.own_window);
            *window -= length;
            assert!(*window >= 0, "window {id} was exceeded by {window}");
        }
        let answer = self.answers.entry(stream).or_default();
        answer.take_data(&frame.payload, frame.has(flag::END_STREAM));
        if frame.has(flag::END_STREAM) {
            self.ended.push(stream);
        }
        if self.gives_credit && length > 0 {
            let ids: &[u32] = if frame.has(flag::END_STREAM) {
                &[0]
            } else {
                &[0, stream]
            };
            for id in ids {
                *self.may_receive.get_mut(id).unwrap() += length;
                self.try_send(frame::window_update(*id, length as u32));
            }
        }
    }

    #[track_caller]
    fn continue_section(&mut self, stream: u32, end: bool, frame: &Frame) {
        let (.., mut bytes) = self.section.take().unwrap_or_default();
        bytes.extend_from_slice(&frame.payload);
        if !frame.has(flag::END_HEADERS) {
            self.section = Some((stream, end, bytes));
            return;
        }
        let mut list = FieldList::default();
        self.decoder
            .decode(&bytes, &mut list)
            .expect("a field section");
        let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let fields = list.iter().map(|(name, value)| (text(name), text(value)));
        let answer = self.answers.entry(stream).or_default();
        answer.take_fields(fields.collect(), end);
        if end {
            self.ended.push(stream);
        }
    }

    /// The next frame; `None` when the connection has ended, orderly or by reset.
    #[track_caller]
    fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                return Some(frame);
            }
            let mut block = [0; 64 << 10];
            match self.stream.read(&mut block) {
                Ok(0) => return None,
                Ok(count) => self.inbox.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!(
                        "nothing came within {PATIENCE:?}; GOAWAYs {:?}, {:#?}",
                        self.goaways, self.answers
                    );
                }
                Err(_) => return None,
            }
        }
    }
}

/// The word for an error code.
pub fn word(code: Option<u32>) -> &'static str {
    match code {
        None => "none",
        Some(code::NO_ERROR) => "NO_ERROR",
        Some(code::PROTOCOL_ERROR) => "PROTOCOL_ERROR",
        Some(code::INTERNAL_ERROR) => "INTERNAL_ERROR",
        Some(code::FLOW_CONTROL_ERROR) => "FLOW_CONTROL_ERROR",
        Some(code::STREAM_CLOSED) => "STREAM_CLOSED",
        Some(code::FRAME_SIZE_ERROR) => "FRAME_SIZE_ERROR",
        Some(code::REFUSED_STREAM) => "REFUSED_STREAM",
        Some(code::CANCEL) => "CANCEL",
        Some(code::COMPRESSION_ERROR) => "COMPRESSION_ERROR",
        Some(code::ENHANCE_YOUR_CALM) => "ENHANCE_YOUR_CALM",
        Some(_) => "another",
    }
}
