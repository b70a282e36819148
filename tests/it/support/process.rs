//! Signals to processes that a test has started.

use std::fs;

use super::eventually;

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: plain system call on a process that was started for this test.
    unsafe { libc::kill(pid, signal) };
}

/// Has the whole process stand still, and waits until each of its threads does: the kernel stops them one after the
/// other, and on a busy machine a thread can go on for a while after the signal was sent.
#[track_caller]
pub fn stop(pid: i32) {
    signal(pid, libc::SIGSTOP);
    eventually("the process stands still", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks.into_iter().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.contains(") T ") || stat.contains(") t ")
        })
    });
}

/// Has a process that stands still go on.
pub fn go_on(pid: i32) {
    signal(pid, libc::SIGCONT);
}
