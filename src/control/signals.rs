//! The signals that the program handles. Users of other proxies know them, and each has the meaning that most proxies
//! give it.

use std::fs::File;
use std::io;

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// A signal, as the control thread understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, SIGTERM or SIGQUIT, with the signal's name.
    Stop(&'static str),
    /// SIGHUP: the configuration file was changed, or log files were moved away.
    HangUp,
    /// SIGUSR1: log files were moved away.
    Reopen,
    /// SIGUSR2: hand over to a new process of the binary.
    Upgrade,
    /// SIGWINCH: take no new clients.
    StopAccepting,
}

/// Signals that end a start at once.
pub(super) const ENDS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];
/// Signals that wait until the start is over.
const WAITS: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];
/// Some proxies (HAProxy) pause and resume accepting at these signals, and by default the kernel stops a process at
/// them.
const IGNORED: [libc::c_int; 2] = [libc::SIGTTIN, libc::SIGTTOU];

/// Blocks the signals until [`Signals::let_in`]: otherwise one that comes while the program starts would kill it. The
/// first thread calls this before it starts others, which inherit the mask and leave all signals to the first.
pub fn hold_signals() {
    mask_signals(libc::SIG_BLOCK);
    for number in IGNORED {
        // SAFETY: a plain call that cannot fail for these signals.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}

fn mask_signals(how: libc::c_int) {
    let set = set_of(ENDS.iter().chain(&WAITS));
    // SAFETY: a plain call with a live set; it cannot fail with these arguments.
    unsafe {
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// The signals of these numbers as a set.
pub(super) fn set_of<'a>(numbers: impl IntoIterator<Item = &'a libc::c_int>) -> libc::sigset_t {
    // SAFETY: plain calls with a live set; they cannot fail for signals that there are.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in numbers {
            libc::sigaddset(&raw mut set, *number);
        }
        set
    }
}

/// All of them. As long as this exists, and after it, none has its default effect.
#[derive(Debug)]
pub struct Signals {
    interrupt: Listener,
    terminate: Listener,
    quit: Listener,
    hang_up: Listener,
    user_1: Listener,
    user_2: Listener,
    /// `None`: SIGWINCH comes from a terminal that has changed its size, and is ignored.
    window: Option<Listener>,
}

impl Signals {
    /// Installs the handlers; blocked signals wait for [`Signals::let_in`]. Errors: no descriptors are left.
    pub fn take() -> io::Result<Signals> {
        let window = || signal(SignalKind::window_change());
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            window: (!has_terminal()).then(window).transpose()?,
        })
    }

    /// Unblocks the signals on this thread.
    pub fn let_in(&self) {
        mask_signals(libc::SIG_UNBLOCK);
    }

    /// The next one. May be dropped while it waits.
    pub async fn next(&mut self) -> Signal {
        let window = async {
            match &mut self.window {
                Some(window) => window.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.quit.recv() => Signal::Stop("SIGQUIT"),
            _ = self.hang_up.recv() => Signal::HangUp,
            _ = self.user_1.recv() => Signal::Reopen,
            _ = self.user_2.recv() => Signal::Upgrade,
            _ = window => Signal::StopAccepting,
        }
    }
}

/// Whether this process belongs to a terminal, which sends SIGWINCH whenever its size changes.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_taken_instead_of_having_their_effect() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut signals = Signals::take().unwrap();
            let window = signal(SignalKind::window_change()).unwrap();
            signals.window = Some(window); // Also where the tests run in a terminal.
            let rows = [
                (libc::SIGINT, Signal::Stop("SIGINT")),
                (libc::SIGTERM, Signal::Stop("SIGTERM")),
                (libc::SIGQUIT, Signal::Stop("SIGQUIT")),
                (libc::SIGHUP, Signal::HangUp),
                (libc::SIGUSR1, Signal::Reopen),
                (libc::SIGUSR2, Signal::Upgrade),
                (libc::SIGWINCH, Signal::StopAccepting),
            ];
            for (number, expected) in rows {
                // SAFETY: sends a signal to this process, which has just taken it.
                assert_eq!(unsafe { libc::raise(number) }, 0);
                assert_eq!(signals.next().await, expected);
            }
        });
    }
}
