//! A new process, for as long as the old one may end it.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::messages::GIVEN_UP;
use crate::base::limits;
use crate::net::HandoverLine;

/// One new process, shared by all threads that deal with it.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<Life>>);

#[derive(Debug, Default)]
struct Life {
    /// The line to a new process that is just being started and has no known id yet.
    line: Option<Arc<HandoverLine>>,
    child: Option<Child>,
    /// Whether the upgrade was abandoned, so that no new process may live.
    is_abandoned: bool,
    /// Whether the new process was let go, so that clients' requests may run in it.
    was_let_go: bool,
}

impl Running {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a process is about to be started with the other end of this line. Errors: the upgrade was abandoned.
    pub fn begin(&self, line: &Arc<HandoverLine>) -> Result<(), String> {
        let mut life = self.life();
        if life.is_abandoned {
            return Err(given_up());
        }
        debug_assert!(life.child.is_none(), "a process is started once");
        life.line = Some(line.clone());
        Ok(())
    }

    /// Takes a process that was just started. Errors: the upgrade was abandoned, and the process has been ended.
    pub fn keep(&self, mut child: Child) -> Result<(), String> {
        let mut life = self.life();
        life.line = None;
        if !life.is_abandoned {
            debug_assert!(life.child.is_none(), "a process is started once");
            life.child = Some(child);
            return Ok(());
        }
        drop(life);
        let _ = child.kill();
        let _ = child.wait();
        Err(given_up())
    }

    /// Notes that the process is about to be let go. Errors: the upgrade was abandoned.
    pub fn let_go(&self) -> Result<(), String> {
        let mut life = self.life();
        debug_assert!(!life.was_let_go, "a process lets go once");
        life.was_let_go = !life.is_abandoned;
        life.was_let_go.then_some(()).ok_or_else(given_up)
    }

    /// Gives the process up: only the process itself ends it from now on.
    pub fn release(&self) -> Option<Child> {
        self.life().child.take()
    }

    /// Leaves a process alone that stops by itself, with requests that may still run. This process waits for its end
    /// only if the upgrade was abandoned. `ended` is called when the process has ended, if this process goes on.
    pub fn leave(&self, ended: impl FnOnce() + Send + 'static) {
        let mut life = self.life();
        let child = if life.is_abandoned {
            None
        } else {
            life.child.take()
        };
        if let Some(mut child) = child {
            // Without a thread, its entry stays in the system's table of processes until this process ends.
            let named = thread::Builder::new().name("upgrade".to_owned());
            let _ = named.spawn(move || {
                let _ = child.wait();
                ended();
            });
        }
    }

    /// Whether the process has not ended, as far as this process can know.
    pub fn is_alive(&self) -> bool {
        let mut life = self.life();
        let ended = life.child.as_mut().map(Child::try_wait);
        matches!(ended, None | Some(Ok(None)))
    }

    /// Has the process end, even if it is only just being started, because this process stops. A process that may have
    /// requests gets time for them; see [`Running::ended_well`].
    pub fn abandon(&self) {
        let mut life = self.life();
        let is_first = !std::mem::replace(&mut life.is_abandoned, true);
        if !is_first {
            return;
        }
        if let Some(line) = &life.line {
            // The word stays on the line, for a process that first runs when this one is gone.
            let _ = line.say_at_once(GIVEN_UP);
        }
        let was_let_go = life.was_let_go;
        match &mut life.child {
            Some(child) if was_let_go => signal(child, Signal::TERM),
            Some(child) => drop(child.kill()),
            None => {}
        }
    }

    /// Whether the process was told to end and has time for its requests.
    pub fn may_finish(&self) -> bool {
        let life = self.life();
        life.is_abandoned && life.was_let_go
    }

    /// Waits until the process has ended after [`Running::abandon`]. Returns whether it cut no request.
    pub async fn ended_well(&self) -> bool {
        let pause = Duration::from_millis(limits::UPGRADE_END_PAUSE_MILLIS);
        loop {
            match self.life().child.as_mut().map(Child::try_wait) {
                None => return true,
                Some(Ok(None)) => {}
                Some(ended) => return ended.is_ok_and(|status| status.is_some_and(is_good)),
            }
            sleep(pause).await;
        }
    }

    /// Ends it at once.
    pub fn kill(&self) {
        if let Some(child) = &mut self.life().child {
            let _ = child.kill();
        }
    }
}

fn is_good(status: ExitStatus) -> bool {
    status.success()
}

fn given_up() -> String {
    "the new process was given up".to_owned()
}

/// Sends a signal to a child that has not been waited for: the id of such a child is not another process's yet.
fn signal(child: &mut Child, signal: Signal) {
    if matches!(child.try_wait(), Ok(None)) {
        let _ = kill_process(Pid::from_child(child), signal); // A child that has just ended needs no signal.
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sleeping(script: &str) -> Running {
        let running = Running::default();
        let mut command = Command::new("/bin/sh");
        running
            .keep(command.args(["-c", script]).spawn().unwrap())
            .unwrap();
        running
    }

    /// Whether it ended well.
    fn wait(running: &Running) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(running.ended_well())
    }

    #[test]
    fn only_what_was_let_go_has_time_to_end_and_says_how_it_ended() {
        let not_let_go = sleeping("exec sleep 1000");
        not_let_go.abandon();
        assert!(!not_let_go.may_finish());
        assert!(not_let_go.let_go().is_err());
        assert!(!wait(&not_let_go), "it was killed");
        for (code, is_good) in [(0, true), (1, false)] {
            let running = sleeping(&format!("exit {code}"));
            while running.is_alive() {
                thread::yield_now();
            }
            running.let_go().unwrap();
            running.abandon();
            assert!(running.may_finish());
            // The process says by itself that it is stopping, too.
            running.leave(|| ());
            running.abandon();
            assert_eq!(wait(&running), is_good);
        }
        let left = sleeping("exit 1");
        left.let_go().unwrap();
        left.leave(|| ());
        left.abandon();
        assert!(wait(&left), "nobody waits for it");
    }
}
