//! The tier of the cache on disk: what it keeps beyond memory and beyond the process, and what it never brings back.

mod ended;
mod restart;
mod trouble;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::{fs, thread};

use serde_json::Value;

use crate::cache::{path_of, requests_for};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list};
use crate::support::{Answer, Client, Origin, Proxy, eventually, get};

/// Bytes of a body.
const SIZE: usize = 20_000;

/// The body of the answer of this number for a path.
fn body_of(path: &str, number: usize) -> Vec<u8> {
    let text = format!("{path} {number} ");
    text.bytes().cycle().take(SIZE).collect()
}

/// A backend whose answers have a tag and tell their path and the number of requests for it that were not GET.
fn origin() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let path = path_of(&request.head).to_owned();
            if !request.head.first_line().starts_with("GET ") {
                if !link.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
                    return;
                }
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"{path}\"\r\nSurrogate-Key: tag{}\r\n\
                 Content-Length: {SIZE}\r\n\r\n",
                &path[1..]
            );
            let answer = [head.into_bytes(), body_of(&path, 0)].concat();
            if !link.try_send(answer) {
                return;
            }
        }
    })
}

/// A proxy with a folder of its own that outlasts the proxy.
struct DiskProxy {
    proxy: Proxy,
    admin: SocketAddr,
}

/// Settings of a cache with this memory and the folder.
fn settings(origin: &Origin, folder: &Path, memory: &str, admin: SocketAddr) -> String {
    format!(
        "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[cache]\nmax_size = \"{memory}\"\n\
         disk = {{ path = {folder:?}, max_size = \"64MiB\" }}\n\
         [[routes]]\nprefix = \"/\"\nbackend_addrs = {}\n\
         cache = {{ status = \"full\", min_uses = 1, purge_method = {{ allow = [\"127.0.0.0/8\"] }} }}\n",
        list(&[origin.addr])
    )
}

impl DiskProxy {
    #[track_caller]
    fn start(origin: &Origin, folder: &Path, memory: &str) -> DiskProxy {
        DiskProxy::start_as(command(), origin, folder, memory)
    }

    #[track_caller]
    fn start_as(command: Command, origin: &Origin, folder: &Path, memory: &str) -> DiskProxy {
        let admin = free_addr();
        let proxy = Proxy::start_as(command, &settings(origin, folder, memory, admin));
        DiskProxy { proxy, admin }
    }

    /// Starts and waits until the disk is known.
    #[track_caller]
    fn start_scanned(origin: &Origin, folder: &Path, memory: &str) -> DiskProxy {
        let proxy = DiskProxy::start(origin, folder, memory);
        proxy.proxy.wait_for_log(&["entries were found in"]);
        proxy
    }

    fn client(&self) -> Client {
        Client::connect(self.proxy.addr)
    }

    /// See [`figure`].
    #[track_caller]
    fn figure(&self, name: &str) -> u64 {
        figure(self.admin, name)
    }

    /// See [`ask_slowly`].
    #[track_caller]
    fn ask_slowly(&self, count: usize) -> usize {
        ask_slowly(self.proxy.addr, self.admin, count)
    }

    /// Waits until nothing waits for the disk.
    #[track_caller]
    fn settle(&self) {
        settle(self.admin);
    }

    /// Orders a purge at the management API.
    #[track_caller]
    fn purge(&self, order: &str) {
        let request = format!(
            "POST /cache/purge HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{order}",
            self.admin,
            order.len()
        );
        let answer = Client::connect(self.admin).ask(request);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
}

fn is_hit(answer: &Answer) -> bool {
    answer
        .field("cache-status")
        .is_some_and(|status| status.contains("; hit"))
}

/// Asks for a path; the answer must be whole and right. Returns whether it came from the cache.
#[track_caller]
fn ask(client: &mut Client, path: &str) -> bool {
    let answer = client.ask(get(path));
    assert_eq!(answer.status(), 200, "{path}: {answer:?}");
    assert!(answer.body == body_of(path, 0), "{path}: wrong bytes");
    is_hit(&answer)
}

/// Asks for so many paths.
#[track_caller]
fn ask_all(client: &mut Client, count: usize) {
    for path in paths(count) {
        ask(client, &path);
    }
}

/// Asks for so many paths, each by a client of its own, no faster than the disk writes what the answers displace: the
/// disk does not get what comes faster. Returns the number of hits.
#[track_caller]
fn ask_slowly(addr: SocketAddr, admin: SocketAddr, count: usize) -> usize {
    let mut hits = 0;
    for path in paths(count) {
        hits += usize::from(ask(&mut Client::connect(addr), &path));
        if figure(admin, "queued_bytes") > SIZE as u64 {
            settle(admin);
        }
    }
    hits
}

/// A figure of the disk, as it is now.
#[track_caller]
fn figure(admin: SocketAddr, name: &str) -> u64 {
    let request = format!("GET /cache HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let answer = Client::connect(admin).ask(request);
    let shown: Value = serde_json::from_slice(&answer.body).unwrap();
    let figure = &shown["disk"][name];
    let number = figure.as_u64().or(figure.as_bool().map(u64::from));
    number.unwrap_or_else(|| panic!("no {name} in {shown}"))
}

/// Waits until nothing waits for the disk.
#[track_caller]
fn settle(admin: SocketAddr) {
    eventually("all is written", || figure(admin, "queued_bytes") == 0);
}

fn paths(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("/{number}"))
}

/// The segments in a folder, the oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let is_segment = |path: &PathBuf| path.to_str().unwrap().contains("/segment-");
    let mut segments: Vec<PathBuf> = files.filter(is_segment).collect();
    segments.sort();
    segments
}
