//! The listening sockets. The workers accept on duplicates; the ones kept here stay open as long as their address is
//! listened on, whatever becomes of a worker, and can be handed to another process.

use std::io;
use std::time::{Duration, Instant};

use crate::base::addresses::{ListenAddr, ServerKind, SocketAccess};
use crate::net::{self, BoundListener, Inherited};

/// Every address that is listened on, with at least one socket for each worker: the one at place `n` is for worker
/// `n % workers`.
#[derive(Debug)]
pub struct Listeners {
    workers: usize,
    sockets: Vec<(ListenAddr, Vec<BoundListener>)>,
}

impl Listeners {
    /// Nothing yet, for so many workers.
    pub fn new(workers: usize) -> Listeners {
        Listeners {
            workers,
            sockets: Vec::new(),
        }
    }

    /// Listens at those of `places` that have no listener yet. For addresses that another process has, waits up to
    /// `patience` in all. Errors: the first address that cannot be bound, and why; no new listener is kept then.
    pub fn bind_missing(
        &self,
        places: &[(ListenAddr, SocketAccess)],
        patience: Duration,
    ) -> Result<Listeners, String> {
        let mut added = Listeners::new(self.workers);
        let until = Instant::now() + patience;
        for place in places {
            let addr = &place.0;
            if self.has(addr) || added.has(addr) {
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let bound = net::bind_for_all(place, self.workers, left)
                .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
            added.sockets.push((addr.clone(), bound));
        }
        Ok(added)
    }

    /// Takes the sockets of `places` that were passed to this process, instead of binding them. Errors: the first
    /// address that cannot be shared among the workers, and why.
    pub fn take_passed(
        &mut self,
        places: &[(ListenAddr, SocketAccess)],
        passed: &mut Inherited,
    ) -> Result<(), String> {
        net::may_allow(places)?;
        for (addr, _) in places {
            let sockets = passed.take(addr, ServerKind::Proxy);
            if sockets.is_empty() {
                continue;
            }
            let cannot = |error| format!("cannot take over {addr}: {error}");
            let sockets = net::share_out(sockets, self.workers).map_err(cannot)?;
            debug_assert!(!self.has(addr), "sockets are passed to one listener");
            self.sockets.push((addr.clone(), sockets));
        }
        Ok(())
    }

    /// Duplicates of one worker's sockets: of an address that was taken over there may be several. Errors: no
    /// descriptors left.
    pub fn of_worker(&self, worker: usize) -> io::Result<Vec<BoundListener>> {
        debug_assert!(worker < self.workers);
        let of_addr = |(_, sockets): &'_ (_, Vec<BoundListener>)| {
            let own = sockets.iter().skip(worker).step_by(self.workers);
            own.map(BoundListener::try_clone).collect::<Vec<_>>()
        };
        self.sockets.iter().flat_map(of_addr).collect()
    }

    /// Duplicates of all sockets, of each address in the order of the workers. Errors: no descriptors left.
    pub fn duplicates(&self) -> io::Result<Vec<BoundListener>> {
        let all = self.sockets.iter().flat_map(|(_, sockets)| sockets);
        all.map(BoundListener::try_clone).collect()
    }

    /// Keeps these too.
    pub fn add(&mut self, more: Listeners) {
        debug_assert!(
            more.addrs().all(|addr| !self.has(addr)),
            "an address is listened on once"
        );
        self.sockets.extend(more.sockets);
    }

    /// Closes the sockets without waiting for a disk: see [`net::close`].
    pub fn close(self) {
        let sockets = self.sockets.into_iter();
        net::close(sockets.flat_map(|(_, sockets)| sockets).collect());
    }

    /// Removes the sockets of addresses that are not among `addrs`, and returns them. Dropping them closes them and
    /// removes their files, which may wait for a disk.
    #[must_use = "the sockets are to be closed"]
    pub fn keep_only(&mut self, addrs: &[ListenAddr]) -> Listeners {
        let gone = self
            .sockets
            .extract_if(.., |(addr, _)| !addrs.contains(addr));
        Listeners {
            workers: self.workers,
            sockets: gone.collect(),
        }
    }

    /// The addresses, in the order in which they came.
    pub fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.sockets.iter().map(|(addr, _)| addr)
    }

    fn has(&self, addr: &ListenAddr) -> bool {
        self.addrs().any(|known| known == addr)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use super::*;

    /// An address that nobody listens on, and that no other call returns. The address is of this test process alone,
    /// and the port lies below those that the kernel gives to outgoing connections and to listeners without a port.
    fn free() -> ListenAddr {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let pid = std::process::id().to_be_bytes();
        let ip = [127, 1 + pid[1] % 250, pid[2], 1 + pid[3] % 250];
        loop {
            let port = NEXT.fetch_add(1, Relaxed);
            assert!(port < 32_768, "the ports of this test process are used up");
            let addr = SocketAddr::from((ip, port));
            // Somebody may listen on this port of every address.
            if TcpListener::bind(addr).is_ok() {
                return ListenAddr::Tcp(addr);
            }
        }
    }

    fn places(addrs: &[ListenAddr]) -> Vec<(ListenAddr, SocketAccess)> {
        let access = SocketAccess::of_mode(0o600);
        addrs.iter().map(|addr| (addr.clone(), access)).collect()
    }

    fn listens(addr: &ListenAddr) -> bool {
        match addr {
            ListenAddr::Tcp(addr) => TcpStream::connect(addr).is_ok(),
            ListenAddr::Unix(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        }
    }

    #[test]
    fn addresses_come_stay_and_go() {
        let path = std::env::temp_dir().join(format!("palantir-l-{}.sock", std::process::id()));
        let addrs = [free(), free(), ListenAddr::Unix(path.clone())];
        let mut listeners = Listeners::new(3);
        let first = listeners
            .bind_missing(&places(&addrs[..1]), Duration::ZERO)
            .unwrap();
        listeners.add(first);
        let more = listeners
            .bind_missing(&places(&addrs), Duration::ZERO)
            .unwrap();
        assert!(more.addrs().eq(&addrs[1..]), "the first one stays as it is");
        listeners.add(more);
        assert!(addrs.iter().all(listens));
        for worker in 0..3 {
            assert_eq!(listeners.of_worker(worker).unwrap().len(), 3);
        }
        let gone = listeners.keep_only(&addrs[1..2]);
        assert!(gone.addrs().eq([&addrs[0], &addrs[2]]));
        drop(gone);
        assert_eq!(addrs.each_ref().map(listens), [false, true, false]);
        assert!(!path.exists());
    }

    #[test]
    fn passed_sockets_are_taken_and_every_one_has_a_worker() {
        let addrs = [free(), free()];
        let mut before = Listeners::new(3);
        before.add(
            before
                .bind_missing(&places(&addrs), Duration::ZERO)
                .unwrap(),
        );
        let passed = before.duplicates().unwrap().into_iter();
        let mut passed = Inherited::new(passed.map(|socket| (socket, None)).collect());
        drop(before);
        let mut listeners = Listeners::new(2);
        listeners
            .take_passed(&places(&addrs[..1]), &mut passed)
            .unwrap();
        assert_eq!(passed.next_left().unwrap().0, addrs[1]);
        let missing = listeners.bind_missing(&places(&addrs[..1]), Duration::ZERO);
        assert_eq!(missing.unwrap().addrs().count(), 0);
        let counters = [0, 1].map(|worker| listeners.of_worker(worker).unwrap().len());
        assert_eq!(counters, [2, 1]);
        assert_eq!(listeners.duplicates().unwrap().len(), 3);
    }

    #[test]
    fn an_address_that_is_taken_is_named_and_costs_the_others_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken: SocketAddr = listener.local_addr().unwrap();
        let other = free();
        let addrs = [other.clone(), ListenAddr::Tcp(taken)];
        let refusal = Listeners::new(2).bind_missing(&places(&addrs), Duration::ZERO);
        let text = refusal.unwrap_err();
        assert!(text.contains(&taken.to_string()), "{text}");
        assert!(!listens(&other), "nothing is kept of what was bound before");
    }
}
