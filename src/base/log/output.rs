//! The thread that writes the program's log.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Message, Queue, keep};
use crate::base::limits;
use crate::base::panic_on_demand::panic_on_demand;

/// Writes some of the bytes to standard error, without the lock of the standard library: no other thread may ever wait
/// for a write that does not end.
pub fn standard_error(bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(io::stderr().as_fd(), bytes)?)
}

/// Writes some of the bytes to standard error if that does not block.
pub fn write_at_once(bytes: &[u8]) {
    let error = io::stderr();
    let mut ready = [PollFd::new(&error, PollFlags::OUT)];
    let at_once = Timespec::default();
    if poll(&mut ready, Some(&at_once)).is_ok_and(|ready| ready > 0) {
        // A pipe that poll(2) reports as writable takes this many bytes without blocking (pipe(7)).
        let most = bytes.len().min(libc::PIPE_BUF);
        let _ = standard_error(&bytes[..most]);
    }
}

/// The destination of the lines, and the result of the last writes.
pub struct Output<W> {
    write: W,
    /// Whether the last line was written in part.
    torn: bool,
    /// Whether the last write succeeded.
    works: bool,
    /// The number of lost lines that was reported last, and when.
    told: u64,
    told_at: Option<Instant>,
}

impl<W: FnMut(&[u8]) -> io::Result<usize>> Output<W> {
    pub fn new(write: W) -> Output<W> {
        Output {
            write,
            torn: false,
            works: true,
            told: 0,
            told_at: None,
        }
    }

    /// Writes lines until no thread can log any more.
    pub fn write_forever(&mut self, queue: &Queue, messages: &Receiver<Message>) {
        let pause = Duration::from_millis(limits::LOG_LOSS_PAUSE_MILLIS);
        loop {
            panic_on_demand("log");
            // The latest losses are reported even if no line follows.
            let message = if self.has_untold(queue) {
                messages.recv_timeout(pause)
            } else {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let mut is_end = false;
            match message {
                Ok(Message::Line(line)) => self.take(queue, &line),
                Ok(Message::Flush(done)) => {
                    self.tell_losses(queue);
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_end = true,
            }
            let recently = self.told_at.is_some_and(|told| told.elapsed() < pause);
            if !recently || is_end {
                self.tell_losses(queue);
            }
            if is_end {
                return;
            }
        }
    }

    fn take(&mut self, queue: &Queue, line: &[u8]) {
        if self.write_line(line).is_err() {
            queue.lose();
        }
        queue.note_moved();
        queue.waiting.fetch_sub(line.len(), Relaxed);
    }

    /// Writes one line as a whole. Errors: the line, or a part of it, is lost.
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.works = false;
        if self.torn {
            self.write_all(b"\n")?;
            self.torn = false;
        }
        self.write_all(line)?;
        self.works = true;
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match (self.write)(&bytes[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    debug_assert!(count <= bytes.len() - written);
                    written += count;
                    self.torn = bytes[written - 1] != b'\n';
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process with the same standard error has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(limits::LOG_RETRY_MILLIS));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn has_untold(&self, queue: &Queue) -> bool {
        self.works && queue.lost.load(Relaxed) > self.told
    }

    /// Reports the number of lines that were lost since the last report, once lines can be written again.
    fn tell_losses(&mut self, queue: &Queue) {
        if !self.has_untold(queue) {
            return;
        }
        let lost = queue.lost.load(Relaxed);
        let lines = lost - self.told;
        let line = keep(|| {
            tracing::warn!(
                lines,
                "standard error could not be written to: log lines were lost"
            );
        });
        if self.write_line(&line).is_ok() {
            self.told = lost;
            self.told_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn what_cannot_be_written_is_counted_and_a_torn_line_spoils_no_other() {
        let (queue, _messages) = Queue::new();
        let written = RefCell::new(Vec::new());
        let answers = RefCell::new(Vec::<io::Result<usize>>::new());
        let mut output = Output::new(|bytes: &[u8]| {
            let count = answers.borrow_mut().pop().unwrap_or(Ok(bytes.len()))?;
            written.borrow_mut().extend_from_slice(&bytes[..count]);
            Ok(count)
        });
        let broken = || Err(ErrorKind::BrokenPipe.into());
        let rows = [
            (vec![], "one\n", "one\n", 0),
            (vec![broken()], "two\n", "one\n", 1),
            (vec![broken(), Ok(2)], "three\n", "one\nth", 2),
            (vec![broken()], "four\n", "one\nth", 3),
            (
                vec![
                    Ok(1),
                    Err(ErrorKind::WouldBlock.into()),
                    Err(ErrorKind::Interrupted.into()),
                ],
                "five\n",
                "one\nth\nfive\n",
                3,
            ),
        ];
        for (outcomes, line, text, lost) in rows {
            *answers.borrow_mut() = outcomes;
            output.take(&queue, line.as_bytes());
            assert_eq!(written.borrow().as_slice(), text.as_bytes(), "{line}");
            assert_eq!(queue.lost.load(Relaxed), lost, "{line}");
        }
    }

    #[test]
    fn losses_are_untold_only_while_lines_can_be_written() {
        let (queue, _messages) = Queue::new();
        let mut output = Output::new(|_: &[u8]| Err(ErrorKind::BrokenPipe.into()));
        output.take(&queue, b"one\n");
        assert!(!output.has_untold(&queue), "nobody would read it");
        let mut output = Output::new(|bytes: &[u8]| Ok(bytes.len()));
        output.take(&queue, b"two\n");
        assert!(output.has_untold(&queue));
        output.tell_losses(&queue);
        assert!(!output.has_untold(&queue));
    }
}
