//! Signals that end the program while it starts. A start may wait long for a name server or a disk, and has no clients
//! yet whose requests would have to finish.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, FromRawFd};
use std::process;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use tracing::info;

use super::signals::{ENDS, set_of};
use crate::base::log;
use crate::shared::socket_files;

/// While this value exists, SIGINT, SIGTERM and SIGQUIT end the process at once, with exit code 0. Signals that come
/// later wait for [`super::signals::Signals`]. The value must be made while the signals are blocked.
#[derive(Debug)]
pub struct StartSignals {
    /// Closing it ends the thread.
    until: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl StartSignals {
    /// Waits for the signals on a thread of its own, because the first thread may hang in a system call. Errors: no
    /// descriptors or no threads are left.
    #[expect(
        unsafe_code,
        reason = "a descriptor for signals is only made by the C library"
    )]
    pub fn watch() -> io::Result<StartSignals> {
        let set = set_of(&ENDS);
        // SAFETY: a plain call with a live set; the returned descriptor is new.
        let signals = unsafe {
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        let (over, until) = io::pipe()?;
        let watching = move || end_on_signal(signals, &over);
        let named = thread::Builder::new().name("start".to_owned());
        Ok(StartSignals {
            until: Some(until),
            thread: Some(named.spawn(watching)?),
        })
    }
}

impl Drop for StartSignals {
    fn drop(&mut self) {
        drop(self.until.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn end_on_signal(mut signals: File, over: &PipeReader) {
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if poll(&mut ready, None).is_err() {
            continue; // Interrupted.
        }
        if !ready[0].revents().is_empty() {
            return;
        }
        let mut description = [0; size_of::<libc::signalfd_siginfo>()];
        if signals.read(&mut description).is_ok_and(|read| read > 0) {
            info!("a signal ended the start before any client was served");
            socket_files::remove_all();
            log::flush();
            process::exit(0);
        }
    }
}
