//! The program's own log. Lines wait in a bounded queue for one thread, and no other thread writes to standard error.
//! Logging never blocks and never fails, whatever the state of standard error: a line that finds the queue full, or
//! cannot be written, is counted, and the log reports the number of lost lines once it can be written again.

mod output;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use self::output::{Output, standard_error};
use crate::base::limits;
use crate::base::time::Micros;

static LOG: OnceLock<Arc<Queue>> = OnceLock::new();
/// The thread that writes.
static WRITER: OnceLock<JoinHandle<()>> = OnceLock::new();
const WRITER_NAME: &str = "log";

thread_local! {
    /// The lines that this thread logs, while they are collected here instead of being queued.
    static KEPT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The lines that wait for the thread that writes.
#[derive(Debug)]
struct Queue {
    messages: Sender<Message>,
    /// The size of the waiting lines, in bytes.
    waiting: AtomicUsize,
    lost: AtomicU64,
    /// The time of the thread's last sign of life, in microseconds: it has finished a line, or a line has come to an
    /// empty queue.
    moved: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Asks for an answer when every line before this message was written or lost.
    Flush(Sender<()>),
}

/// Starts the thread that writes, and logs the panics of every thread from now on. Errors: no thread can be started.
pub fn start() -> io::Result<()> {
    let (queue, messages) = Queue::new();
    let queue = Arc::new(queue);
    let writer = queue.clone();
    let thread = thread::Builder::new().name(WRITER_NAME.to_owned());
    let before = mask_signals(libc::SIG_BLOCK, None);
    let started =
        thread.spawn(move || Output::new(standard_error).write_forever(&writer, &messages));
    mask_signals(libc::SIG_SETMASK, Some(before));
    let _ = WRITER.set(started?);
    let _ = LOG.set(queue);
    panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// Changes the signals that this thread takes: blocks all of them, or restores `set`. Returns the former mask. A thread
/// inherits the mask of the one that starts it, and the log thread must take no signal, since the control thread takes
/// them.
#[expect(
    unsafe_code,
    reason = "the mask of signals is only changed through the C library"
)]
fn mask_signals(how: libc::c_int, set: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: plain calls with live sets, which may hold anything before they are filled.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(how, &set.unwrap_or(all), &mut before);
        before
    }
}

/// Logs one line, whatever the filter.
pub fn say(text: &str) {
    put(format!("palantir: {text}\n").into_bytes());
}

/// The number of lines that were lost since the process began.
pub fn lost_lines() -> u64 {
    LOG.get().map_or(0, |queue| queue.lost.load(Relaxed))
}

/// The time for which the thread has made no progress although lines wait.
pub fn stalled_for(now: Micros) -> Duration {
    match LOG.get() {
        Some(queue) if queue.waiting.load(Relaxed) > 0 => {
            Duration::from_micros(now.since(Micros(queue.moved.load(Relaxed))))
        }
        _ => Duration::ZERO,
    }
}

/// Whether the thread has ended, which must not happen.
pub fn has_ended() -> bool {
    WRITER.get().is_some_and(JoinHandle::is_finished)
}

/// Waits until every line that was logged before is written or lost, for [`limits::LOG_FLUSH_MILLIS`] at most. For the
/// end of the process.
pub fn flush() {
    let (done, written) = crossbeam_channel::bounded(1);
    if let Some(queue) = LOG.get()
        && queue.messages.send(Message::Flush(done)).is_ok()
    {
        let _ = written.recv_timeout(Duration::from_millis(limits::LOG_FLUSH_MILLIS));
    }
}

/// The writer of the subscriber, which writes each line with one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLines;

impl Write for LogLines {
    /// Never fails, because the subscriber would have nowhere to report the failure.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        put(one_line(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line whose text cannot pass for further lines, and reads as it is: characters that cannot be seen, such as the
/// separators of lines and the marks of direction of Unicode, are escaped. Of the control characters, only ESC stays,
/// which begins a colour where the subscriber writes it, and which the subscriber escapes elsewhere.
fn one_line(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let mut escaped = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(text).chars() {
        if is_seen(character) || character == '\x1b' {
            escaped.push(character);
        } else if character.is_ascii() {
            escaped.extend((character as u8).escape_ascii().map(char::from));
        } else {
            escaped.extend(character.escape_unicode());
        }
    }
    let mut escaped = escaped.into_bytes();
    escaped.extend_from_slice(&line[text.len()..]);
    escaped
}

/// Whether a character shows itself; Rust escapes the others wherever it shows a text for debugging.
fn is_seen(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

fn put(line: Vec<u8>) {
    let is_kept = KEPT.try_with(|kept| match kept.try_borrow_mut().as_deref_mut() {
        Ok(Some(kept)) => {
            kept.extend_from_slice(&line);
            true
        }
        _ => false,
    });
    match LOG.get() {
        _ if is_kept == Ok(true) => {}
        Some(queue) if !has_ended() => queue.put(line),
        // The reason for the end of the process is written if that blocks nobody.
        Some(_) => output::write_at_once(&line),
        // Nothing else was started yet that a write could block.
        None => drop(standard_error(&line)),
    }
}

/// The lines that this thread logs while `log` runs.
fn keep(log: impl FnOnce()) -> Vec<u8> {
    KEPT.with_borrow_mut(|kept| *kept = Some(Vec::new()));
    log();
    KEPT.take().unwrap_or_default()
}

/// Logs a panic and waits until the line is written, because the process may end right after it.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let text = panic.payload_as_str().unwrap_or("no text");
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    let mut told = format!("thread {name} panicked at {place}: {text}");
    if thread.name() == Some(WRITER_NAME) {
        // No other thread would write the line.
        output::write_at_once(format!("palantir: {told}\n").as_bytes());
        return;
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        told += &format!("\n{backtrace}");
    }
    say(&told);
    // A worker survives the panic of one connection, and must not wait again and again for a standard error that nobody
    // reads.
    if stalled_for(Micros::now()) < Duration::from_millis(limits::LOG_FLUSH_MILLIS) {
        flush();
    }
}

impl Queue {
    fn new() -> (Queue, Receiver<Message>) {
        let (messages, waiting) = crossbeam_channel::unbounded();
        let queue = Queue {
            messages,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        };
        (queue, waiting)
    }

    /// Puts a line into the queue, or counts it as lost.
    fn put(&self, mut line: Vec<u8>) {
        if line.len() > limits::LOG_LINE_BYTES {
            line.truncate(limits::LOG_LINE_BYTES);
            line.push(b'\n');
        }
        let bytes = line.len();
        if self.waiting.load(Relaxed) == 0 {
            self.note_moved();
        }
        let waiting = self.waiting.fetch_add(bytes, Relaxed);
        let is_full = waiting + bytes > limits::LOG_QUEUE_BYTES;
        if is_full || self.messages.send(Message::Line(line)).is_err() {
            self.waiting.fetch_sub(bytes, Relaxed);
            self.lose();
        }
    }

    fn note_moved(&self) {
        self.moved.store(Micros::now().0, Relaxed);
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_counts_them() {
        let (queue, messages) = Queue::new();
        let line = vec![b'x'; limits::LOG_LINE_BYTES];
        let fitting = limits::LOG_QUEUE_BYTES / limits::LOG_LINE_BYTES;
        for _ in 0..fitting + 3 {
            queue.put(line.clone());
        }
        assert_eq!((messages.len(), queue.lost.load(Relaxed)), (fitting, 3));
        let longest = limits::LOG_QUEUE_BYTES;
        assert!(
            queue.waiting.load(Relaxed) <= longest,
            "what is lost takes no room"
        );
    }

    #[test]
    fn a_text_with_line_breaks_stays_one_line_table() {
        let rows: [(&str, &str); 5] = [
            ("INFO plain\n", "INFO plain\n"),
            ("INFO a\n2026 INFO forged\n", "INFO a\\n2026 INFO forged\n"),
            ("\x1b[31mred\r\0\n", "\x1b[31mred\\r\\x00\n"),
            ("no end", "no end"),
            (
                "a\u{2028}b\u{202e}c\u{200b}\u{e9}\n",
                "a\\u{2028}b\\u{202e}c\\u{200b}\u{e9}\n",
            ),
        ];
        for (line, expected) in rows {
            let escaped = one_line(line.as_bytes());
            assert_eq!(String::from_utf8(escaped).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let (queue, messages) = Queue::new();
        queue.put(vec![b'x'; limits::LOG_LINE_BYTES + 9]);
        let Ok(Message::Line(line)) = messages.recv() else {
            unreachable!("a line was put")
        };
        assert_eq!(line.len(), limits::LOG_LINE_BYTES + 1);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
