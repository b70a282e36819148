//! The cache: what is stored, when it is reused, and what clients get of it.

mod access_log;
mod collapsing;
mod collapsing_trouble;
mod conditions_and_ranges;
mod delivery;
mod eviction;
mod freshness;
mod invalidation;
mod keys;
mod lifetimes;
mod reload;
mod stale;
mod storing;
mod storing_bodies;
mod strangers;
mod validation;
mod variants;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::SystemTime;

use crate::support::h2::{H2, frame};
use crate::support::head::Head;
use crate::support::origin::Received;
use crate::support::place::free_addr;
use crate::support::proxy::list;
use crate::support::{Client, Origin, PATIENCE, Proxy, eventually, metrics};

/// A configuration with a cache for two workers and with one route for everything, whose cache has these settings.
pub fn settings(cache: &str, backends: &[SocketAddr]) -> String {
    pooled("", cache, "", backends)
}

/// A configuration like [`settings`] with further lines of the pool and of the route.
pub fn pooled(pool: &str, cache: &str, route: &str, backends: &[SocketAddr]) -> String {
    let (backends, more) = (list(backends), if cache.is_empty() { "" } else { ", " });
    format!(
        "workers = 2\n[cache]\nmax_size = \"64MiB\"\n\
         [[pools]]\nname = \"p\"\nbackends = {backends}\n{pool}\n\
         [[routes]]\nprefix = \"/\"\npool = \"p\"\ncache = {{ status = \"full\"{more}{cache} }}\n{route}\n"
    )
}

/// A proxy that caches what these backends say.
#[track_caller]
pub fn caching(cache: &str, backends: &[SocketAddr]) -> Proxy {
    Proxy::start(&settings(cache, backends))
}

/// The versions of HTTP that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

pub const VERSIONS: [Version; 2] = [Version::One, Version::Two];

/// A connection of a client of either version.
pub enum Asker {
    One(Client),
    Two(Box<H2>),
}

/// An answer as clients of either version get it.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: String,
    /// Whether the answer ended as it should.
    pub complete: bool,
}

impl Asker {
    #[track_caller]
    pub fn new(proxy: &Proxy, version: Version) -> Asker {
        match version {
            Version::One => Asker::One(proxy.client()),
            Version::Two => Asker::Two(proxy.h2().into()),
        }
    }

    /// Asks for a path with GET and with these fields, whose names are in lower case.
    #[track_caller]
    pub fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask("GET", path, fields)
    }

    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        match self {
            Asker::One(client) => {
                let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
                for (name, value) in fields {
                    request += &format!("{name}: {value}\r\n");
                }
                let answer = client.ask(request + "\r\n");
                let text = |(name, value): (&str, &str)| (name.to_lowercase(), value.to_owned());
                Reply {
                    status: answer.status(),
                    fields: answer.head.fields().into_iter().map(text).collect(),
                    complete: answer.complete,
                    trailers: answer.trailers.to_lowercase(),
                    body: answer.body,
                }
            }
            Asker::Two(client) => {
                let answer = client.ask(&frame::request(method, path, fields));
                let mut trailers = String::new();
                for (name, value) in answer.trailers.iter().flatten() {
                    trailers += &format!("{name}: {value}\r\n");
                }
                Reply {
                    status: answer.status(),
                    complete: answer.complete,
                    trailers,
                    fields: answer.fields,
                    body: answer.body,
                }
            }
        }
    }
}

impl Reply {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that occurs once; `None` if it is absent.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is repeated in {self:?}");
        all.first().copied()
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        let value = self.field(name);
        let number = value.and_then(|value| value.parse().ok());
        number.unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `Cache-Status`.
    #[track_caller]
    pub fn cache(&self) -> &str {
        self.field("cache-status").expect("Cache-Status")
    }

    /// A parameter of `Cache-Status`; `""` if it has no value.
    #[track_caller]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parts = self.cache().split("; ");
        parts.find_map(|part| match part.split_once('=') {
            Some((known, value)) => (known == name).then_some(value),
            None => (part == name).then_some(""),
        })
    }

    #[track_caller]
    pub fn is_hit(&self) -> bool {
        self.parameter("hit").is_some()
    }

    /// Seconds for which the answer stays fresh.
    #[track_caller]
    pub fn ttl(&self) -> i64 {
        let ttl = self.parameter("ttl").and_then(|ttl| ttl.parse().ok());
        ttl.unwrap_or_else(|| panic!("no ttl in {self:?}"))
    }
}

/// An origin that answers each request with what `answer` makes of the request and of its number, which begins at 1.
pub fn origin(answer: impl Fn(&Received, usize) -> String + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let number = count.fetch_add(1, SeqCst) + 1;
            if !link.try_send(answer(&request, number)) {
                return;
            }
        }
    })
}

/// An origin that does what requests say: `X-Want` names the fields of the answer with `|` between them, `X-Status` its
/// status. The body is the number of the request, so that it shows whether an answer is a new one. A request whose
/// `If-None-Match` is the `ETag` of the answer is answered by a 304.
pub fn obedient() -> Origin {
    origin(|request, number| {
        let head = &request.head;
        let want = head.field("x-want").unwrap_or_default();
        let fields: Vec<_> = want.split('|').filter(|line| !line.is_empty()).collect();
        let is_named = |line: &&str| {
            let tag = line.strip_prefix("ETag: ");
            tag.is_some_and(|tag| head.field("if-none-match") == Some(tag))
        };
        match head.field("x-status") {
            None if fields.iter().any(is_named) => message(304, &fields, None),
            status => {
                let status = status.map_or(200, |status| status.parse().unwrap());
                message(status, &fields, Some(&number.to_string()))
            }
        }
    })
}

/// An answer with a length, unless it has no body.
pub fn message(status: u16, fields: &[&str], body: Option<&str>) -> String {
    let mut text = format!("HTTP/1.1 {status} Some Reason\r\n");
    for line in fields {
        text += &format!("{line}\r\n");
    }
    match body {
        Some(body) => text + &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        None => text + "\r\n",
    }
}

/// A 200 with these fields, each `Name: value`, and a body with a length.
pub fn ok(fields: &[&str], body: &str) -> String {
    message(200, fields, Some(body))
}

/// The time so many seconds from now, as a date of HTTP.
pub fn date(from_now: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let secs = now.unwrap().as_secs() as i64 + from_now;
    let text = palantir::http::date::imf_fixdate(secs as u64);
    String::from_utf8_lossy(&text).into_owned()
}

/// Bytes of which no two places look alike.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(byte).collect()
}

/// The path in a request line.
pub fn path_of(head: &Head) -> &str {
    head.first_line().split(' ').nth(1).unwrap_or_default()
}

/// The requests for a path that an origin has received.
pub fn requests_for(origin: &Origin, path: &str) -> usize {
    let requests = origin.requests();
    let is_for = |request: &&Received| path_of(&request.head) == path;
    requests.iter().filter(is_for).count()
}

/// Lets threads pass that wait for a number of steps.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Waits until so many steps are open.
    pub fn wait(&self, steps: usize) {
        let (open, moved) = &*self.0;
        let open = open.lock().unwrap();
        drop(moved.wait_timeout_while(open, 2 * PATIENCE, |open| *open < steps));
    }

    /// Opens one more step, and gives the number of open ones.
    pub fn open(&self) -> usize {
        let (open, moved) = &*self.0;
        let mut open = open.lock().unwrap();
        *open += 1;
        moved.notify_all();
        *open
    }
}

/// A proxy that caches, with its management API.
pub struct Watched {
    pub proxy: Proxy,
    pub admin: SocketAddr,
    config: String,
}

impl Watched {
    /// See [`pooled`].
    #[track_caller]
    pub fn start(pool: &str, cache: &str, route: &str, backends: &[SocketAddr]) -> Watched {
        let admin = free_addr();
        let admin_section = format!("[admin]\nlisten_addr = \"{admin}\"\n");
        let config = pooled(pool, cache, route, backends) + &admin_section;
        Watched {
            proxy: Proxy::start(&config),
            admin,
            config,
        }
    }

    /// Has the configuration replaced by the same one with this change, on every worker.
    #[track_caller]
    pub fn reload(&self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from} in {}", self.config);
        self.proxy
            .reload_everywhere(self.admin, &self.config.replace(from, to));
    }

    /// Waits until so many requests of clients are under way.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        eventually(&format!("{count} requests are under way"), || {
            let metrics = metrics(self.admin);
            let lines = metrics.lines();
            let ours = lines.filter(|line| line.starts_with("palantir_requests_in_flight"));
            let values = ours.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            values.sum::<usize>() == count
        });
    }
}
