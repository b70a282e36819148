//! Probes: one file per kind, one line each in [`run`]. A probe opens its own connection, has one question and one
//! answer, and is bounded in time and bytes.

mod body;
mod grpc;
mod h2;
mod http;
mod tcp;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::base::addresses::BackendAddr;
use crate::base::limits;
use crate::base::quantity::show_time;
use crate::http::proxy_protocol::{self, ProxiedAddrs};
use crate::net::{ProbeSocket, ProbeStream, is_exhausted, within};
use crate::snapshot::{Backend, HealthCheck, Pool, ProbeKind, ProbeTls, ProxyProtocol};
use crate::tls::in_words;

/// How a probe went, in words for the log: `answered 200`, `connection refused`.
pub type ProbeOutcome = Result<String, String>;

/// A question that is asked on a connection.
trait Question {
    /// Asks and judges the answer. Errors: the connection breaks.
    async fn ask(self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome>;
}

/// Probes a backend once. Returns within `check.timeout`. `None`: this process has no descriptor or memory left for a
/// connection, which says nothing of the backend.
pub async fn probe(pool: &Pool, backend: &Backend, check: &HealthCheck) -> Option<ProbeOutcome> {
    let Some(addr) = &backend.addr else {
        return Some(Err("no address".to_owned()));
    };
    let way = Way::of(pool, backend, addr, check);
    let outcome = match within(check.timeout, run(&way, pool, backend, check)).await {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) if is_exhausted(&error) => return None,
        Some(Err(error)) => Err(words_of(&error)),
        None => Err(way.silence(check.timeout)),
    };
    Some(match &way.addr {
        BackendAddr::Tcp(asked) if way.addr != *addr => {
            outcome.map_err(|why| format!("{why} (asked at {asked})"))
        }
        _ => outcome,
    })
}

/// The registry of probe kinds. Errors: no connection, or one that breaks.
async fn run(
    way: &Way<'_>,
    pool: &Pool,
    backend: &Backend,
    check: &HealthCheck,
) -> io::Result<ProbeOutcome> {
    let host = check.host.as_deref().unwrap_or(&backend.host);
    let scheme = if way.tls.is_some() { "https" } else { "http" };
    match &check.kind {
        ProbeKind::Tcp => {
            let question = tcp::Connect { end: way.end };
            way.connect(question).await
        }
        ProbeKind::Http {
            method,
            path,
            expect,
            body_contains,
        } => {
            let question = http::HttpProbe {
                host,
                scheme,
                method,
                path,
                headers: &check.headers,
                expect,
                body_contains: body_contains.as_deref(),
                protocol: pool.protocol,
                strict: pool.strict_responses,
            };
            way.connect(question).await
        }
        ProbeKind::Grpc { service } => {
            let question = grpc::GrpcProbe {
                host,
                scheme,
                headers: &check.headers,
                service,
            };
            way.connect(question).await
        }
    }
}

/// How a probe comes to a backend.
struct Way<'p> {
    addr: BackendAddr,
    /// The PROXY header with which the connection begins.
    introduction: Option<Vec<u8>>,
    tls: Option<(&'p Arc<ClientConfig>, &'p ServerName<'static>)>,
    /// Whether a TLS handshake has begun and not ended.
    is_in_handshake: Cell<bool>,
    /// The instant at which the probe ends without an outcome.
    end: Instant,
}

impl<'p> Way<'p> {
    /// A probe that only connects says nothing, unless it has TLS of its own. Others do as the requests of clients do,
    /// except for what the check says.
    fn of(
        pool: &'p Pool,
        backend: &'p Backend,
        addr: &BackendAddr,
        check: &'p HealthCheck,
    ) -> Way<'p> {
        let name = &backend.server_name;
        let only_connects = check.kind == ProbeKind::Tcp;
        let tls = match &check.tls {
            ProbeTls::Off => None,
            ProbeTls::AsPool if only_connects => None,
            ProbeTls::AsPool => pool.tls.as_ref().map(|tls| (&tls.config, name)),
            ProbeTls::Own(tls, own) => Some((tls, own.as_ref().unwrap_or(name))),
        };
        let addr = match (addr, check.port) {
            (BackendAddr::Tcp(addr), Some(port)) => {
                BackendAddr::Tcp(SocketAddr::new(addr.ip(), port))
            }
            (addr, _) => addr.clone(),
        };
        Way {
            addr,
            introduction: introduction(pool).filter(|_| !only_connects || tls.is_some()),
            tls,
            is_in_handshake: Cell::new(false),
            end: Instant::now() + check.timeout,
        }
    }

    /// Why there is no outcome after so long.
    fn silence(&self, time: Duration) -> String {
        let time = show_time(time);
        match self.tls.filter(|_| self.is_in_handshake.get()) {
            Some((_, name)) => format!(
                "no TLS as {}: the handshake was not over within {time}",
                name.to_str()
            ),
            None => format!("no answer within {time}"),
        }
    }

    /// Opens a connection and asks, with a PROXY header and TLS before the question where the probe has them.
    async fn connect(&self, question: impl Question) -> io::Result<ProbeOutcome> {
        let mut socket = ProbeSocket::connect(&self.addr).await?;
        if let Some(header) = &self.introduction {
            socket.send(header.clone()).await?;
        }
        let Some((tls, name)) = self.tls else {
            return question.ask(&mut socket.plain()).await;
        };
        let no_tls = |why: String| Ok(Err(format!("no TLS as {}: {why}", name.to_str())));
        self.is_in_handshake.set(true);
        let handshake = socket.secure(tls.clone(), name.clone()).await;
        self.is_in_handshake.set(false);
        let mut secured = match handshake {
            Ok(secured) => secured,
            Err(error) => return no_tls(words_of_io(&mut socket, error).await),
        };
        match question.ask(&mut secured).await {
            Err(error) if is_of_tls(&error) => no_tls(words_of(&error)),
            // In TLS 1.3 a backend refuses a certificate behind the handshake, and may have closed over the question.
            Err(error) if is_loss(&error) => match secured.receive(1).await {
                Err(reason) if is_of_tls(&reason) => no_tls(words_of(&reason)),
                _ => Err(error),
            },
            outcome => outcome,
        }
    }
}

/// The PROXY header of a connection without a client, if the pool wants one.
fn introduction(pool: &Pool) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    match pool.proxy_protocol? {
        ProxyProtocol::V1 => proxy_protocol::write_v1(&ProxiedAddrs::Local, &mut header),
        ProxyProtocol::V2 => proxy_protocol::write_v2(&ProxiedAddrs::Local, &mut header),
    }
    Some(header)
}

/// Why the handshake on a connection failed. A backend may have refused a certificate and closed before it had read
/// all: its alert, in clear because no key is agreed on yet, then waits behind the loss.
async fn words_of_io(socket: &mut ProbeSocket, error: io::Error) -> String {
    if is_loss(&error)
        && let Ok(bytes) = socket.receive(limits::TLS_ALERT_BYTES).await
        && let [21, 3, _, 0, 2, _, alert] = bytes[..]
    {
        return in_words(&rustls::Error::AlertReceived(alert.into()));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the other side ended the connection in the handshake; perhaps it does not speak TLS"
                .to_owned()
        }
        _ => words_of(&error),
    }
}

/// Whether the connection is gone, so that reading what came before its end waits for nothing.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_of_tls(error: &io::Error) -> bool {
    of_tls(error).is_some()
}

/// Why a connection broke.
fn words_of(error: &io::Error) -> String {
    of_tls(error).map_or_else(|| describe(error), in_words)
}

/// An I/O error in the system's words, without its number: `connection refused`.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
    first.to_lowercase() + rest
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::net::run_sleeper;
    use crate::snapshot::sample;

    fn probe_once(kind: ProbeKind, addr: BackendAddr, timeout: Duration) -> ProbeOutcome {
        let mut pool = sample::pool(&mut sample::slots(), "api", &[addr]);
        pool.backends[0].host = "api.internal:80".to_owned();
        let check = HealthCheck {
            kind,
            timeout,
            ..sample::check(Duration::from_secs(1))
        };
        run_sleeper(probe(&pool, &pool.backends[0], &check))
            .unwrap()
            .expect("there are descriptors")
    }

    fn http() -> ProbeKind {
        ProbeKind::Http {
            method: "GET".to_owned(),
            path: "/health?deep=1".to_owned(),
            expect: vec![(200, 299), (401, 401)],
            body_contains: None,
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Reads a request's head, writes the answer, and keeps the connection open until the other side closes it.
    fn serve(mut stream: impl Read + Write, answer: &[u8]) -> String {
        let mut head = String::new();
        let mut reader = BufReader::new(&mut stream);
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        // The probe may have heard enough before all is written.
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut [0; 1]);
        head
    }

    /// One connection to a server that gives this answer; what it was asked, and what the probe says.
    fn probe_server(answer: &'static [u8], timeout: Duration) -> (String, ProbeOutcome) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = BackendAddr::Tcp(listener.local_addr().unwrap());
        let server = thread::spawn(move || serve(listener.accept().unwrap().0, answer));
        let outcome = probe_once(http(), addr, timeout);
        (server.join().unwrap(), outcome)
    }

    fn passed(words: &str) -> ProbeOutcome {
        Ok(words.to_owned())
    }

    fn failed(words: &str) -> ProbeOutcome {
        Err(words.to_owned())
    }

    #[test]
    fn http_answers_table() {
        let rows: [(&[u8], ProbeOutcome); 9] = [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                passed("answered 200"),
            ),
            (b"HTTP/1.1 204 No Content\r\n\r\n", passed("answered 204")),
            (b"HTTP/1.0 401 Who\r\n\r\n", passed("answered 401")),
            (
                b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n",
                failed("answered 503"),
            ),
            // A body of any length is not waited for.
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
                passed("answered 200"),
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                passed("answered 200"),
            ),
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
                failed("answered 500"),
            ),
            (
                b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                failed("answered 101"),
            ),
            (
                b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
                failed("malformed answer: bad_status_line"),
            ),
        ];
        for (answer, expected) in rows {
            let (_, outcome) = probe_server(answer, PATIENCE);
            assert_eq!(outcome, expected, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn http_request_is_what_a_server_expects() {
        let (head, _) = probe_server(b"HTTP/1.1 200 OK\r\n\r\n", PATIENCE);
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some("GET /health?deep=1 HTTP/1.1"));
        let mut fields: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "connection: close",
                "host: api.internal:80",
                "user-agent: palantir"
            ]
        );
    }

    #[test]
    fn http_probe_is_bounded_in_bytes() {
        let endless = [
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            b"x: ".to_vec(),
            b"y".repeat(limits::PROBE_ANSWER_BYTES),
        ];
        let (_, outcome) = probe_server(endless.concat().leak(), PATIENCE);
        assert_eq!(outcome, failed("no complete head in 65536 bytes"));
    }

    #[test]
    fn http_probe_is_bounded_in_time() {
        let (_, outcome) = probe_server(b"HTTP/1.1 200 OK\r\n", Duration::from_millis(50));
        assert_eq!(outcome, failed("no answer within 50ms"));
    }

    #[test]
    fn http_probe_names_an_early_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = BackendAddr::Tcp(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).unwrap() > 0);
        });
        assert_eq!(
            probe_once(http(), addr, PATIENCE),
            failed("closed without an answer")
        );
        server.join().unwrap();
    }

    #[test]
    fn nothing_listens() {
        let grpc = ProbeKind::Grpc {
            service: String::new(),
        };
        for kind in [ProbeKind::Tcp, http(), grpc] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = BackendAddr::Tcp(listener.local_addr().unwrap());
            drop(listener);
            assert_eq!(
                probe_once(kind.clone(), addr, PATIENCE),
                failed("connection refused")
            );
            let nowhere = BackendAddr::Unix("/nonexistent/palantir.sock".into());
            assert_eq!(
                probe_once(kind, nowhere, PATIENCE),
                failed("no such file or directory")
            );
        }
    }

    #[test]
    fn tcp_probe_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = BackendAddr::Tcp(listener.local_addr().unwrap());
        assert_eq!(
            probe_once(ProbeKind::Tcp, addr, PATIENCE),
            passed("connected")
        );
    }

    #[test]
    fn unix_sockets_are_probed_too() {
        let path = std::env::temp_dir().join(format!("palantir-probe-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (heads, seen) = mpsc::channel();
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                heads
                    .send(serve(stream, b"HTTP/1.1 200 OK\r\n\r\n"))
                    .unwrap();
            }
        });
        let addr = BackendAddr::Unix(path.clone());
        assert_eq!(
            probe_once(ProbeKind::Tcp, addr.clone(), PATIENCE),
            passed("connected")
        );
        assert_eq!(probe_once(http(), addr, PATIENCE), passed("answered 200"));
        server.join().unwrap();
        assert_eq!(seen.recv().unwrap(), "");
        assert!(
            seen.recv()
                .unwrap()
                .starts_with("GET /health?deep=1 HTTP/1.1\r\n")
        );
        std::fs::remove_file(&path).unwrap();
    }
}
