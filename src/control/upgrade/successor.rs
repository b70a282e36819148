//! The new process, as the old one sees it.

use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::words::{self, ACCEPTING, GO, HERE, MORE, READY, READY_AND_TELLS, STILL_THERE};
use super::{Program, Progress};
use crate::base::limits;
use crate::net::{Handed, Line};
use crate::shared::messages::LeftToDo;

/// Starts a new process, hands over sockets and messages, and waits until the new process is ready. `running` learns of
/// the process.
pub fn prepare(program: &Program, handed: &Handed, running: Running) -> Progress {
    match start(program, handed, running) {
        Ok(successor) => Progress::Ready(successor),
        Err(reason) => Progress::Failed(reason),
    }
}

fn start(program: &Program, handed: &Handed, running: Running) -> Result<Successor, String> {
    program.check()?;
    let (ours, theirs) = Line::pair().map_err(|error| error.to_string())?;
    let child = program
        .command(&theirs)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.path.display()))?;
    drop(theirs);
    let pid = child.id();
    running.keep(child)?;
    let mut successor = Successor {
        pid,
        running,
        line: ours,
        tells: false,
    };
    // If the new process has ended, it may have sent the reason before.
    let sent = successor.line.hand_sockets(&handed.sockets);
    let sent = sent
        .err()
        .filter(|error| error.kind() == io::ErrorKind::TimedOut);
    match sent.map_or_else(|| successor.hear_ready(handed), Err) {
        Ok(Some(word)) if word == READY || word == READY_AND_TELLS => {
            successor.tells = word == READY_AND_TELLS;
            Ok(successor)
        }
        Ok(Some(reason)) => Err(reason),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(too_slow()),
        _ => Err(successor.ended()),
    }
}

fn too_slow() -> String {
    let patience = limits::UPGRADE_SECS;
    format!("the new process was not ready within {patience} s")
}

/// A new process, for as long as it may be ended.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<Life>>);

#[derive(Debug, Default)]
struct Life {
    child: Option<Child>,
    /// Whether the upgrade was abandoned, so that no new process may live.
    is_abandoned: bool,
}

impl Running {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a process that was just started. Errors: the upgrade was abandoned, and the process has been ended.
    fn keep(&self, mut child: Child) -> Result<(), String> {
        let mut life = self.life();
        if !life.is_abandoned {
            life.child = Some(child);
            return Ok(());
        }
        drop(life);
        let _ = child.kill();
        let _ = child.wait();
        Err("the new process was given up".to_owned())
    }

    fn take(&self) -> Option<Child> {
        self.life().child.take()
    }

    /// Whether the process has not ended, as far as this process can know.
    fn is_alive(&self) -> bool {
        let mut life = self.life();
        let ended = life.child.as_mut().map(Child::try_wait);
        matches!(ended, None | Some(Ok(None)))
    }

    /// Ends the process, even if it is only just being started. Another thread waits for its end.
    pub fn abandon(&self) {
        let mut life = self.life();
        life.is_abandoned = true;
        if let Some(child) = life.child.as_mut() {
            let _ = child.kill();
        }
    }
}

/// A new process that is ready to take over. Dropping it ends the process, unless the process has taken over.
#[derive(Debug)]
pub struct Successor {
    /// The process id of the new process.
    pub pid: u32,
    running: Running,
    line: Line,
    /// Whether the new process reports that it accepts.
    tells: bool,
}

impl Successor {
    /// Sends the other messages if the new process asks for them, and returns its next word.
    fn hear_ready(&self, handed: &Handed) -> io::Result<Option<String>> {
        match self.line.hear()? {
            Some(word) if word == MORE => {
                self.line.hand_rest(handed)?;
                self.line.hear()
            }
            word => Ok(word),
        }
    }

    /// Lets the new process accept, and waits until it reports that it does.
    pub fn go(self) -> Progress {
        match self.line.say(GO).and_then(|()| self.hear_accepting()) {
            Ok(Some(word)) if word == HERE => Progress::Accepting(self),
            Ok(Some(reason)) => Progress::Failed(reason),
            Ok(None) => Progress::Failed(self.ended()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let patience = limits::UPGRADE_SECS;
                Progress::Failed(format!(
                    "the new process did not accept within {patience} s"
                ))
            }
            Err(_) => Progress::Failed(self.ended()),
        }
    }

    /// Waits for `accepting`. The new process is asked once more afterwards, because it may have died after it said so.
    fn hear_accepting(&self) -> io::Result<Option<String>> {
        if !self.tells {
            return Ok(Some(HERE.to_owned()));
        }
        match self.line.hear()? {
            Some(word) if word == ACCEPTING => {
                self.line.say(STILL_THERE)?;
                self.line.hear()
            }
            word => Ok(word),
        }
    }

    /// Whether the new process is still there to take over. A process of an earlier version may have closed its end of
    /// the line.
    pub fn is_there(&self) -> bool {
        self.running.is_alive() && !(self.tells && self.line.is_closed())
    }

    /// Lets the new process go on alone, and do what is `left` to do. Errors: how the new process has ended; nothing
    /// was handed over.
    pub fn over(self, left: LeftToDo) -> Result<(), String> {
        if !self.is_there() {
            return Err(self.ended());
        }
        // A process of an earlier version does not listen any more.
        if self.line.say(&words::over(left)).is_err() && self.tells {
            return Err(self.ended());
        }
        self.running.take();
        Ok(())
    }

    /// Ends it, if it has not ended by itself, and tells how it did.
    fn ended(&self) -> String {
        let child = self.running.take();
        let ended = child.map(|mut child| {
            // The new process has closed its end of the line: either it is ending already, or it must end.
            let _ = child.kill();
            child.wait()
        });
        match ended {
            Some(Ok(status)) => format!("the new process ended: {status}"),
            Some(Err(error)) => format!("the new process ended: {error}"),
            None => "the new process ended".to_owned(),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.ended();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::thread;

    use super::*;
    use crate::control::upgrade::Predecessor;

    fn failure_of(program: &str, script: &str) -> String {
        let program = Program {
            path: PathBuf::from(program),
            arguments: vec!["-c".into(), script.into()],
        };
        match prepare(&program, &Handed::default(), Running::default()) {
            Progress::Failed(reason) => reason,
            progress => panic!("{progress:?}"),
        }
    }

    #[test]
    fn the_reason_of_a_failure_is_told() {
        let silent = failure_of("/bin/sh", "exit 7");
        assert!(silent.contains("exit status: 7"), "{silent}");
        let absent = failure_of("/nowhere/palantir", "");
        assert!(absent.contains("/nowhere/palantir"), "{absent}");
    }

    fn pair(listens: bool) -> (Successor, Predecessor) {
        let (ours, line) = Line::pair().unwrap();
        let successor = Successor {
            pid: 0,
            running: Running::default(),
            line: ours,
            tells: listens,
        };
        let line = Arc::new(line);
        (successor, Predecessor { line, listens })
    }

    #[test]
    fn both_sides_agree_on_the_words() {
        let left = LeftToDo {
            reload: true,
            ..LeftToDo::default()
        };
        for (listens, ready) in [(true, READY_AND_TELLS), (false, READY)] {
            let (successor, predecessor) = pair(listens);
            let new = thread::spawn(move || {
                predecessor.wait_for_go().unwrap();
                predecessor.farewell()()
            });
            assert_eq!(successor.line.hear().unwrap().as_deref(), Some(ready));
            match successor.go() {
                Progress::Accepting(successor) => successor.over(left).unwrap(),
                progress => panic!("{progress:?}"),
            }
            let heard = if listens { left } else { LeftToDo::default() };
            assert_eq!(new.join().unwrap(), heard);
        }
    }

    #[test]
    fn a_new_process_that_ends_after_it_has_said_that_it_accepts_is_not_the_service() {
        let (successor, predecessor) = pair(true);
        predecessor.line.say(ACCEPTING).unwrap();
        predecessor.line.say(HERE).unwrap();
        let successor = match successor.go() {
            Progress::Accepting(successor) => successor,
            progress => panic!("{progress:?}"),
        };
        assert!(successor.is_there());
        drop(predecessor);
        assert!(!successor.is_there());
        assert!(successor.over(LeftToDo::default()).is_err());
        let (successor, predecessor) = pair(true);
        predecessor.line.say(ACCEPTING).unwrap();
        drop(predecessor);
        assert!(matches!(successor.go(), Progress::Failed(_)));
    }

    #[test]
    fn what_is_given_up_while_it_is_being_started_is_ended() {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), "exec sleep 1000".into()],
        };
        let running = Running::default();
        running.abandon();
        match prepare(&program, &Handed::default(), running.clone()) {
            Progress::Failed(reason) => assert!(reason.contains("given up"), "{reason}"),
            progress => panic!("{progress:?}"),
        }
        assert!(running.take().is_none());
    }

    #[test]
    fn when_the_old_process_dies_the_new_one_goes_on_if_the_old_one_would_have_said_so() {
        for listens in [true, false] {
            let (successor, predecessor) = pair(listens);
            drop(successor);
            assert_eq!(predecessor.wait_for_go().is_ok(), listens);
        }
    }

    #[test]
    fn a_new_process_that_ends_before_it_accepts_has_failed() {
        let (successor, predecessor) = pair(true);
        drop(predecessor);
        assert!(matches!(successor.go(), Progress::Failed(_)));
    }
}
