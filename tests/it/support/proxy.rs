//! The built binary as a process, with a configuration and an address of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::client::{Answer, Client};
use super::place::{Directory, free_addr};
use super::{eventually, process};

/// A running proxy; ended when dropped, whatever the test's outcome.
pub struct Proxy {
    pub addr: SocketAddr,
    pub directory: Directory,
    /// Where its management API is said to listen.
    admin: Option<String>,
    child: Child,
    log: Arc<Mutex<String>>,
    /// Whether `log` is filled, and with more than errors.
    logs_to_this_process: bool,
}

/// The binary under test.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palantir"));
    for name in [
        "PALANTIR_CONFIG",
        "REVERSE_PROXY_CONFIG_PATH",
        "PALANTIR_ADMIN",
        "PALANTIR_TOKEN",
        "PALANTIR_CA",
        "PALANTIR_CERT",
        "PALANTIR_KEY",
        "PALANTIR_NAME",
        "PALANTIR_CLEARTEXT_TOKEN",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    end_with_this_thread(&mut command);
    command
}

/// Makes the kernel end the process when the test's thread ends, should nothing else do so.
pub fn end_with_this_thread(command: &mut Command) {
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Lets the process have so many descriptors and no more.
pub fn descriptors(command: &mut Command, count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(move || {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            Ok(())
        });
    }
}

/// Runs the binary to its end and gives back what it said.
pub fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("run palantir")
}

impl Proxy {
    /// Starts the proxy and waits until it accepts. `config` is what the file says below `listen_addr`; `{dir}` in it
    /// stands for the proxy's directory.
    #[track_caller]
    pub fn start(config: &str) -> Proxy {
        Proxy::start_as(command(), config)
    }

    /// Starts a proxy by a command that differs: in its environment, its bounds, its namespace.
    #[track_caller]
    pub fn start_as(command: Command, config: &str) -> Proxy {
        let addr = free_addr();
        let config = format!("listen_addr = \"{addr}\"\n{config}");
        let proxy = Proxy::launch(command, addr, &config);
        proxy.wait_until_it_accepts();
        proxy
    }

    /// Starts the proxy with a listener of these settings.
    #[track_caller]
    pub fn with_listener(listener: &str, config: &str) -> Proxy {
        let addr = free_addr();
        let config = format!("{config}\n[[listeners]]\naddr = \"{addr}\"\n{listener}\n");
        let proxy = Proxy::launch(command(), addr, &config);
        proxy.wait_until_it_accepts();
        proxy
    }

    /// A proxy with one route for everything.
    #[track_caller]
    pub fn to(backends: &[SocketAddr]) -> Proxy {
        Proxy::start(&route("/", backends))
    }

    /// Starts the process and waits for nothing.
    #[track_caller]
    pub fn launch(command: Command, addr: SocketAddr, config: &str) -> Proxy {
        Proxy::launch_logging_to(Stdio::piped(), command, addr, config)
    }

    /// Launches with this standard error. The log can be read only if that is a new pipe.
    #[track_caller]
    pub fn launch_logging_to(
        standard_error: Stdio,
        mut command: Command,
        addr: SocketAddr,
        config: &str,
    ) -> Proxy {
        let directory = Directory::new();
        let path = write_config(&directory, config);
        let admin = admin_of(&fs::read_to_string(&path).unwrap());
        let is_quiet = command
            .get_envs()
            .any(|(name, level)| name == "RUST_LOG" && level.is_some());
        let mut child = command
            .arg("--config")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(standard_error)
            .spawn()
            .expect("start palantir");
        let log = Arc::new(Mutex::new(String::new()));
        let logs_to_this_process = child.stderr.is_some() && !is_quiet;
        if let Some(stderr) = child.stderr.take() {
            let writer = log.clone();
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    writer.lock().unwrap().push_str(&(line + "\n"));
                }
            });
        }
        Proxy {
            addr,
            directory,
            admin,
            child,
            log,
            logs_to_this_process,
        }
    }

    /// Waits until the start is over: clients and the management API, if there is one, are accepted, and so is
    /// everything else that is to listen, as the log says last, where this process can read it.
    #[track_caller]
    pub fn wait_until_it_accepts(&self) {
        eventually("the proxy accepts", || {
            let running = fs::read_to_string(format!("/proc/{}/stat", self.pid()));
            let running = running.is_ok_and(|stat| !stat.contains(") Z "));
            assert!(running, "the proxy ended at its start:\n{}", self.log());
            let says_so = !self.logs_to_this_process || self.log().contains(" workers on ");
            says_so
                && TcpStream::connect(self.addr).is_ok()
                && self.admin.as_deref().is_none_or(accepts)
        });
    }

    /// Replaces the whole configuration file and has it reloaded. Returns when the outcome is in the log.
    #[track_caller]
    pub fn reload(&self, config: &str) {
        write_config(&self.directory, config);
        let is_outcome = |line: &&str| line.contains("audit=") && line.contains("SIGHUP");
        let outcomes = || self.log().lines().filter(is_outcome).count();
        let before = outcomes();
        self.signal(libc::SIGHUP);
        eventually("the reload has an outcome", || outcomes() > before);
    }

    /// Puts another configuration in the place of its file, `config` being what it says below `listen_addr`, and has it
    /// reloaded by the management API at `admin`, which answers when the configuration is in force on every worker.
    #[track_caller]
    pub fn reload_everywhere(&self, admin: SocketAddr, config: &str) {
        let config = format!("listen_addr = \"{}\"\n{config}", self.addr);
        self.directory.write("config.toml", &config);
        let request = format!(
            "POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        );
        // A machine that lets the reload wait for too long answers 503, so that it is asked for again.
        let mut answer = Client::connect(admin).ask(&request);
        eventually("the reload is decided", || {
            let is_decided = answer.status() != 503;
            if !is_decided {
                answer = Client::connect(admin).ask(&request);
            }
            is_decided
        });
        assert_eq!(answer.status(), 200, "{answer:?}");
    }

    /// Lets the process have this many descriptors more than it has now.
    #[track_caller]
    pub fn leave_descriptors(&self, more: u64) {
        let count = || {
            let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
            descriptors.unwrap().count() as u64
        };
        // Some threads may still be starting.
        let now = super::when_still(count);
        let limit = libc::rlimit {
            rlim_cur: now + more,
            rlim_max: now + more,
        };
        let (pid, unwanted) = (self.pid() as i32, std::ptr::null_mut());
        // SAFETY: sets a limit of a live child from a live struct.
        let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, unwanted) };
        assert_eq!(done, 0, "prlimit");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sends one request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.client().ask(request)
    }

    /// The lines that the proxy has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log holds a line with all of these words.
    #[track_caller]
    pub fn wait_for_log(&self, words: &[&str]) {
        self.wait_for_log_times(words, 1);
    }

    /// Waits until the log holds this many lines with all of these words.
    #[track_caller]
    pub fn wait_for_log_times(&self, words: &[&str], times: usize) {
        eventually(&format!("{times} log lines with {words:?}"), || {
            let log = self.log();
            let lines = log.lines();
            lines
                .filter(|line| words.iter().all(|word| line.contains(word)))
                .count()
                >= times
        });
    }

    /// Waits until the access log, at `{dir}/access.log`, has this many lines, and gives them.
    #[track_caller]
    pub fn access_lines(&self, count: usize) -> Vec<String> {
        let path = self.access_log_path();
        let mut lines = Vec::new();
        eventually(&format!("{count} lines in the access log"), || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            lines = complete.lines().map(str::to_owned).collect();
            lines.len() >= count
        });
        lines
    }

    pub fn access_log_path(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: plain system call on a child that was not waited for yet.
        let done = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(done, 0, "kill");
    }

    /// Has the process stand still, and waits until all of its threads do.
    #[track_caller]
    pub fn stand_still(&self) {
        process::stop(self.pid() as i32);
    }

    pub fn go_on(&self) {
        process::go_on(self.pid() as i32);
    }

    /// Waits until the process ends by itself and gives its exit code.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> i32 {
        let mut code = None;
        eventually("the proxy ends", || {
            code = self.child.try_wait().expect("wait");
            code.is_some()
        });
        let status = code.unwrap();
        status.code().unwrap_or_else(|| panic!("ended by {status}"))
    }

    /// Asks the proxy to stop and gives its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(libc::SIGTERM);
        self.wait_for_exit()
    }

    /// The most physical memory that the process has used so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// The physical memory that the process uses now, in bytes.
    pub fn resident_memory(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        }
    }
}

/// The address of the management API in a configuration.
fn admin_of(config: &str) -> Option<String> {
    let (_, admin) = config.split_once("[admin]\nlisten_addr = \"")?;
    admin.split('"').next().map(str::to_owned)
}

/// Whether somebody listens at an address, or at a path behind `unix:`.
fn accepts(addr: &str) -> bool {
    match addr.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).is_ok(),
        None => TcpStream::connect(addr).is_ok(),
    }
}

fn write_config(directory: &Directory, config: &str) -> PathBuf {
    let config = config.replace("{dir}", directory.path().to_str().unwrap());
    directory.write("config.toml", &config)
}

/// A route of the short form, to which further settings can be appended.
pub fn route(prefix: &str, backends: &[SocketAddr]) -> String {
    format!(
        "[[routes]]\nprefix = {prefix:?}\nbackend_addrs = {}\n",
        list(backends)
    )
}

/// Addresses as a TOML list.
pub fn list(addrs: &[SocketAddr]) -> String {
    let texts: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
    format!("[{}]", texts.join(", "))
}
