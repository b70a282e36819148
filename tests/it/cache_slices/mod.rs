//! Large bodies in slices: each slice is fetched and stored by itself, and two states of a body are never mixed.

mod answers;
mod fetches;
mod fills;
mod states;
mod unsliced;

use std::sync::{Arc, Mutex};

use crate::cache::bytes;
use crate::support::origin::Received;
use crate::support::{Origin, Proxy, get};

/// The size of slices in these tests.
pub const SLICE: usize = 64 << 10;
/// A length of three whole slices and a part of one.
pub const LENGTH: usize = 3 * SLICE + 1_000;

/// A large body that an origin serves.
pub struct Media {
    pub body: Vec<u8>,
    pub etag: String,
    /// Further lines of each answer.
    pub fields: String,
    pub knows_ranges: bool,
    /// Whether `If-Match` is obeyed.
    pub knows_if_match: bool,
}

impl Media {
    pub fn of(length: usize) -> Media {
        Media {
            body: bytes(length),
            etag: "\"one\"".to_owned(),
            fields: "Cache-Control: max-age=60\r\n".to_owned(),
            knows_ranges: true,
            knows_if_match: true,
        }
    }

    /// Makes the body another one of the same length.
    pub fn change(&mut self) {
        self.etag = "\"two\"".to_owned();
        self.body.iter_mut().for_each(|byte| *byte ^= 0xff);
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Received) -> Vec<u8> {
        let field = |name| request.head.field(name);
        let tag = match &*self.etag {
            "" => String::new(),
            tag => format!("ETag: {tag}\r\n"),
        };
        let (fields, total) = (format!("{tag}{}", self.fields), self.body.len());
        let is_other = |tag: &str| tag != self.etag || tag.starts_with("W/");
        if self.knows_if_match && field("if-match").is_some_and(is_other) {
            return "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n".into();
        }
        if field("if-none-match").is_some_and(|tag| tag == self.etag) {
            return format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into();
        }
        let Some(range) =
            field("range").filter(|range| self.knows_ranges && range.starts_with("bytes="))
        else {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n{fields}\r\n");
            return [head.as_bytes(), &self.body].concat();
        };
        let range = range.strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last
            .parse()
            .map_or(total - 1, |last: usize| last.min(total - 1));
        if first >= total {
            return format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\n\
                 Content-Length: 0\r\n\r\n"
            )
            .into();
        }
        let length = last + 1 - first;
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n{fields}\
             Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
        );
        [head.as_bytes(), &self.body[first..=last]].concat()
    }
}

/// An origin with one body, which the test may change.
pub fn origin_of(media: Media) -> (Origin, Arc<Mutex<Media>>) {
    let media = Arc::new(Mutex::new(media));
    let served = media.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let answer = served.lock().unwrap().answer(&request);
            if !link.try_send(&answer) {
                return;
            }
        }
    });
    (origin, media)
}

/// A proxy that caches the answers of an origin in slices, none of which may be larger than a slice.
#[track_caller]
pub fn caching(origin: &Origin) -> Proxy {
    caching_with(origin, "slice = \"64KiB\", max_object = \"64KiB\"")
}

/// A proxy with these settings of its cache.
#[track_caller]
pub fn caching_with(origin: &Origin, settings: &str) -> Proxy {
    let route = crate::support::proxy::route("/", &[origin.addr]);
    Proxy::start(&format!(
        "workers = 2\nshutdown_timeout = 600\n[cache]\nmax_bytes = \"64MiB\"\n{route}\
         cache = {{ status = \"full\", purge_method = {{ allow = [\"127.0.0.0/8\"] }}, {settings} }}\n"
    ))
}

/// A GET for a range.
pub fn get_range(range: &str) -> String {
    get_with(&format!("Range: bytes={range}"))
}

/// A GET with further lines.
pub fn get_with(lines: &str) -> String {
    get("/film").replace("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"))
}

/// The value of `Range` that asks for a slice.
pub fn slice(number: usize) -> Option<String> {
    let first = number * SLICE;
    Some(format!("bytes={first}-{}", first + SLICE - 1))
}

/// The values of a field in the requests that an origin has received.
pub fn asked(origin: &Origin, name: &str) -> Vec<Option<String>> {
    let requests = origin.requests();
    let values = requests.iter().map(|request| request.head.field(name));
    values.map(|value| value.map(str::to_owned)).collect()
}

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}
