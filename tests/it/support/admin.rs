//! A stand-in for palantir's management API, whose figures and answers a test chooses: it serves the real page, says
//! what it is told to, and records what it was asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use palantir::control::page::page;
use serde_json::{Value, json};

/// One request that wanted something changed or shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// `PATCH /pools/api/servers/127.0.0.1:9001`, as sent.
    pub line: String,
    pub body: Value,
    pub authorization: Option<String>,
}

/// The answers that the stand-in gives.
#[derive(Clone)]
pub struct Script {
    pub board: Value,
    /// Status and body of the answer to everything but the page and its figures.
    pub answer: (u16, Value),
    /// Without this token it answers 401 to everything but the page.
    pub token: Option<String>,
    /// Whether figures are sent when they change, and not again and again.
    pub only_news: bool,
}

/// The stand-in; it falls silent when dropped.
pub struct Admin {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    script: Script,
    /// How often the script was changed.
    changes: u64,
    asked: Vec<Asked>,
    open: Vec<TcpStream>,
    over: bool,
}

impl Admin {
    #[track_caller]
    pub fn start(addr: SocketAddr, script: Script) -> Admin {
        let listener = super::place::listen(addr);
        let state = State {
            script,
            changes: 0,
            asked: Vec::new(),
            open: Vec::new(),
            over: false,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        thread::spawn(move || accept(&listener, &shared));
        Admin { addr, state }
    }

    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state.script);
        state.changes += 1;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.over = true;
            for stream in &state.open {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // Wakes the listener, which then goes away.
        let _ = TcpStream::connect(self.addr);
    }
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut locked = state.lock().unwrap();
        if locked.over {
            return;
        }
        locked.open.push(stream.try_clone().expect("a descriptor"));
        let state = state.clone();
        thread::spawn(move || {
            let _ = serve(stream, &state);
        });
    }
}

/// One request, one answer, then the connection ends.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length, mut authorization) = (String::new(), 0, None);
    reader.read_line(&mut line)?;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a length"),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let script = state.lock().unwrap().script.clone();
    let expected = script.token.as_ref().map(|token| format!("Bearer {token}"));
    if line == "GET /" {
        let (html, policy) = page();
        let fields = format!(
            "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {policy}\r\n"
        );
        return answer(&mut stream, 200, &fields, html);
    }
    if expected.is_some() && expected != authorization {
        let problem = json!({"status": 401, "detail": "a token is needed"});
        return answer(&mut stream, 401, "", &problem.to_string());
    }
    match line.as_str() {
        "GET /events" => send_events(&mut stream, state),
        "GET /board" => answer(&mut stream, 200, "", &script.board.to_string()),
        "GET /board/history" => answer(&mut stream, 200, "", "[]"),
        _ => {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            state.lock().unwrap().asked.push(Asked {
                line,
                body,
                authorization,
            });
            let (status, body) = script.answer;
            answer(&mut stream, status, "", &body.to_string())
        }
    }
}

fn answer(stream: &mut TcpStream, status: u16, fields: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes())
}

fn send_events(stream: &mut TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"event: history\ndata: []\n\n")?;
    let mut sent = None;
    loop {
        let (script, changes) = {
            let state = state.lock().unwrap();
            (state.script.clone(), state.changes)
        };
        if !script.only_news || sent != Some(changes) {
            let board = script.board;
            stream.write_all(format!("event: board\ndata: {board}\n\n").as_bytes())?;
            sent = Some(changes);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Figures of one pool with backends in these states, and the answer of a change that was accepted.
pub fn script(pool: &str, backends: &[(&str, &str)]) -> Script {
    Script {
        board: board(pool, backends),
        answer: (200, json!({"revision": 2, "changed": true, "notes": []})),
        token: None,
        only_news: false,
    }
}

/// Figures of one pool with backends in these states.
pub fn board(pool: &str, backends: &[(&str, &str)]) -> Value {
    let backends: Vec<Value> = backends
        .iter()
        .map(|(address, state)| {
            json!({"address": address, "label": address, "state": state, "since": 1_699_999_000.0, "weight": 3,
                "in_flight": 4, "requests_per_sec": 1234.0, "p50_ms": 1.5, "p99_ms": 12.0, "error_percent": 0.0,
                "success": 1000, "failed": 2, "last_failure": {"reason": "connect_refused", "time": 1_699_999_990.0}})
        })
        .collect();
    json!({"time": 1_700_000_000.0, "version": "0.1.0", "revision": 1, "phase": "running",
        "totals": {"requests_per_sec": 4321.0, "failures_per_sec": 0.0, "in_flight": 7, "connections": 99,
            "p50_ms": 1.2, "p99_ms": 45.6},
        "workers": [{"worker": 0, "connections": 5, "requests_per_sec": 10.0, "in_flight": 1, "busy_percent": 33.0,
            "loop_lag_ms": 0.1}],
        "pools": [{"name": pool, "algorithm": "round_robin", "backends": backends}],
        "transitions": []})
}
