//! The steps of the hand-over in terms of the system: the system calls of a new process until it says that it accepts.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::start;
use crate::support::Origin;
use crate::support::installed::Installed;

/// One system call of the new process.
#[derive(Clone, Debug)]
pub struct Step {
    /// The option of strace: `-f` for the first thread that makes this many calls, else empty for the first thread of
    /// the process.
    threads: &'static str,
    name: String,
    /// The number of the call, counted from 1.
    number: usize,
}

/// Calls of the first thread: the name, an error that each may return, and a divisor, which makes one in so many calls
/// a step.
const OF_FIRST: [(&str, &str, usize); 9] = [
    ("recvmsg", "ECONNRESET", 1),
    ("sendmsg", "EPIPE", 1),
    ("clone3", "EAGAIN", 1),
    ("socketpair", "EMFILE", 1),
    ("fcntl", "EMFILE", 1),
    ("openat", "EMFILE", 2),
    ("mmap", "ENOMEM", 4),
    ("read", "EIO", 4),
    ("newfstatat", "EIO", 4),
];

/// Calls of other threads, in the form of [`OF_FIRST`].
const OF_ANY: [(&str, &str, usize); 4] = [
    ("epoll_create1", "ENOMEM", 1),
    ("io_uring_setup", "ENOMEM", 1),
    ("eventfd2", "EMFILE", 1),
    ("sched_setaffinity", "EINVAL", 1),
];

impl Step {
    /// The shell line that runs the program so that `what` happens at this step, such as `signal=KILL`.
    pub fn script(&self, what: &str, log: &str) -> String {
        let Step {
            threads,
            name,
            number,
        } = self;
        format!(
            "exec strace -D {threads} -qq -o {log} -e trace={name} -e inject={name}:{what}:when={number} \
             \"$REAL\" \"$@\""
        )
    }

    /// The error that the call of this step returns.
    pub fn error(&self) -> String {
        let mut all = OF_FIRST.iter().chain(&OF_ANY);
        let (_, error, _) = all.find(|(name, ..)| *name == self.name).unwrap();
        format!("error={error}")
    }

    pub fn is_of_first_thread(&self) -> bool {
        self.threads.is_empty()
    }

    /// Whether one process waits for the other at this step.
    pub fn is_talk(&self) -> bool {
        matches!(&*self.name, "recvmsg" | "sendmsg")
    }
}

/// Whether strace may trace processes here. If it may not, the reason is printed.
pub fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    let traced = strace
        .args(["-D", "-qq", "-o", "/dev/null", "true"])
        .output();
    let can = traced.as_ref().is_ok_and(|traced| traced.status.success());
    if !can {
        eprintln!("not walked: strace cannot trace a process here: {traced:?}");
    }
    can
}

/// All steps, in the order of their names.
#[track_caller]
pub fn steps() -> Vec<Step> {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let mut lineage = start(&installed, &origin);
    let trace = installed.folder.path().join("trace");
    let names = OF_FIRST.iter().chain(&OF_ANY).map(|(name, ..)| *name);
    let names = names.collect::<Vec<_>>().join(",");
    installed.become_script(&format!(
        "exec strace -D -f -qq -o {} -e trace={names} \"$REAL\" \"$@\"",
        trace.display()
    ));
    lineage.upgrade();
    of_trace(&fs::read_to_string(trace).unwrap())
}

/// The steps in a trace of strace, up to the word.
fn of_trace(trace: &str) -> Vec<Step> {
    let first = trace.split(' ').next().unwrap();
    // The number of calls by thread and name.
    let mut calls: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        if line.contains("\"accepting") {
            break;
        }
        let (thread, call) = line.split_once(' ').unwrap();
        if let Some((name, _)) = call.trim_start().split_once('(') {
            *calls.entry((name, thread)).or_default() += 1;
        }
    }
    let of_first = OF_FIRST.iter().flat_map(|(name, _, each)| {
        let count = calls.get(&(*name, first)).copied().unwrap_or_default();
        (1..=count).step_by(*each).map(move |number| Step {
            threads: "",
            name: name.to_string(),
            number,
        })
    });
    let of_any = OF_ANY.iter().flat_map(|(name, _, each)| {
        let counts = calls.iter().filter(|((called, _), _)| called == name);
        let most = counts.map(|(_, count)| *count).max().unwrap_or_default();
        (1..=most).step_by(*each).map(move |number| Step {
            threads: "-f",
            name: name.to_string(),
            number,
        })
    });
    of_first.chain(of_any).collect()
}
