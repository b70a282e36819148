//! The service manager: the sockets that it passes to this process, and the messages that it wants to hear: sockets
//! that it listens on for us (sd_listen_fds(3)), and messages on how we are (sd_notify(3), sd_watchdog_enabled(3)).
//! Without a service manager all of it does nothing.

use std::env;
use std::io;
use std::os::fd::RawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use tracing::warn;

use crate::base::limits;
use crate::base::time::Micros;
use crate::net::{BoundListener, Passed};

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST_PASSED: RawFd = 3;

/// The variables by which a service manager speaks to one process: not for those that it starts itself.
pub const OF_ONE_PROCESS: [&str; 4] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The sockets that a service manager has passed to this process, in the order of its units. Those that do not listen
/// are left where they are, with a warning. To be called once, before anything else opens descriptors.
#[expect(
    unsafe_code,
    reason = "the number of a descriptor says nothing of its owner"
)]
pub fn passed_sockets() -> Vec<Passed> {
    let count = passed_count(|name| env::var(name).ok(), process::id());
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = Vec::new();
    for fd in FIRST_PASSED..FIRST_PASSED + count {
        let name = names.next().unwrap_or_default();
        // SAFETY: the service manager gave it to this process, and nobody has taken it yet.
        match unsafe { BoundListener::adopt_raw(fd) } {
            Ok(socket) => passed.push((socket, None)),
            Err(error) => warn!("the socket {name:?} that was passed cannot be used: {error}"),
        }
    }
    passed
}

fn passed_count(variable: impl Fn(&str) -> Option<String>, pid: u32) -> RawFd {
    let number = |name| variable(name)?.parse::<u32>().ok();
    match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(addressee), Some(count)) if addressee == pid => {
            count.min(limits::ACTIVATED_SOCKETS as u32) as RawFd
        }
        _ => 0,
    }
}

/// Where messages for the service manager go.
#[derive(Debug, Default)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// As the environment says (`NOTIFY_SOCKET`); a place that cannot be spoken to is a warning.
    pub fn from_environment() -> Notifier {
        let place = env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty());
        let to = place.and_then(|place| match open(place.as_bytes()) {
            Ok(to) => Some(to),
            Err(error) => {
                warn!(
                    "cannot speak to the service manager at {}: {error}",
                    place.display()
                );
                None
            }
        });
        Notifier { to }
    }

    /// Reports that everything is started, or that a reload is over; `refused`: why the reload failed. The message
    /// cannot make `systemctl reload` fail: only the exit code of a command such as `palantir reload` can.
    pub fn ready(&self, revision: u64, refused: Option<&str>) {
        let message = match refused {
            None => format!("READY=1\nERRNO=0\nSTATUS=serving, revision {revision}"),
            Some(reason) => {
                // A line break in the reason would begin another variable.
                let reason = reason.replace(|c: char| c.is_control(), " ");
                let invalid = libc::EINVAL;
                format!(
                    "READY=1\nERRNO={invalid}\nSTATUS=the reload was refused: {reason}; serving, revision {revision}"
                )
            }
        };
        self.send(&message);
    }

    /// Reports a `status` for people, while nothing begins or ends.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// A reload begins. The time lets the service manager tell this reload from an earlier one.
    pub fn reloading(&self) {
        let micros = monotonic_micros();
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"
        ));
    }

    /// A stop begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping: running requests may finish");
    }

    /// From now on this process is the service. Only the one that was it before may say so.
    pub fn main_pid(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// Everything is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Never waits: a message that the service manager does not take is lost.
    fn send(&self, message: &str) {
        if let Some((socket, place)) = &self.to {
            let _ = socket.send_to_addr(message.as_bytes(), place);
        }
    }
}

fn open(place: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let place = match place.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(place))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, place))
}

fn monotonic_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// When to tell the service manager that we are alive, and whether we are: every worker must have moved since the last
/// time. Time is an argument.
#[derive(Debug)]
pub struct Watchdog {
    /// Half of the time after which the service manager loses patience.
    every: Duration,
    next: Micros,
    /// The count of each worker at the last look.
    counts: Vec<u64>,
}

impl Watchdog {
    /// As the environment says (`WATCHDOG_USEC`, unless `WATCHDOG_PID` means another process); `None` if nobody
    /// watches.
    pub fn from_environment(now: Micros) -> Option<Watchdog> {
        let every = watch_interval(|name| env::var(name).ok(), process::id())?;
        Some(Watchdog {
            every,
            next: now,
            counts: Vec::new(),
        })
    }

    /// Whether it is time to say that everything is alive, and it is. `counts` has one number per worker, which a live
    /// one raises several times a second.
    pub fn is_due(&mut self, counts: impl Iterator<Item = u64>, now: Micros) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.after(self.every);
        let counts: Vec<u64> = counts.collect();
        let before = std::mem::replace(&mut self.counts, counts);
        before
            .iter()
            .zip(&self.counts)
            .all(|(before, now)| before != now)
    }

    /// When to ask again.
    pub fn next(&self) -> Micros {
        self.next
    }
}

fn watch_interval(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Option<Duration> {
    if variable("WATCHDOG_PID").is_some_and(|addressee| addressee != pid.to_string()) {
        return None;
    }
    let micros: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2).max(limits::SHORTEST_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn among(known: Variables<'_>) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let row = known.iter().find(|(known, _)| *known == name)?;
            Some(row.1.to_owned())
        }
    }

    #[test]
    fn sockets_are_for_the_process_that_they_name() {
        let rows: [(Variables<'_>, RawFd); 7] = [
            (&[], 0),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2")], 2),
            (&[("LISTEN_PID", "8"), ("LISTEN_FDS", "2")], 0),
            (&[("LISTEN_FDS", "2")], 0),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "-1")], 0),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "many")], 0),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "4000000000")], 1024),
        ];
        for (variables, count) in rows {
            assert_eq!(passed_count(among(variables), 7), count, "{variables:?}");
        }
    }

    #[test]
    fn a_watchdog_is_fed_twice_as_often_as_it_wants() {
        let second = Some(Duration::from_secs(1));
        let rows: [(Variables<'_>, Option<Duration>); 6] = [
            (&[], None),
            (&[("WATCHDOG_USEC", "2000000")], second),
            (
                &[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "7")],
                second,
            ),
            (&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "8")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "often")], None),
        ];
        for (variables, every) in rows {
            assert_eq!(watch_interval(among(variables), 7), every, "{variables:?}");
        }
    }

    #[test]
    fn one_stuck_worker_silences_the_watchdog() {
        let second = |second: u64| Micros(second * 1_000_000);
        let mut watchdog = Watchdog {
            every: Duration::from_secs(1),
            next: second(5),
            counts: Vec::new(),
        };
        let mut ask = |counts: [u64; 2], at| watchdog.is_due(counts.into_iter(), second(at));
        assert!(!ask([0, 0], 4), "not yet");
        assert!(ask([0, 0], 5), "nothing to compare with at first");
        assert!(!ask([3, 3], 5), "it was said");
        assert!(ask([9, 9], 6));
        assert!(!ask([20, 9], 7), "the second one stands still");
        assert!(ask([30, 10], 8), "it goes on");
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_a_name() {
        let name = format!("notify-{}", process::id());
        let path = env::temp_dir().join(&name);
        let place = path.to_str().unwrap().to_owned();
        let abstract_place = SocketAddr::from_abstract_name(&name).unwrap();
        let rows = [
            (place, UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}"),
                UnixDatagram::bind_addr(&abstract_place).unwrap(),
            ),
        ];
        for (place, socket) in rows {
            let notifier = Notifier {
                to: Some(open(place.as_bytes()).unwrap()),
            };
            let rows = [
                (None, "READY=1\nERRNO=0\nSTATUS=serving, revision 2"),
                (
                    Some("line 1\nMAINPID=7"),
                    "READY=1\nERRNO=22\nSTATUS=the reload was refused: line 1 MAINPID=7; serving, revision 2",
                ),
            ];
            for (refused, expected) in rows {
                notifier.ready(2, refused);
                let mut bytes = [0; 256];
                let count = socket.recv(&mut bytes).unwrap();
                assert_eq!(&bytes[..count], expected.as_bytes());
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
}
