//! The backend that speaks HTTP/2 by prior knowledge and fails as the request's path says.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;

use palantir::http::h2::hpack::{Decoder, FieldList, ListLimits};

use super::cases::{Ending, Failure, Request, Version, When, signal_frame};
use super::ends::end_with_reset;
use super::stage::{Purpose, Stage, token};
use crate::support::h2::frame::{
    self, Frame, PREFACE, code, data, flag, headers, kind, section, setting, settings,
};

/// The window of every stream.
const WINDOW: u32 = 1 << 20;

/// Serves one connection to its end.
pub fn serve(stage: &Stage, stream: TcpStream) {
    serve_streams(stage, stream, u32::MAX);
}

/// Serves one connection, and refuses whatever stream is opened beside another one.
pub fn serve_one_by_one(stage: &Stage, stream: TcpStream) {
    serve_streams(stage, stream, 1);
}

fn serve_streams(stage: &Stage, stream: TcpStream, most: u32) {
    let limits = ListLimits {
        bytes: 1 << 16,
        fields: 100,
    };
    let mut link = Link {
        stage,
        stream,
        buffer: Vec::new(),
        decoder: Decoder::new(limits),
        connection: stage.next_connection(),
        cases: Vec::new(),
        open: HashMap::new(),
        most,
    };
    link.run();
    let Link {
        stream,
        connection,
        cases,
        ..
    } = link;
    drop(stream);
    stage.note_ended(connection, &cases);
}

struct Link<'a> {
    stage: &'a Stage,
    stream: TcpStream,
    buffer: Vec<u8>,
    decoder: Decoder,
    connection: usize,
    /// The cases of which it has served something.
    cases: Vec<usize>,
    open: HashMap<u32, Exchange>,
    /// Streams that may be open at once.
    most: u32,
}

struct Exchange {
    case: usize,
    purpose: Purpose,
    /// The request's number among the attempts, and whether it is to fail.
    attempt: usize,
    fails: bool,
    has_failed: bool,
    body: Vec<u8>,
}

impl Link<'_> {
    /// `None` when the connection is to end, or has.
    fn run(&mut self) -> Option<()> {
        while self.buffer.len() < PREFACE.len() {
            self.fill()?;
        }
        let preface: Vec<u8> = self.buffer.drain(..PREFACE.len()).collect();
        if preface != PREFACE {
            return None;
        }
        let begin = [
            settings(&[
                (setting::INITIAL_WINDOW_SIZE, WINDOW),
                (setting::MAX_CONCURRENT_STREAMS, self.most),
            ]),
            frame::window_update(0, WINDOW << 8),
        ];
        self.send(&begin.concat())?;
        loop {
            let Some(frame) = Frame::take(&mut self.buffer) else {
                self.fill()?;
                continue;
            };
            self.take(frame)?;
        }
    }

    fn take(&mut self, frame: Frame) -> Option<()> {
        match frame.kind {
            kind::SETTINGS if !frame.has(flag::ACK) => {
                self.send(&frame::frame(kind::SETTINGS, flag::ACK, 0, ""))
            }
            kind::PING if !frame.has(flag::ACK) => {
                self.send(&frame::frame(kind::PING, flag::ACK, 0, frame.payload))
            }
            kind::HEADERS => self.begin(&frame),
            kind::DATA => {
                self.send(&match frame.payload.len() {
                    0 => Vec::new(),
                    length => frame::window_update(0, length as u32),
                })?;
                // Frames that were on their way when the stream was reset are for nobody.
                let Some(exchange) = self.open.get_mut(&frame.stream) else {
                    return Some(());
                };
                exchange.body.extend_from_slice(&frame.payload);
                self.advance(frame.stream, frame.has(flag::END_STREAM))
            }
            kind::RST_STREAM => {
                self.open.remove(&frame.stream);
                Some(())
            }
            _ => Some(()),
        }
    }

    fn begin(&mut self, frame: &Frame) -> Option<()> {
        assert!(frame.has(flag::END_HEADERS), "a small head is one frame");
        let mut list = FieldList::default();
        self.decoder.decode(&frame.payload, &mut list).ok()?;
        if self.open.len() >= self.most as usize {
            return self.send(&frame::reset(frame.stream, code::REFUSED_STREAM));
        }
        let path = list.iter().find(|(name, _)| *name == b":path");
        let path = String::from_utf8_lossy(path?.1).into_owned();
        let Some((case, purpose)) = self.stage.find(&path) else {
            self.stage.smuggled.fetch_add(1, SeqCst);
            return None;
        };
        if !self.cases.contains(&case) {
            self.cases.push(case);
        }
        let (attempt, fails) = match purpose {
            Purpose::Go => self.stage.begin(case, self.connection),
            _ => (0, false),
        };
        let exchange = Exchange {
            case,
            purpose,
            attempt,
            fails,
            has_failed: false,
            body: Vec::new(),
        };
        self.open.insert(frame.stream, exchange);
        self.advance(frame.stream, frame.has(flag::END_STREAM))
    }

    /// Does what is due now that more of a request is there.
    fn advance(&mut self, stream: u32, has_ended: bool) -> Option<()> {
        let exchange = self.open.get_mut(&stream)?;
        let (case, purpose) = (exchange.case, exchange.purpose);
        if has_ended && purpose == Purpose::Go {
            self.stage.complete(case, exchange.attempt, &exchange.body);
        }
        let is_due =
            exchange.fails && !exchange.has_failed && is_due(self.stage, exchange, has_ended);
        if is_due {
            exchange.has_failed = true;
            self.fail(stream, case)?;
        } else if has_ended && !exchange.fails {
            self.answer_well(stream, case, purpose)?;
        }
        if has_ended {
            self.open.remove(&stream);
        }
        Some(())
    }

    fn fail(&mut self, stream: u32, case: usize) -> Option<()> {
        let Failure::Fails {
            answer,
            bytes,
            signal,
            ending,
            ..
        } = self.stage.cases[case].failure
        else {
            return Some(());
        };
        let is_head = self.stage.cases[case].request == Request::Head;
        let (all, _) = answer.bytes(Version::H2, is_head, stream);
        let sent = &all[..bytes.min(all.len())];
        self.send(&[sent, &signal_frame(signal, stream)].concat())?;
        match ending {
            Ending::Stay => Some(()),
            Ending::Close => None,
            Ending::Reset => {
                end_with_reset(&self.stream);
                None
            }
        }
    }

    fn answer_well(&mut self, stream: u32, case: usize, purpose: Purpose) -> Option<()> {
        if purpose == Purpose::Next {
            let connection = self.connection;
            self.stage
                .change(case, |ledger| ledger.next.push(connection));
        }
        let token = token(case, purpose);
        let length = token.len().to_string();
        let fields = [(":status", "200"), ("content-length", &length)];
        let is_head = purpose == Purpose::Go && self.stage.cases[case].request == Request::Head;
        let end = if is_head { flag::END_STREAM } else { 0 };
        let mut bytes = headers(flag::END_HEADERS | end, stream, section(&fields));
        if !is_head {
            bytes.extend(data(flag::END_STREAM, stream, token));
        }
        self.send(&bytes)?;
        let dies = purpose == Purpose::Warm && self.stage.cases[case].failure == Failure::DiesIdle;
        (!dies).then_some(())
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    fn fill(&mut self) -> Option<()> {
        let mut block = [0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                Some(())
            }
        }
    }
}

fn is_due(stage: &Stage, exchange: &Exchange, has_ended: bool) -> bool {
    let Failure::Fails { when, .. } = stage.cases[exchange.case].failure else {
        return false;
    };
    match when {
        When::Head => true,
        When::Bytes(count) => has_ended || exchange.body.len() >= count,
        When::End => has_ended,
    }
}
