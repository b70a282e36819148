//! A thread of another process that is stopped, as if one of its system calls did not return.

use std::fs;
use std::ptr::null_mut;

use super::eventually;

/// A stopped thread. Dropping the value lets the thread go on; the value must stay on the thread of the test that made
/// it.
pub struct Frozen {
    thread: i32,
}

impl Frozen {
    /// Stops the thread of this name, once there is one.
    #[track_caller]
    pub fn new(process: u32, name: &str) -> Frozen {
        let mut thread = None;
        eventually(&format!("there is a thread {name}"), || {
            thread = find(process, name);
            thread.is_some()
        });
        let thread = thread.unwrap();
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            // SAFETY: plain system calls; neither of these requests reads or writes this process's memory.
            let done = unsafe { libc::ptrace(request, thread, null_mut::<u8>(), null_mut::<u8>()) };
            assert_eq!(done, 0, "ptrace: {}", std::io::Error::last_os_error());
        }
        let frozen = Frozen { thread };
        eventually("the thread stands still", || frozen.has_news());
        frozen
    }

    /// Waits until the thread has ended with its process, which does not end before.
    #[track_caller]
    pub fn wait_for_end(self) {
        eventually("the thread ends", || self.has_news());
    }

    fn has_news(&self) -> bool {
        // SAFETY: a plain system call without a pointer to write to.
        unsafe { libc::waitpid(self.thread, null_mut(), libc::__WALL | libc::WNOHANG) != 0 }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: plain system call; the error for a thread that has ended meanwhile does not matter.
        unsafe {
            libc::ptrace(
                libc::PTRACE_DETACH,
                self.thread,
                null_mut::<u8>(),
                null_mut::<u8>(),
            )
        };
    }
}

fn find(process: u32, name: &str) -> Option<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let mut paths = threads.filter_map(Result::ok).map(|entry| entry.path());
    let path = paths.find(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|found| found.trim_end() == name)
    })?;
    path.file_name()?.to_str()?.parse().ok()
}
