//! Clients that ask without a pause.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::{Client, eventually, get};

/// Clients that ask all the time, each on one connection for as long as it lasts or on a new one every time.
pub struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    pub fn on(addr: SocketAddr) -> Load {
        let mut load = Load {
            over: Arc::default(),
            answered: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..8 {
            let (over, answered) = (load.over.clone(), load.answered.clone());
            load.clients.push(thread::spawn(move || {
                let keeps = number % 2 == 0;
                let mut client = Client::connect(addr);
                while !over.load(SeqCst) {
                    let answer = client.ask(get("/"));
                    assert_eq!((answer.status(), answer.text().as_str()), (200, "served"));
                    answered.fetch_add(1, SeqCst);
                    if !keeps || answer.field("connection") == Some("close") {
                        client = Client::connect(addr);
                    }
                }
            }));
        }
        load
    }

    /// Waits until so many more requests were answered, and fails when one was not.
    #[track_caller]
    pub fn wait_for(&self, more: usize) {
        let goal = self.answered.load(SeqCst) + more;
        eventually("requests are answered", || {
            let failed = self.clients.iter().any(|client| client.is_finished());
            assert!(!failed, "a request failed");
            self.answered.load(SeqCst) >= goal
        });
    }

    #[track_caller]
    pub fn end(self) {
        self.over.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("every request is answered");
        }
    }
}
