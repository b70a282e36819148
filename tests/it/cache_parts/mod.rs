//! Fetches of the cache beyond the request of a client: the whole for a condition, the rest of a part, the whole for
//! a range.

mod leads;
mod parts;
mod patience;
mod widening;

use std::sync::{Arc, Mutex};

use crate::support::origin::Received;
use crate::support::{Origin, Proxy, get};

/// A representation that an origin serves, with conditions and ranges.
pub struct Object {
    pub body: Vec<u8>,
    pub etag: String,
    /// Further lines of each answer.
    pub fields: String,
    /// Whether a range is sent whatever `If-Range` says.
    pub ignores_if_range: bool,
}

impl Object {
    /// A fresh representation of so many bytes.
    pub fn of(length: usize) -> Object {
        Object {
            body: pattern(length),
            etag: "\"one\"".to_owned(),
            fields: "Cache-Control: max-age=60\r\n".to_owned(),
            ignores_if_range: false,
        }
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Received) -> Vec<u8> {
        let field = |name| request.head.field(name);
        let fields = format!("ETag: {}\r\n{}", self.etag, self.fields);
        if field("if-none-match") == Some(&self.etag) {
            return format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into();
        }
        let counts = self.ignores_if_range || field("if-range").is_none_or(|tag| tag == self.etag);
        let range = field("range").filter(|_| counts);
        let (first, last, status) = match range.map(|range| self.bounds(range)) {
            Some((first, last)) => (first, last, "206 Partial Content"),
            None => (0, self.body.len() - 1, "200 OK"),
        };
        let mut head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}",
            last + 1 - first
        );
        if range.is_some() {
            let total = self.body.len();
            head += &format!("Content-Range: bytes {first}-{last}/{total}\r\n");
        }
        [head.as_bytes(), b"\r\n", &self.body[first..=last]].concat()
    }

    fn bounds(&self, range: &str) -> (usize, usize) {
        let end = self.body.len() - 1;
        let (first, last) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.min(end)),
            (Ok(first), Err(_)) => (first, end),
            (_, Ok(suffix)) => (self.body.len() - suffix, end),
            _ => panic!("no range: {range}"),
        }
    }
}

/// So many bytes, which tell where they stand.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// An origin with one representation, which the test may change.
pub fn origin_of(object: Object) -> (Origin, Arc<Mutex<Object>>) {
    let object = Arc::new(Mutex::new(object));
    let served = object.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let answer = served.lock().unwrap().answer(&request);
            if !link.try_send(&answer) {
                return;
            }
        }
    });
    (origin, object)
}

/// A proxy that caches the answers of an origin.
#[track_caller]
pub fn caching(origin: &Origin, settings: &str) -> Proxy {
    let route = crate::support::proxy::route("/", &[origin.addr]);
    Proxy::start(&format!(
        "[cache]\nmax_bytes = \"64MiB\"\n{route}cache = {{ status = \"full\", {settings} }}\n"
    ))
}

/// A GET with further lines.
pub fn get_with(lines: &str) -> String {
    get("/object").replace("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"))
}

/// A GET for a range.
pub fn get_range(range: &str) -> String {
    get_with(&format!("Range: bytes={range}"))
}

/// The values of a field in the requests that an origin has received.
pub fn asked(origin: &Origin, name: &str) -> Vec<Option<String>> {
    let requests = origin.requests();
    let values = requests.iter().map(|request| request.head.field(name));
    values.map(|value| value.map(str::to_owned)).collect()
}
