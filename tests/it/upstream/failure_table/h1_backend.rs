//! The backend that speaks HTTP/1.1 and fails as the request's path says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;

use super::cases::{Ending, Failure, Request, Script, Version, When};
use super::ends::{end_and_be_heard, end_with_reset};
use super::stage::{Purpose, Stage, token};
use crate::support::head::{Framing, Head};

/// Serves one connection to its end.
pub fn serve(stage: &Stage, stream: TcpStream) {
    let mut link = Link {
        stage,
        stream,
        buffer: Vec::new(),
        connection: stage.next_connection(),
        cases: Vec::new(),
    };
    while link.serve_request() == Some(Ending::Stay) {}
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
    connection: usize,
    /// The cases of which it has served something.
    cases: Vec<usize>,
}

impl Link<'_> {
    /// Serves one request. `None`: the connection has ended.
    fn serve_request(&mut self) -> Option<Ending> {
        let head = self.head()?;
        let target = head.first_line().split(' ').nth(1)?;
        let Some((case, purpose)) = self.stage.find(target) else {
            self.stage.smuggled.fetch_add(1, SeqCst);
            return None;
        };
        if !self.cases.contains(&case) {
            self.cases.push(case);
        }
        if purpose == Purpose::Go {
            return self.serve_go(case, &head);
        }
        self.body(&head)?;
        if purpose == Purpose::Next {
            let connection = self.connection;
            self.stage
                .change(case, |ledger| ledger.next.push(connection));
        }
        self.answer_well(case, purpose)?;
        let dies = purpose == Purpose::Warm && self.stage.cases[case].failure == Failure::DiesIdle;
        if dies {
            end_and_be_heard(&self.stream);
            return None;
        }
        Some(Ending::Stay)
    }

    fn serve_go(&mut self, case: usize, head: &Head) -> Option<Ending> {
        let (attempt, fails) = self.stage.begin(case, self.connection);
        let Failure::Fails {
            when,
            answer,
            bytes,
            ending,
            ..
        } = self.stage.cases[case].failure
        else {
            return self.serve_well(case, attempt, head);
        };
        if !fails {
            return self.serve_well(case, attempt, head);
        }
        let most = match when {
            When::Head => 0,
            When::Bytes(count) => count,
            When::End => usize::MAX,
        };
        let has_ended = self.body_up_to(head, most, case, attempt)?;
        let goes_on = self.fail(case, answer, bytes)?;
        match ending {
            Ending::Close => None,
            Ending::Reset => {
                end_with_reset(&self.stream);
                None
            }
            Ending::Stay if goes_on => {
                // The rest of the body behind an answer that came early.
                if !has_ended {
                    self.body_up_to(head, usize::MAX, case, attempt)?;
                }
                Some(Ending::Stay)
            }
            Ending::Stay => self.watch_the_rest(case),
        }
    }

    /// Sends what is to be sent; true if that is a whole answer behind which the connection may go on.
    fn fail(&mut self, case: usize, answer: &Script, bytes: usize) -> Option<bool> {
        let is_head = self.stage.cases[case].request == Request::Head;
        let (all, _) = answer.bytes(Version::H1, is_head, 0);
        let sent = bytes.min(all.len());
        self.send(&all[..sent])?;
        let is_sound = answer.is_sound(is_head);
        Some(is_sound && sent == all.len())
    }

    /// A connection on which an answer went wrong must not carry another request.
    fn watch_the_rest(&mut self, case: usize) -> Option<Ending> {
        while self.fill() {}
        let rest = String::from_utf8_lossy(&self.buffer);
        if rest.contains("/next HTTP/1.1") {
            let wrong = "another request on a connection whose answer went wrong".to_owned();
            self.stage.change(case, |ledger| ledger.wrongs.push(wrong));
        }
        None
    }

    fn serve_well(&mut self, case: usize, attempt: usize, head: &Head) -> Option<Ending> {
        let body = self.body(head)?;
        self.stage.complete(case, attempt, &body);
        self.answer_well(case, Purpose::Go)?;
        Some(Ending::Stay)
    }

    fn answer_well(&mut self, case: usize, purpose: Purpose) -> Option<()> {
        let token = token(case, purpose);
        let is_head = purpose == Purpose::Go && self.stage.cases[case].request == Request::Head;
        let body = if is_head { "" } else { &token };
        let length = token.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        self.send(answer.as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(head) = Head::take(&mut self.buffer) {
                return Some(head);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads the body, if it is not longer than this; else waits for so many bytes of it and leaves them where they
    /// are. Tells whether it has ended.
    fn body_up_to(
        &mut self,
        head: &Head,
        most: usize,
        case: usize,
        attempt: usize,
    ) -> Option<bool> {
        let all = self.stage.cases[case].request.body().len();
        if all <= most && most > 0 {
            let body = self.body(head)?;
            self.stage.complete(case, attempt, &body);
            return Some(true);
        }
        while self.buffer.len() < most {
            if !self.fill() {
                return None;
            }
        }
        Some(false)
    }

    fn body(&mut self, head: &Head) -> Option<Vec<u8>> {
        match head.framing() {
            Framing::Absent => Some(Vec::new()),
            Framing::Length(length) => self.bytes(length as usize),
            Framing::Chunked => self.chunks(),
        }
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let chunk = self.bytes(size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Some(body);
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line).ok();
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
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
}
