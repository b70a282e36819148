//! A proxy and the processes that took over from it, one after the other.

use std::collections::VecDeque;
use std::fs;
use std::process::Command;
use std::sync::Once;

use super::proxy::{Proxy, command};
use super::{eventually, place::free_addr};

/// A proxy that upgrades itself. All of its processes are ended when it is dropped.
pub struct Lineage {
    pub proxy: Proxy,
    /// The processes after the first, oldest first.
    successors: VecDeque<i32>,
    upgrades: usize,
    first_has_ended: bool,
}

impl Lineage {
    /// Starts the first process and waits until it accepts; see [`Proxy::start`].
    #[track_caller]
    pub fn start(config: &str) -> Lineage {
        Lineage::start_as(command(), config)
    }

    /// Starts the first process by a command that differs.
    #[track_caller]
    pub fn start_as(command: Command, config: &str) -> Lineage {
        let addr = free_addr();
        let config = format!("listen_addr = \"{addr}\"\n{config}");
        let lineage = Lineage::launch(command, addr, &config);
        lineage.proxy.wait_until_it_accepts();
        lineage
    }

    /// Starts the first process and waits for nothing.
    #[track_caller]
    pub fn launch(command: Command, addr: std::net::SocketAddr, config: &str) -> Lineage {
        static ADOPT: Once = Once::new();
        // A process whose parent has ended becomes this one's child, which can then wait for it.
        // SAFETY: sets an attribute of this process.
        ADOPT.call_once(|| unsafe {
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        });
        Lineage {
            proxy: Proxy::launch(command, addr, config),
            successors: VecDeque::new(),
            upgrades: 0,
            first_has_ended: false,
        }
    }

    /// Replaces what stands in the configuration file.
    pub fn write_config(&self, config: &str) {
        self.proxy.directory.write("config.toml", config);
    }

    pub fn config(&self) -> String {
        fs::read_to_string(self.proxy.directory.path().join("config.toml")).unwrap()
    }

    /// The newest process.
    pub fn pid(&self) -> i32 {
        *self.successors.back().unwrap_or(&(self.proxy.pid() as i32))
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: plain system call on a process that was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "kill");
    }

    /// Hands over to a new process, and waits until it is in charge.
    #[track_caller]
    pub fn upgrade(&mut self) {
        self.signal(libc::SIGUSR2);
        self.note_upgrade();
    }

    /// Asks for an upgrade, waits until it has failed or succeeded, and returns whether it has succeeded.
    #[track_caller]
    pub fn try_to_upgrade(&mut self) -> bool {
        let count = |words: &str| {
            let log = self.proxy.log();
            log.lines().filter(|line| line.contains(words)).count()
        };
        let failed = count("the upgrade failed");
        self.signal(libc::SIGUSR2);
        eventually("the upgrade has come to an end", || {
            count("the upgrade failed") > failed
                || count("another process has taken over") > self.upgrades
        });
        let has_succeeded = count("another process has taken over") > self.upgrades;
        if has_succeeded {
            self.note_upgrade();
        }
        has_succeeded
    }

    /// Waits until the new process that somebody asked for is in charge.
    #[track_caller]
    pub fn note_upgrade(&mut self) {
        self.upgrades += 1;
        let taken = "another process has taken over";
        self.proxy.wait_for_log_times(&[taken], self.upgrades);
        let log = self.proxy.log();
        let line = log.lines().rfind(|line| line.contains(taken)).unwrap();
        let pid = line.split("pid=").nth(1).expect("a pid in the log");
        let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
        self.successors.push_back(pid.parse().unwrap());
    }

    /// Asks for an upgrade that must fail, and waits until the log says so with all of these words.
    #[track_caller]
    pub fn fail_to_upgrade(&self, words: &[&str]) {
        self.signal(libc::SIGUSR2);
        let words = [&["the upgrade failed"], words].concat();
        self.proxy.wait_for_log(&words);
    }

    /// Waits until every process but the newest has ended by itself, in good order.
    #[track_caller]
    pub fn wait_for_elders(&mut self) {
        if self.successors.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.first_has_ended, true) {
            assert_eq!(self.proxy.wait_for_exit(), 0, "the first process");
        }
        while self.successors.len() > 1 {
            let pid = self.successors.pop_front().unwrap();
            assert_eq!(wait_for(pid), 0, "process {pid}");
        }
    }

    /// Waits until the first process ends by itself, and gives its exit code.
    #[track_caller]
    pub fn stop_of_first(&mut self) -> i32 {
        self.first_has_ended = true;
        self.proxy.wait_for_exit()
    }

    /// Ends the newest process in good order and gives its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.wait_for_elders();
        match self.successors.pop_back() {
            None => self.proxy.stop(),
            Some(pid) => {
                // SAFETY: plain system call on a process that was not waited for yet.
                unsafe { libc::kill(pid, libc::SIGTERM) };
                wait_for(pid)
            }
        }
    }
}

/// Waits until a process ends by itself, which must be this one's child by then, and gives its exit code.
#[track_caller]
fn wait_for(pid: i32) -> i32 {
    let mut status = 0;
    eventually(&format!("process {pid} ends"), || {
        // SAFETY: plain system call with a live argument.
        unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) == pid }
    });
    assert!(libc::WIFEXITED(status), "process {pid} ended by a signal");
    libc::WEXITSTATUS(status)
}

impl Drop for Lineage {
    fn drop(&mut self) {
        for &pid in &self.successors {
            // SAFETY: plain system call on a process that was not waited for yet. It becomes this one's child when the
            // one before it ends, and is waited for by nobody, which does no harm.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}
