//! The new process, as the old one sees it.

use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ACCEPTING, GO, MORE, OVER, Program, Progress, READY, READY_AND_TELLS};
use crate::base::limits;
use crate::net::{Handed, Line};

/// Starts a new process, hands it what it is to have, and waits until it is ready. `running` gets to know it.
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
    running.child().replace(child);
    let mut successor = Successor {
        pid,
        running,
        line: ours,
        tells: false,
    };
    // If the new process has ended, it may have said why before.
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

/// A new process for as long as it may be ended.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<Option<Child>>>);

impl Running {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it; somebody else waits for its end.
    pub fn kill(&self) {
        if let Some(child) = self.child().as_mut() {
            let _ = child.kill();
        }
    }
}

/// A new process that is ready to take over. Unless it has, it is ended when this is dropped.
#[derive(Debug)]
pub struct Successor {
    /// Its process id.
    pub pid: u32,
    running: Running,
    line: Line,
    /// It says when it accepts.
    tells: bool,
}

impl Successor {
    /// Tells it what else there is to tell if it asks, and gives what it says then.
    fn hear_ready(&self, handed: &Handed) -> io::Result<Option<String>> {
        match self.line.hear()? {
            Some(word) if word == MORE => {
                self.line.hand_blobs(&handed.blobs)?;
                self.line.hear()
            }
            word => Ok(word),
        }
    }

    /// Lets it accept, and waits until it says that it does.
    pub fn go(self) -> Progress {
        match self.line.say(GO).and_then(|()| self.hear_accepting()) {
            Ok(true) => Progress::Accepting(self),
            Ok(false) => Progress::Failed(self.ended()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let patience = limits::UPGRADE_SECS;
                Progress::Failed(format!(
                    "the new process did not accept within {patience} s"
                ))
            }
            Err(_) => Progress::Failed(self.ended()),
        }
    }

    fn hear_accepting(&self) -> io::Result<bool> {
        match self.tells {
            true => Ok(self.line.hear()?.is_some_and(|word| word == ACCEPTING)),
            false => Ok(true),
        }
    }

    /// Lets it go on alone.
    pub fn over(self) {
        self.running.child().take();
        // It may have ended by now, or be of an earlier version, which does not listen.
        let _ = self.line.say(OVER);
    }

    /// Ends it, if it has not ended by itself, and tells how it did.
    fn ended(&self) -> String {
        let child = self.running.child().take();
        let ended = child.map(|mut child| {
            // It has closed its end of the line: either it is ending already, or it must.
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
        for (listens, ready) in [(true, READY_AND_TELLS), (false, READY)] {
            let (successor, predecessor) = pair(listens);
            let new = thread::spawn(move || {
                predecessor.wait_for_go().unwrap();
                predecessor.farewell()();
            });
            assert_eq!(successor.line.hear().unwrap().as_deref(), Some(ready));
            match successor.go() {
                Progress::Accepting(successor) => successor.over(),
                progress => panic!("{progress:?}"),
            }
            new.join().unwrap();
        }
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
