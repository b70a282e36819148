//! Clients that send requests all the time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::{PATIENCE, eventually};

/// Clients that send requests all the time, each on a new connection.
pub struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    /// The number of connections that ended without an answer, because a process was killed that had accepted them.
    lost: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

pub const CLIENTS: usize = 4;

impl Load {
    pub fn on(addr: SocketAddr) -> Load {
        let mut load = Load {
            is_over: Arc::default(),
            answered: Arc::default(),
            lost: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..CLIENTS {
            let (is_over, answered) = (load.is_over.clone(), load.answered.clone());
            let lost = load.lost.clone();
            load.clients.push(thread::spawn(move || {
                while !is_over.load(SeqCst) {
                    match ask(addr) {
                        Ok(()) => answered.fetch_add(1, SeqCst),
                        Err(error) => {
                            assert_ne!(
                                error.kind(),
                                ErrorKind::ConnectionRefused,
                                "nobody listens"
                            );
                            assert_ne!(error.kind(), ErrorKind::WouldBlock, "nobody serves");
                            lost.fetch_add(1, SeqCst)
                        }
                    };
                    thread::sleep(Duration::from_millis(1));
                }
            }));
        }
        load
    }

    /// Waits until requests are answered that began after this call.
    #[track_caller]
    pub fn is_served(&self) {
        let goal = self.answered.load(SeqCst) + 2 * CLIENTS;
        eventually("requests are answered", || {
            let failed = self.clients.iter().any(|client| client.is_finished());
            assert!(!failed, "somebody was not served");
            self.answered.load(SeqCst) >= goal
        });
    }

    /// Stops the clients, and returns the number of lost connections.
    #[track_caller]
    pub fn end(self) -> usize {
        self.is_over.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("somebody serves all the time");
        }
        self.lost.load(SeqCst)
    }
}

/// One request on a new connection. Errors: as the system reports them; `UnexpectedEof` without an answer.
pub fn ask(addr: SocketAddr) -> std::io::Result<()> {
    ask_within(addr, PATIENCE)
}

/// As [`ask`], with less patience. Errors: also no answer in time.
pub fn ask_within(addr: SocketAddr, patience: Duration) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        Err(ErrorKind::UnexpectedEof.into())
    } else {
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"),
            "{answer:?}"
        );
        Ok(())
    }
}
