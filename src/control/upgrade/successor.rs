//! The new process, as the old one sees it.

use std::io;
use std::process::Child;

use super::{GO, Outcome, Program, READY};
use crate::base::limits;
use crate::net::{Handed, Line};

/// Starts a new process, hands it what it is to have, and waits until it is ready.
pub fn prepare(program: &Program, handed: &Handed) -> Outcome {
    let (ours, theirs) = Line::pair().map_err(|error| error.to_string())?;
    let child = program
        .command(&theirs)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.path.display()))?;
    drop(theirs);
    let mut successor = Successor {
        child: Some(child),
        line: ours,
    };
    let sent = successor.line.hand(handed);
    if let Err(error) = sent.as_ref()
        && error.kind() == io::ErrorKind::TimedOut
    {
        return Err(too_slow());
    }
    match (successor.line.hear(), sent) {
        (Ok(Some(word)), Ok(())) if word == READY => Ok(successor),
        (Ok(Some(reason)), _) => Err(reason),
        (Err(error), _) if error.kind() == io::ErrorKind::TimedOut => Err(too_slow()),
        _ => Err(format!("the new process ended: {}", successor.end())),
    }
}

fn too_slow() -> String {
    let patience = limits::UPGRADE_SECS;
    format!("the new process was not ready within {patience} s")
}

/// A new process that is ready to take over. Unless it is told to go, it is ended when this is dropped.
#[derive(Debug)]
pub struct Successor {
    child: Option<Child>,
    line: Line,
}

impl Successor {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Lets it take over; from now on it accepts. Errors: it has ended meanwhile; nothing has changed.
    pub fn go(mut self) -> Result<(), String> {
        match self.line.say(GO) {
            Ok(()) => {
                self.child = None;
                Ok(())
            }
            Err(_) => Err(format!("the new process ended: {}", self.end())),
        }
    }

    /// Ends it, if it has not ended by itself, and tells how it did.
    fn end(&mut self) -> String {
        let Some(mut child) = self.child.take() else {
            return String::new();
        };
        // It has closed its end of the line: either it is ending already, or it must.
        let _ = child.kill();
        child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::thread;

    use super::*;
    use crate::control::upgrade::Predecessor;

    fn outcome_of(script: &str) -> Outcome {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
        };
        prepare(&program, &Handed::default())
    }

    #[test]
    fn the_reason_of_a_failure_is_told() {
        let silent = outcome_of("exit 7").unwrap_err();
        assert!(silent.contains("exit status: 7"), "{silent}");
        let program = Program {
            path: PathBuf::from("/nowhere/palantir"),
            arguments: Vec::new(),
        };
        let absent = prepare(&program, &Handed::default()).unwrap_err();
        assert!(absent.contains("/nowhere/palantir"), "{absent}");
    }

    #[test]
    fn both_sides_agree_on_the_words() {
        let (ours, theirs) = Line::pair().unwrap();
        let new = thread::spawn(move || Predecessor { line: theirs }.wait_for_go());
        assert_eq!(ours.hear().unwrap().as_deref(), Some(READY));
        let successor = Successor {
            child: None,
            line: ours,
        };
        successor.go().unwrap();
        assert_eq!(new.join().unwrap(), Ok(()));
        let (ours, theirs) = Line::pair().unwrap();
        drop(ours);
        let old_has_gone = Predecessor { line: theirs }.wait_for_go();
        assert!(old_has_gone.unwrap_err().contains("let go"));
    }
}
