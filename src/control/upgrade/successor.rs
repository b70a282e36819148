//! The new process, as the old one sees it.

use std::io;
use std::sync::Arc;

use super::messages::{self, ACCEPTING, GO, HERE, MORE, READY, READY_AND_TELLS, STILL_THERE};
use super::running::Running;
use super::{CacheHandover, HealthReport, Program, UpgradeStep};
use crate::base::limits;
use crate::messages::LeftToDo;
use crate::net::{Handed, HandoverLine};

/// The parts of this process whose news the new process is told at the last moment.
#[derive(Debug)]
pub struct LastWords {
    /// The health thread.
    pub health: HealthReport,
    /// The cache.
    pub cache: CacheHandover,
}

/// Starts a new process, hands over sockets and messages, and waits until the new process is ready. `last`
/// is asked at the last moment. `running` learns of the process.
pub fn prepare(
    program: &Program,
    handed: Handed,
    last: &LastWords,
    running: Running,
) -> UpgradeStep {
    match start(program, handed, last, running) {
        Ok(successor) => UpgradeStep::Ready(successor),
        Err(reason) => UpgradeStep::Failed(reason),
    }
}

fn start(
    program: &Program,
    handed: Handed,
    last: &LastWords,
    running: Running,
) -> Result<Successor, String> {
    program.check()?;
    let (ours, theirs) = HandoverLine::pair().map_err(|error| error.to_string())?;
    let line = Arc::new(ours);
    running.begin(&line)?;
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
        line,
        cache: last.cache.clone(),
        tells: false,
    };
    // If the new process has ended, it may have sent the reason before.
    let sent = successor.line.hand_sockets(&handed.sockets);
    let sent = sent
        .err()
        .filter(|error| error.kind() == io::ErrorKind::TimedOut);
    match sent.map_or_else(|| successor.hear_ready(handed, last), Err) {
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

/// A new process that is ready to take over. Dropping it ends the process, unless the process has taken over.
#[derive(Debug)]
pub struct Successor {
    /// The process id of the new process.
    pub pid: u32,
    running: Running,
    line: Arc<HandoverLine>,
    cache: CacheHandover,
    /// Whether the new process reports that it accepts.
    tells: bool,
}

impl Successor {
    /// Sends the other messages if the new process asks for them, and returns its next word.
    fn hear_ready(&self, mut handed: Handed, last: &LastWords) -> io::Result<Option<String>> {
        match self.line.hear()? {
            Some(word) if word == MORE => {
                handed.blobs.extend(last.health.to_blob());
                last.cache.hand(&mut handed);
                self.line.hand_rest(&handed)?;
                self.line.hear()
            }
            word => Ok(word),
        }
    }

    /// Lets the new process accept, and waits until it reports that it does.
    pub fn go(self) -> UpgradeStep {
        if let Err(reason) = self.running.let_go() {
            return UpgradeStep::Failed(reason);
        }
        match self.line.say(GO).and_then(|()| self.hear_accepting()) {
            Ok(Some(word)) if word == HERE => UpgradeStep::Accepting(self),
            Ok(Some(reason)) => {
                // The new process ends by itself, after its requests, which the cache may answer.
                self.cache.leave_to_reader();
                let cache = self.cache.clone();
                self.running.leave(move || cache.reader_has_ended());
                UpgradeStep::Failed(reason)
            }
            Ok(None) => UpgradeStep::Failed(self.ended()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let patience = limits::UPGRADE_SECS;
                UpgradeStep::Failed(format!(
                    "the new process did not accept within {patience} s"
                ))
            }
            Err(_) => UpgradeStep::Failed(self.ended()),
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
        if self.line.say(&messages::over(left)).is_err() && self.tells {
            return Err(self.ended());
        }
        self.running.release();
        Ok(())
    }

    /// Ends it, if it has not ended by itself, and tells how it did.
    fn ended(&self) -> String {
        if self.running.may_finish() {
            return "the new process was told to end".to_owned();
        }
        let child = self.running.release();
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
    use std::os::fd::BorrowedFd;
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::net::sockopt::{Timeout, set_socket_timeout};

    use super::*;
    use crate::control::upgrade::Predecessor;
    use crate::control::upgrade::messages::{GIVEN_UP, STOPPING};
    use crate::shared::mailbox::mailbox;

    /// The report of a health thread that is not there.
    fn nobody() -> LastWords {
        LastWords {
            health: HealthReport::of(mailbox(1).unwrap().0),
            cache: CacheHandover::default(),
        }
    }

    fn failure_of(program: &str, script: &str) -> String {
        let program = Program {
            path: PathBuf::from(program),
            arguments: vec!["-c".into(), script.into()],
        };
        match prepare(&program, Handed::default(), &nobody(), Running::default()) {
            UpgradeStep::Failed(reason) => reason,
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

    /// All that the predecessor gives to `over`, until it has nothing more to say.
    fn await_end(predecessor: &Predecessor, is_stopping: bool) -> Vec<LeftToDo> {
        let mut all = Vec::new();
        predecessor.await_end(Arc::new(is_stopping.into()))(&mut |left| all.push(left));
        all
    }

    fn pair(listens: bool) -> (Successor, Predecessor) {
        let (ours, line) = HandoverLine::pair().unwrap();
        let successor = Successor {
            pid: 0,
            running: Running::default(),
            line: Arc::new(ours),
            cache: CacheHandover::default(),
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
                await_end(&predecessor, false)
            });
            assert_eq!(successor.line.hear().unwrap().as_deref(), Some(ready));
            match successor.go() {
                UpgradeStep::Accepting(successor) => successor.over(left).unwrap(),
                progress => panic!("{progress:?}"),
            }
            let heard = if listens { left } else { LeftToDo::default() };
            assert_eq!(new.join().unwrap(), [heard]);
        }
    }

    #[test]
    fn an_old_process_that_was_silent_for_long_still_hears_of_the_new_one() {
        let (successor, predecessor) = pair(true);
        let soon = Some(Duration::from_millis(1));
        // SAFETY: the line has this descriptor, and lives longer.
        #[expect(
            unsafe_code,
            reason = "the line gives away its descriptor as a number alone"
        )]
        let line = unsafe { BorrowedFd::borrow_raw(predecessor.line.raw()) };
        set_socket_timeout(line, Timeout::Recv, soon).unwrap();
        let (told, tells) = mpsc::channel();
        let new = thread::spawn(move || {
            let stopping = Arc::default();
            predecessor.await_end(stopping)(&mut |left| told.send(left).unwrap());
        });
        assert_eq!(tells.recv(), Ok(LeftToDo::default()), "it is the service");
        let left = LeftToDo {
            reopen: true,
            ..LeftToDo::default()
        };
        let heard = successor.hear_accepting().unwrap();
        assert_eq!(heard.as_deref(), Some(HERE));
        successor.over(left).unwrap();
        assert_eq!(tells.recv(), Ok(left));
        new.join().unwrap();
        assert!(tells.recv().is_err(), "that is said once");
    }

    #[test]
    fn a_new_process_that_stops_itself_is_not_the_service() {
        let (successor, predecessor) = pair(true);
        let new = thread::spawn(move || await_end(&predecessor, true));
        let heard = successor.hear_accepting().unwrap();
        assert_eq!(heard.as_deref(), Some(STOPPING));
        assert_eq!(new.join().unwrap(), []);
    }

    #[test]
    fn a_process_that_first_runs_when_it_was_given_up_and_the_old_one_is_gone_ends() {
        let (ours, line) = HandoverLine::pair().unwrap();
        let running = Running::default();
        running.begin(&Arc::new(ours)).unwrap();
        running.abandon();
        drop(running);
        let line = Arc::new(line);
        let reason = Predecessor {
            line,
            listens: true,
        }
        .handed()
        .unwrap_err();
        assert!(reason.contains("given up"), "{reason}");
        // One that has said something that nobody has read.
        let (successor, predecessor) = pair(true);
        successor.line.say(GIVEN_UP).unwrap();
        predecessor.line.say(MORE).unwrap();
        drop(successor);
        let reason = predecessor.wait_for_go().unwrap_err();
        assert!(reason.contains("given up"), "{reason}");
    }

    #[test]
    fn a_new_process_that_ends_after_it_has_said_that_it_accepts_is_not_the_service() {
        let (successor, predecessor) = pair(true);
        predecessor.line.say(ACCEPTING).unwrap();
        predecessor.line.say(HERE).unwrap();
        let successor = match successor.go() {
            UpgradeStep::Accepting(successor) => successor,
            progress => panic!("{progress:?}"),
        };
        assert!(successor.is_there());
        drop(predecessor);
        assert!(!successor.is_there());
        assert!(successor.over(LeftToDo::default()).is_err());
        let (successor, predecessor) = pair(true);
        predecessor.line.say(ACCEPTING).unwrap();
        drop(predecessor);
        assert!(matches!(successor.go(), UpgradeStep::Failed(_)));
    }

    #[test]
    fn what_is_given_up_while_it_is_being_started_is_ended() {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), "exec sleep 1000".into()],
        };
        let running = Running::default();
        running.abandon();
        match prepare(&program, Handed::default(), &nobody(), running.clone()) {
            UpgradeStep::Failed(reason) => assert!(reason.contains("given up"), "{reason}"),
            progress => panic!("{progress:?}"),
        }
        assert!(running.release().is_none());
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
        assert!(matches!(successor.go(), UpgradeStep::Failed(_)));
    }
}
