//! A proxy with its management API.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;

use super::place::free_addr;
use super::proxy::list;
use super::{Answer, Client, Proxy};

/// A proxy with its management API.
pub struct Managed {
    pub proxy: Proxy,
    pub admin: SocketAddr,
}

impl Managed {
    /// Starts a proxy; `admin` and `config` are the contents of the file in `[admin]` and after it.
    #[track_caller]
    pub fn start(admin: &str, config: &str) -> Managed {
        let addr = free_addr();
        let config = format!("workers = 2\n[admin]\nlisten_addr = \"{addr}\"\n{admin}\n{config}");
        Managed {
            proxy: Proxy::start(&config),
            admin: addr,
        }
    }

    /// A proxy with a pool `api` that takes every request.
    #[track_caller]
    pub fn to(backends: &[SocketAddr]) -> Managed {
        Managed::start("", &pool(backends))
    }

    /// Sends `METHOD /path` with these header fields besides the usual ones.
    #[track_caller]
    pub fn ask(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        ask(self.admin, line, fields, body)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        json_of(&answer)
    }

    /// The addresses of the pool `api`.
    #[track_caller]
    pub fn servers(&self) -> BTreeSet<String> {
        let servers = self.get("/servers?pool=api");
        let servers = servers["servers"].as_array().unwrap().iter();
        let addr = |server: &Value| server["addr"].as_str().unwrap().to_owned();
        servers.map(addr).collect()
    }
}

pub fn pool(backends: &[SocketAddr]) -> String {
    format!(
        "[[routes]]\npool = \"api\"\n[[pools]]\nname = \"api\"\nbackends = {}\n",
        list(backends)
    )
}

#[track_caller]
pub fn ask(admin: SocketAddr, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    Client::connect(admin).ask(request(admin, line, fields, body))
}

/// A request; the given fields replace the usual ones of the same names.
pub fn request(admin: SocketAddr, line: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    let usual = [
        ("Host", admin.to_string()),
        ("Content-Type", "application/json".to_owned()),
    ];
    for (name, value) in usual {
        if !fields.iter().any(|(given, _)| *given == name) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}\r\n{body}")
}

#[track_caller]
pub fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {}", answer.text()))
}

#[track_caller]
pub fn is_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    let problem = json_of(answer);
    assert_eq!(problem["status"], status);
    assert!(problem["errors"].is_array(), "{problem}");
}
