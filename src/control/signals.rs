//! The signals that the program takes.

use std::io;

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// A signal, as the control thread understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM; the name.
    Stop(&'static str),
    /// SIGHUP: the configuration file was changed, or log files were moved away.
    HangUp,
    /// SIGUSR2: hand over to a new process of the binary.
    Upgrade,
}

/// Keeps signals waiting until [`Signals::take`]: without it, one that comes while the program starts would end it the
/// hard way. For the first thread, before it starts others, which then leave all signals to it.
pub fn hold_signals() {
    mask_signals(libc::SIG_BLOCK);
}

fn mask_signals(how: libc::c_int) {
    // SAFETY: plain calls with a live set; they cannot fail with these arguments.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR2] {
            libc::sigaddset(&mut set, number);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

/// All of them. As long as this exists, and after it, none has its default effect.
#[derive(Debug)]
pub struct Signals {
    interrupt: Listener,
    terminate: Listener,
    hang_up: Listener,
    user_2: Listener,
}

impl Signals {
    /// Takes the signals from now on. Errors: no descriptors left.
    pub fn take() -> io::Result<Signals> {
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user_2: signal(SignalKind::user_defined2())?,
        };
        mask_signals(libc::SIG_UNBLOCK);
        Ok(signals)
    }

    /// The next one. May be dropped while it waits.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.hang_up.recv() => Signal::HangUp,
            _ = self.user_2.recv() => Signal::Upgrade,
        }
    }
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
            let rows = [
                (libc::SIGINT, Signal::Stop("SIGINT")),
                (libc::SIGTERM, Signal::Stop("SIGTERM")),
                (libc::SIGHUP, Signal::HangUp),
                (libc::SIGUSR2, Signal::Upgrade),
            ];
            for (number, expected) in rows {
                // SAFETY: sends a signal to this process, which has just taken it.
                assert_eq!(unsafe { libc::raise(number) }, 0);
                assert_eq!(signals.next().await, expected);
            }
        });
    }
}
