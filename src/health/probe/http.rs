//! Sends one request on a connection of its own and looks at the status of the answer, and at the beginning of its body
//! if the check wants something of it. The connection is closed as soon as the outcome is known.

use std::io;

use http::{Version, header};

use super::body::{ProbeBody, Search};
use super::{ProbeOutcome, Question, h2};
use crate::base::limits;
use crate::http::h1::{
    self, Asked, FieldSlots, ResponseBody, ResponseHead, may_be_repaired, repair_response,
};
use crate::http::refusal::Refusal;
use crate::net::ProbeStream;
use crate::snapshot::Protocol;

/// The most bytes that one read takes.
const READ_BYTES: usize = 4096;

/// Passes if the request is answered with a status in one of the inclusive ranges, and with a body that has the text at
/// its beginning, if one is wanted.
pub struct HttpProbe<'g> {
    pub host: &'g str,
    pub scheme: &'static str,
    pub method: &'g str,
    pub path: &'g str,
    pub headers: &'g [(String, String)],
    pub expect: &'g [(u16, u16)],
    pub body_contains: Option<&'g str>,
    /// The protocol that the backend speaks.
    pub protocol: Protocol,
    /// Whether the response is held to the letter of the RFCs.
    pub strict: bool,
}

impl Question for HttpProbe<'_> {
    async fn ask(self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome> {
        match self.protocol {
            Protocol::Http1 => self.over_http1(stream).await,
            Protocol::Http2 => self.over_http2(stream).await,
        }
    }
}

impl HttpProbe<'_> {
    fn search(&self) -> Option<Search> {
        self.body_contains.map(|text| Search::new(text.as_bytes()))
    }

    async fn over_http2(&self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome> {
        let headers = self.headers.iter();
        let fields: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let question = h2::ProbeRequest {
            method: self.method,
            scheme: self.scheme,
            host: self.host,
            target: self.path,
            fields: &fields,
            body: &[],
            wants: match self.search() {
                Some(search) => h2::Wants::Text(search),
                None => h2::Wants::Status,
            },
        };
        let answer = h2::ProbeExchange::new(question).run(stream).await?;
        Ok(answer.and_then(|answer| match &answer.wants {
            h2::Wants::Text(search) => self.outcome_of(answer.status, Some(search)),
            _ => self.outcome_of(answer.status, None),
        }))
    }

    async fn over_http1(&self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome> {
        let request = match self.written() {
            Ok(request) => request,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(reason) = stream.send_request(request).await? {
            return Ok(Err(reason));
        }
        let mut received = Vec::new();
        let (status, body) = loop {
            match self.take_head(&mut received) {
                Ok(Some(head)) => break head,
                Ok(None) => {}
                Err(reason) => return Ok(Err(reason)),
            }
            if !receive(stream, &mut received).await? {
                return Ok(Err("closed without an answer".to_owned()));
            }
        };
        let Some(mut search) = self.search().filter(|_| self.is_expected(status)) else {
            return Ok(self.outcome_of(status, None));
        };
        let mut body = ProbeBody::of(body, self.strict);
        loop {
            let is_over = body.feed(&received, &mut search);
            received.clear();
            match is_over {
                Ok(false) if !search.is_over() => {}
                Ok(_) => return Ok(self.outcome_of(status, Some(&search))),
                Err(_) => return Ok(Err("malformed body".to_owned())),
            }
            if !receive(stream, &mut received).await? {
                return Ok(if body.ends_by_close() {
                    self.outcome_of(status, Some(&search))
                } else {
                    Err("closed before the end of the body".to_owned())
                });
            }
        }
    }

    /// The request as it goes out.
    fn written(&self) -> http::Result<http::Request<()>> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(self.path)
            .version(Version::HTTP_11)
            .header(header::HOST, self.host)
            .header(header::CONNECTION, "close");
        if !self.headers.iter().any(|(name, _)| name == "user-agent") {
            request = request.header(header::USER_AGENT, "palantir");
        }
        // A server expects a length where the method stands for a body (RFC 9110 section 8.6).
        if ["POST", "PUT", "PATCH"].contains(&self.method) {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(())
    }

    /// Takes heads until one is final (RFC 9110 section 15.2). `None`: it is not complete yet.
    fn take_head(&self, received: &mut Vec<u8>) -> Result<Option<(u16, ResponseBody)>, String> {
        loop {
            // A server may switch although nobody has asked it to.
            if received.starts_with(b"HTTP/1.1 101") {
                return Ok(Some((101, ResponseBody::None)));
            }
            let (status, body, length) = match self.read_head(received) {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(None),
                Err(_) if received.len() >= limits::PROBE_ANSWER_BYTES => {
                    let most = limits::PROBE_ANSWER_BYTES;
                    return Err(format!("no complete head in {most} bytes"));
                }
                Err(refusal) => return Err(format!("malformed answer: {}", refusal.label())),
            };
            received.drain(..length);
            if status >= 200 {
                return Ok(Some((status, body)));
            }
        }
    }

    /// Reads a head as that of an answer to a client's request: its status, the framing of its body, and its length.
    fn read_head(&self, received: &[u8]) -> Result<Option<(u16, ResponseBody, usize)>, Refusal> {
        let asked = Asked {
            head: self.method == "HEAD",
            upgrade: false,
            strict: self.strict,
        };
        let most = limits::PROBE_ANSWER_BYTES as u32;
        let mut slots = FieldSlots::new();
        let told = |head: &ResponseHead<'_, '_>, taken| (head.status, head.body, taken);
        match h1::parse_response(received, &mut slots, asked, most) {
            Err(refusal) if !self.strict && may_be_repaired(refusal) => {
                let Some(repaired) = repair_response(received)? else {
                    return Ok(None);
                };
                let mut slots = FieldSlots::new();
                let head = h1::parse_response(&repaired.text, &mut slots, asked, u32::MAX)?;
                Ok(head.map(|head| told(&head, repaired.taken)))
            }
            parsed => Ok(parsed?.map(|head| told(&head, head.head_bytes))),
        }
    }

    fn is_expected(&self, status: u16) -> bool {
        let mut ranges = self.expect.iter();
        ranges.any(|&(low, high)| (low..=high).contains(&status))
    }

    fn outcome_of(&self, status: u16, search: Option<&Search>) -> ProbeOutcome {
        let answered = format!("answered {status}");
        if !self.is_expected(status) {
            return Err(answered);
        }
        match search {
            Some(search) => search.outcome_of(answered),
            None => Ok(answered),
        }
    }
}

/// Receives more; false if the other side has ended the connection.
async fn receive(stream: &mut ProbeStream<'_>, received: &mut Vec<u8>) -> io::Result<bool> {
    let bytes = stream.receive(READ_BYTES).await?;
    received.extend_from_slice(&bytes);
    Ok(!bytes.is_empty())
}
