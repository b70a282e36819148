//! A proxy with files of every kind, which can be killed and started anew on the same files and addresses.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::traffic::{Traffic, exchange, is_served};
use crate::support::odd_authority::{Given, OddAuthority};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list};
use crate::support::shim::{Disk, Names};
use crate::support::tls::{Authority, BOTH, Dialer};
use crate::support::{Origin, Proxy, eventually};

pub const TOKEN: &str = "0123456789abcdef";

/// Everything that outlives the processes: files, addresses, and the machine's disk.
pub struct Place {
    pub files: Directory,
    pub disk: Disk,
    pub origin: Origin,
    /// Backends that may be added; the origin answers at these addresses, too.
    pub added: [SocketAddr; 2],
    _others: [Origin; 2],
    authority: Authority,
    /// The listener's latest certificate.
    newest: Mutex<Option<CertificateDer<'static>>>,
    /// The authority of [`Place::config_with_order`].
    odd: OddAuthority,
    names: Names,
    automatic: SocketAddr,
    addr: SocketAddr,
    admin: SocketAddr,
    tls: SocketAddr,
}

impl Place {
    pub fn new() -> Place {
        let others = [(); 2].map(|()| Origin::saying("served"));
        let odd = OddAuthority::start(Given::Certificate("a.example", 0, 90 * 86_400));
        let place = Place {
            names: Names::new(&odd.name_line()),
            odd,
            automatic: free_addr(),
            files: Directory::new(),
            disk: Disk::new(),
            origin: Origin::saying("served"),
            added: others.each_ref().map(|origin| origin.addr),
            _others: others,
            authority: Authority::new(),
            newest: Mutex::default(),
            addr: free_addr(),
            admin: free_addr(),
            tls: free_addr(),
        };
        place.files.write("token", &format!("{TOKEN}\n"));
        // The path of the program goes through a link, which an upgrade checks.
        symlink(env!("CARGO_BIN_EXE_palantir"), place.program()).unwrap();
        // A link of the machine's owner is kept.
        fs::create_dir(place.files.path().join("kept")).unwrap();
        symlink("kept/state.json", place.state_file()).unwrap();
        place.renew();
        place
    }

    fn program(&self) -> PathBuf {
        self.files.path().join("palantir")
    }

    fn state_file(&self) -> PathBuf {
        self.files.path().join("state.json")
    }

    /// Writes another certificate into the file of the listener.
    pub fn renew(&self) {
        let pair = self.authority.issue(&["a.example"]);
        pair.write(&self.files, "a");
        *self.newest.lock().unwrap() = Some(pair.der());
    }

    /// The configuration, with a number that the API shows and that tells it from others.
    pub fn config(&self, number: u32) -> String {
        let (addr, admin, tls) = (self.addr, self.admin, self.tls);
        let dir = self.files.path().display();
        format!(
            "listen_addr = \"{addr}\"\nworkers = 1\n\
             [admin]\nlisten_addr = \"{admin}\"\nstate_file = \"{dir}/state.json\"\ntoken_file = \"{dir}/token\"\n\
             [access_log]\npath = \"{dir}/access.log\"\n\
             [tls]\nticket_key_file = \"{dir}/tickets\"\n\
             [[listeners]]\naddr = \"unix:{dir}/front.sock\"\n\
             [[listeners]]\naddr = \"{tls}\"\n\
             tls = {{ certificates = [{{ cert = \"{dir}/a.crt\", key = \"{dir}/a.key\" }}] }}\n\
             [[routes]]\npool = \"api\"\n[[pools]]\nname = \"api\"\nbackends = {}\n\
             outlier = {{ eject_secs = {number} }}\n",
            list(&[self.origin.addr])
        )
    }

    /// The configuration of [`Place::config`] with one more listener, for which a certificate is ordered.
    pub fn config_with_order(&self) -> String {
        let (addr, dir) = (self.automatic, self.files.path().display());
        let acme = self.odd.section_in(&format!("{dir}/acme"));
        let tls = "tls = { automatic = [\"a.example\"] }";
        self.config(1) + &format!("{acme}[[listeners]]\naddr = \"{addr}\"\n{tls}\n")
    }

    /// Starts the proxy without waiting for it.
    #[track_caller]
    pub fn launch(&self) -> World<'_> {
        let mut command = command();
        command.arg0(self.program());
        self.disk.apply(&mut command);
        self.names.apply(&mut command);
        World {
            proxy: Proxy::launch(command, self.addr, &self.config(1)),
            place: self,
        }
    }

    /// Starts the proxy and waits until it accepts.
    #[track_caller]
    pub fn start(&self) -> World<'_> {
        let world = self.launch();
        world.proxy.wait_until_it_accepts();
        world
    }
}

/// A running proxy, and the processes that have taken over from it. Dropping it kills all of them.
pub struct World<'a> {
    pub proxy: Proxy,
    pub place: &'a Place,
}

impl World<'_> {
    /// The answer of the management API: status and text. `None`: the connection ended before.
    #[track_caller]
    pub fn say(&self, line: &str, body: &str) -> Option<(u16, String)> {
        let fields = format!(
            "Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
             Connection: close\r\n"
        );
        let request = format!(
            "{line} HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(self.place.admin, &request).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1;
        Some((status, body.to_owned()))
    }

    /// The content of a resource; `None`: the API does not answer.
    #[track_caller]
    pub fn shown(&self, path: &str) -> Option<Value> {
        let (status, text) = self.say(&format!("GET {path}"), "")?;
        assert_eq!(status, 200, "{path}: {text}");
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Whether the pool has this backend.
    #[track_caller]
    pub fn has(&self, addr: SocketAddr) -> Option<bool> {
        let servers = self.shown("/servers?pool=api")?;
        let mut servers = servers["servers"].as_array()?.iter();
        Some(servers.any(|server| server["addr"] == addr.to_string()))
    }

    /// The number of the configuration in force.
    #[track_caller]
    pub fn number(&self) -> Option<f64> {
        self.shown("/pools/api")?["outlier"]["eject_secs"].as_f64()
    }

    /// Whether clients see the certificate that was written last; `None`: the API does not answer.
    pub fn shows_newest(&self) -> Option<bool> {
        self.say("GET /health", "")?;
        let newest = self.place.newest.lock().unwrap().clone();
        let dialer = Dialer::new(&self.place.authority, BOTH);
        let stream = dialer.connect(self.place.tls, "a.example").ok()?;
        Some(
            stream
                .conn
                .peer_certificates()
                .map(|shown| shown[0].clone())
                == newest,
        )
    }

    /// Whether clients see a certificate that was ordered; `None`: the API does not answer.
    pub fn shows_ordered(&self) -> Option<bool> {
        self.say("GET /health", "")?;
        let dialer = Dialer::new(self.place.odd.issuer(), BOTH);
        Some(dialer.connect(self.place.automatic, "a.example").is_ok())
    }

    /// The API answers, and requests are answered.
    #[track_caller]
    pub fn is_well(&self) {
        let (status, text) = self.say("GET /health", "").expect("the API answers");
        assert!([200, 503].contains(&status), "{status} {text}");
        self.is_served().expect("requests are answered");
    }

    pub fn is_served(&self) -> std::io::Result<()> {
        is_served(self.place.addr)
    }

    /// The changes that the API acknowledged before are in force.
    #[track_caller]
    pub fn has_kept_all(&self) {
        let state = fs::symlink_metadata(self.place.state_file()).unwrap();
        assert!(state.is_symlink(), "a link is replaced");
        assert_eq!(
            self.has(self.place.added[0]),
            Some(true),
            "an addition is lost"
        );
    }

    /// Waits until the start has failed or succeeded, and returns whether it has succeeded.
    #[track_caller]
    pub fn settles(&self) -> bool {
        eventually("the start comes to an end", || {
            self.has_ended() || self.say("GET /health", "").is_some()
        });
        !self.has_ended()
    }

    /// Whether the first process has ended.
    pub fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.proxy.pid()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    /// Asks the process to stop, and waits until it has ended.
    #[track_caller]
    pub fn stops(&self) {
        self.proxy.signal(libc::SIGTERM);
        eventually("it ends when it is asked to", || self.has_ended());
    }

    pub fn traffic(&self) -> Traffic {
        Traffic::on(self.place.addr)
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let config = self.proxy.directory.path().join("config.toml");
        let config = config.to_str().unwrap();
        for folder in fs::read_dir("/proc").unwrap().flatten() {
            let pid = folder
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let line = fs::read(folder.path().join("cmdline")).unwrap_or_default();
            if let Some(pid) = pid
                && String::from_utf8_lossy(&line).contains(config)
            {
                // SAFETY: plain system call on a process of this test.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        let gone = || TcpStream::connect(self.place.addr).is_err();
        if !thread::panicking() {
            eventually("nobody listens", gone);
        }
    }
}
