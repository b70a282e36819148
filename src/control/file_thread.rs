//! The thread that does the control thread's work that may wait for a disk or a pipe, or takes long: reading and
//! writing files, checking and compiling configurations. The control thread starts one piece of work at a time and goes
//! on. A piece of work that stands still for too long is given up, so that neither the API nor a signal ever waits for
//! a disk. A large configuration on a busy machine is not given up, because the processor time of the thread shows that
//! the work goes on.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::base::cpu_time::CpuTime;
use crate::base::file_at_work::FileAtWork;
use crate::base::limits;
use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::control::compiler::Compiler;

type Work = Box<dyn FnOnce(&mut Compiler) + Send>;

/// The present work of the thread, for threads that only report it.
#[derive(Clone, Debug, Default)]
pub struct FileProgress {
    /// The present piece of work and when it began.
    work: Arc<Mutex<Option<(Job, Micros)>>>,
    /// The file that the thread is reading, writing or checking.
    file: FileAtWork,
}

impl FileProgress {
    fn set(&self, job: Option<(Job, Micros)>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    /// Names the piece of work that takes too long, as a text; `None`: no piece of work is late.
    pub fn complaint(&self, now: Micros) -> Option<String> {
        let doing = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let (job, since) = doing.as_ref()?;
        let secs = now.since(*since) / 1_000_000;
        (secs >= limits::FILE_SECS).then(|| {
            let doing = job.doing();
            let path = self.file.path();
            let path = path.map(|path| format!(" ({})", path.display()));
            let path = path.unwrap_or_default();
            format!("{doing} has not ended for {secs} s{path}")
        })
    }
}

/// The thread, as the control thread sees it.
pub struct FileThread {
    work: Sender<Work>,
    thread: JoinHandle<()>,
    /// The processor time that the thread has used.
    worked: CpuTime,
    progress: FileProgress,
    under_way: Option<UnderWay>,
    /// The number of the latest piece of work.
    number: u64,
}

/// A piece of work that was started and has not ended.
struct UnderWay {
    job: Job,
    since: Micros,
    /// The time of the last observed progress, and the processor time of the thread by then.
    seen: (Micros, Duration),
    /// How the piece of work was given up, if it was.
    given_up: Option<GivenUp>,
}

/// A piece of work, shared by the control thread and the thread that does it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The number of the piece of work, which no other has.
    pub number: u64,
    doing: Arc<Mutex<String>>,
    fate: Arc<AtomicU8>,
}

/// The work may still be given up without a trace.
const OPEN: u8 = 0;
/// The work is writing something that lasts.
const COMMITTED: u8 = 1;
/// The work must leave no trace.
const WITHDRAWN: u8 = 2;

impl Job {
    fn new(number: u64) -> Job {
        Job {
            number,
            doing: Arc::default(),
            fate: Arc::new(AtomicU8::new(OPEN)),
        }
    }

    /// Notes what the thread does from now on, for the report if it never ends: `reading /etc/palantir.toml`.
    pub fn note(&self, doing: impl Into<String>) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing.into();
    }

    /// Returns whether the work may write something that lasts: true if it was not given up. From then on it can no
    /// longer be given up without a trace.
    pub fn commit(&self) -> bool {
        self.settle(COMMITTED)
    }

    fn withdraw(&self) -> bool {
        self.settle(WITHDRAWN)
    }

    fn settle(&self, fate: u8) -> bool {
        debug_assert!(fate != OPEN, "a job is settled for good");
        match self.fate.compare_exchange(OPEN, fate, SeqCst, SeqCst) {
            Ok(_) => true,
            Err(settled) => settled == fate,
        }
    }

    fn doing(&self) -> String {
        let doing = self.doing.lock();
        doing.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a piece of work was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// The work will leave no trace.
    Withdrawn,
    /// The work was writing something that lasts: its result still counts.
    Committed,
}

impl FileThread {
    /// Starts the thread, which alone compiles configurations from now on. Errors: no thread can be started.
    pub fn start(mut compiler: Compiler) -> io::Result<FileThread> {
        let (work, pieces) = bounded::<Work>(limits::FILE_WORK);
        let progress = FileProgress::default();
        let file = progress.file.clone();
        let run = move || {
            file.follow_this_thread();
            for piece in pieces {
                panic_on_demand("files");
                piece(&mut compiler);
            }
        };
        let thread = thread::Builder::new().name("files".to_owned()).spawn(run)?;
        Ok(FileThread {
            work,
            worked: CpuTime::of(&thread),
            thread,
            progress,
            under_way: None,
            number: 0,
        })
    }

    /// The progress of the thread.
    pub fn progress(&self) -> FileProgress {
        self.progress.clone()
    }

    /// Whether the thread has ended, because a piece of work has panicked.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether a piece of work can be started, because none is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Starts a piece of work and returns its number. No other may be under way. `work` delivers its result itself.
    pub fn begin(
        &mut self,
        now: Micros,
        work: impl FnOnce(&mut Compiler, &Job) + Send + 'static,
    ) -> u64 {
        debug_assert!(self.is_idle(), "one piece of work at a time");
        self.number += 1;
        let job = Job::new(self.number);
        self.progress.set(Some((job.clone(), now)));
        let done_there = job.clone();
        // The queue has room: discarded values leave a place free.
        let _ = self
            .work
            .try_send(Box::new(move |compiler| work(compiler, &done_there)));
        self.under_way = Some(UnderWay {
            job,
            since: now,
            seen: (now, self.worked.read()),
            given_up: None,
        });
        self.number
    }

    /// Notes that the piece of work of this number has ended. Returns whether its result counts.
    pub fn note_end(&mut self, number: u64) -> bool {
        debug_assert!(number <= self.number, "only work that was begun ends");
        let ended = self.under_way.take_if(|work| work.job.number == number);
        if ended.is_some() {
            self.progress.set(None);
        }
        ended.is_some_and(|work| work.given_up != Some(GivenUp::Withdrawn))
    }

    /// When to check the progress of the piece of work under way. `None`: no piece of work is under way.
    pub fn deadline(&self) -> Option<Micros> {
        let work = self.under_way.as_ref();
        let work = work.filter(|work| work.given_up.is_none())?;
        let at_most = work
            .since
            .after(Duration::from_secs(limits::FILE_MOST_SECS));
        let still = work.seen.0.after(Duration::from_secs(limits::FILE_SECS));
        Some(still.min(at_most))
    }

    /// Whether the piece of work under way must be given up: it stands still, or takes too long altogether.
    pub fn is_overdue(&mut self, now: Micros) -> bool {
        let is_over = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.deadline())
            && let Some(work) = &mut self.under_way
        {
            let worked = self.worked.read();
            if worked >= work.seen.1 + Duration::from_millis(limits::FILE_WORKED_MILLIS) {
                work.seen = (now, worked);
            }
        }
        is_over(self.deadline())
    }

    /// The end of the wait for the piece of work under way, if it was given up and its result still counts.
    pub fn committed_until(&self) -> Option<Micros> {
        let work = self.under_way.as_ref();
        let work = work.filter(|work| work.given_up == Some(GivenUp::Committed))?;
        Some(work.since.after(Duration::from_secs(limits::FILE_SECS)))
    }

    /// Gives up the piece of work under way, if there is one.
    pub fn give_up(&mut self) -> Option<GivenUp> {
        let work = self.under_way.as_mut()?;
        let given_up = if work.job.withdraw() {
            GivenUp::Withdrawn
        } else {
            GivenUp::Committed
        };
        work.given_up = Some(given_up);
        Some(given_up)
    }

    /// Names the piece of work that takes too long; see [`FileProgress::complaint`].
    pub fn complaint(&self, now: Micros) -> Option<String> {
        self.progress.complaint(now)
    }

    /// Drops a value on the thread, because dropping a large one takes a while.
    pub fn discard(&self, thing: impl Send + 'static) {
        // If the queue has no room, the value is dropped here. The last place in the queue is for work.
        if self.work.len() + 1 < limits::FILE_WORK {
            let _ = self.work.try_send(Box::new(move |_| drop(thing)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    fn thread() -> FileThread {
        FileThread::start(Compiler::of_test(1)).unwrap()
    }

    fn at(secs: u64) -> Micros {
        Micros(secs * 1_000_000)
    }

    #[test]
    fn work_that_takes_too_long_is_given_up_and_leaves_no_trace() {
        let mut thread = thread();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (told, tells) = mpsc::channel();
        let number = thread.begin(at(1), move |_, job| {
            job.note("reading /srv/file");
            goes_on.recv().unwrap();
            told.send(job.commit()).unwrap();
        });
        assert!(!thread.is_idle());
        assert_eq!(thread.complaint(at(1)), None);
        assert_eq!(thread.deadline(), Some(at(1 + limits::FILE_SECS)));
        assert!(!thread.is_overdue(at(limits::FILE_SECS)));
        assert!(thread.is_overdue(at(1 + limits::FILE_SECS)));
        assert_eq!(thread.give_up(), Some(GivenUp::Withdrawn));
        assert_eq!(thread.deadline(), None);
        go_on.send(()).unwrap();
        assert!(!tells.recv().unwrap(), "it may not commit any more");
        let complaint = thread.complaint(at(9)).unwrap();
        assert_eq!(complaint, "reading /srv/file has not ended for 8 s");
        assert!(!thread.note_end(number), "its result does not count");
        assert!(thread.is_idle());
    }

    #[test]
    fn work_that_goes_on_is_given_more_time() {
        let mut thread = thread();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        thread.begin(at(0), move |_, _| while !ends.load(SeqCst) {});
        let before = thread.worked.read();
        let long = Duration::from_millis(limits::FILE_WORKED_MILLIS);
        while thread.worked.read() < before + long {
            thread::yield_now();
        }
        assert!(!thread.is_overdue(at(limits::FILE_SECS)));
        assert_eq!(thread.deadline(), Some(at(2 * limits::FILE_SECS)));
        assert!(thread.is_overdue(at(limits::FILE_MOST_SECS)));
        is_over.store(true, SeqCst);
    }

    #[test]
    fn work_that_has_committed_counts() {
        let mut thread = thread();
        let (told, tells) = mpsc::channel();
        let number = thread.begin(at(0), move |_, job| told.send(job.commit()).unwrap());
        assert!(tells.recv().unwrap());
        assert_eq!(thread.committed_until(), None);
        assert_eq!(thread.give_up(), Some(GivenUp::Committed));
        assert_eq!(thread.committed_until(), Some(at(limits::FILE_SECS)));
        assert!(!thread.note_end(number - 1), "another piece of work");
        assert!(thread.note_end(number));
        assert_eq!(thread.complaint(at(100)), None);
    }

    #[test]
    fn what_is_discarded_is_dropped_by_the_thread() {
        struct Tells(mpsc::Sender<Option<String>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().name().map(str::to_owned));
            }
        }
        let (told, tells) = mpsc::channel();
        thread().discard(Tells(told));
        assert_eq!(tells.recv().unwrap().as_deref(), Some("files"));
    }
}
