//! Requests that are made while a call on a file fails.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::PATIENCE;

/// A client that sends requests all the time, and must get an answer to each.
pub struct Traffic {
    is_over: Arc<AtomicBool>,
    client: JoinHandle<usize>,
}

impl Traffic {
    pub fn on(addr: SocketAddr) -> Traffic {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = is_over.clone();
        let client = thread::spawn(move || {
            let mut count = 0;
            loop {
                is_served(addr).expect("every request is answered");
                count += 1;
                if until.load(SeqCst) {
                    return count;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Traffic { is_over, client }
    }

    #[track_caller]
    pub fn end(self) {
        self.is_over.store(true, SeqCst);
        assert!(self.client.join().expect("every request is answered") > 0);
    }
}

pub fn is_served(addr: SocketAddr) -> std::io::Result<()> {
    let answer = exchange(
        addr,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )?;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"),
        "{answer:?}"
    );
    Ok(())
}

/// Sends one request on a new connection.
pub fn exchange(addr: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nobody answers"),
        read => read.map(|_| answer),
    }
}
