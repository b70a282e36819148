//! Something happens to the new process, or to the old one, at each step of an upgrade: one of the two always serves.

mod load;
mod steps;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::installed::{Installed, processes};
use crate::support::process::{self, signal};
use crate::support::proxy::route;
use crate::support::{Lineage, Origin, eventually};
use load::{CLIENTS, Load, ask, ask_within};
use steps::{Step, can_trace, steps};

/// The number of upgrades that run at once.
const THREADS: usize = 4;

fn config(origin: &Origin) -> String {
    format!("workers = 2\n{}", route("/", &[origin.addr]))
}

#[track_caller]
fn start(installed: &Installed, origin: &Origin) -> Lineage {
    Lineage::start_as(installed.command(), &config(origin))
}

/// Runs all rounds, several at once. There must be at least this many.
#[track_caller]
fn walk<T: Send>(
    what: &str,
    least: usize,
    rounds: Vec<T>,
    walk_some: impl Fn(&dyn Fn() -> Option<T>) + Sync,
) {
    let total = rounds.len();
    assert!(
        total >= least,
        "{total} rounds are too few to have seen much: {what}"
    );
    let left = Mutex::new(rounds);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| walk_some(&|| left.lock().unwrap().pop()));
        }
    });
    eprintln!("{total} rounds: {what}");
}

/// Steps that an upgrade may go without although the traced one had them: how often the new process receives depends on
/// how much the old process has to say meanwhile.
const UNREACHED: usize = 2;

/// Upgrades to each of these scripts around the program, without any client noticing. At most `most` of their processes
/// take over. Connections are lost only with a process that is killed.
#[track_caller]
fn walk_scripts(what: &str, least: usize, scripts: Vec<String>, most: usize) {
    let successes = AtomicUsize::new(0);
    walk(what, least, scripts, |next| {
        let mut is_left = true;
        // A process of a script starts the plain program at its own upgrade, and is therefore the last one of its
        // lineage.
        while is_left {
            is_left = walk_until_success(next);
            successes.fetch_add(is_left.into(), SeqCst);
        }
    });
    let successes = successes.into_inner();
    assert!(successes <= most, "{successes} processes took over: {what}");
}

/// Runs the next script until an upgrade succeeds; returns whether a script was left for that.
#[track_caller]
fn walk_until_success(next: &dyn Fn() -> Option<String>) -> bool {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let mut lineage = start(&installed, &origin);
    let load = Load::on(lineage.proxy.addr);
    for round in 1.. {
        let script = next();
        let line = script.as_deref().unwrap_or("exec \"$REAL\" \"$@\"");
        installed.become_script(line);
        let has_succeeded = lineage.try_to_upgrade();
        assert!(has_succeeded || script.is_some(), "nothing is in the way");
        load.is_served();
        if has_succeeded {
            let lost = load.end();
            assert!(lost <= CLIENTS * round, "{lost} in {round} rounds: {line}");
            return script.is_some();
        }
    }
    unreachable!("there is a last script")
}

#[test]
fn a_new_process_that_is_killed_at_any_step_costs_nobody_the_service() {
    if !can_trace() {
        return;
    }
    let kill = |step: &Step| step.script("signal=KILL", "/dev/null");
    let scripts: Vec<_> = steps().iter().map(kill).collect();
    walk_scripts("the new process is killed", 50, scripts, UNREACHED);
}

#[test]
fn a_new_process_whose_system_calls_fail_costs_nobody_the_service() {
    if !can_trace() {
        return;
    }
    let fail = |step: &Step| step.script(&step.error(), "/dev/null");
    let scripts: Vec<_> = steps().iter().map(fail).collect();
    walk_scripts(
        "a system call of the new process fails",
        50,
        scripts,
        usize::MAX,
    );
}

#[test]
fn a_new_process_without_descriptors_costs_nobody_the_service() {
    let bounded = |count| format!("ulimit -n {count}; exec \"$REAL\" \"$@\"");
    let scripts = (8..48).map(bounded).collect();
    walk_scripts(
        "the new process has few descriptors",
        40,
        scripts,
        usize::MAX,
    );
}

#[test]
fn a_new_process_without_memory_costs_nobody_the_service() {
    let bounded = |round| {
        let kilobytes = (8_000.0 * 1.1f64.powi(round)) as u64;
        format!("ulimit -v {kilobytes}; exec \"$REAL\" \"$@\"")
    };
    let scripts = (0..40).map(bounded).collect();
    walk_scripts("the new process has little memory", 40, scripts, usize::MAX);
}

#[test]
fn a_new_process_that_stands_still_is_given_up() {
    if !can_trace() {
        return;
    }
    let steps = steps();
    let talk = steps.iter().filter(|step| step.is_talk());
    let others = steps.iter().filter(|step| !step.is_talk()).step_by(12);
    let chosen: Vec<&Step> = talk.chain(others).collect();
    let successes = AtomicUsize::new(0);
    thread::scope(|scope| {
        for step in &chosen {
            let successes = &successes;
            scope.spawn(move || {
                let (installed, origin) = (Installed::new(), Origin::saying("served"));
                let mut lineage = start(&installed, &origin);
                let load = Load::on(lineage.proxy.addr);
                installed.become_script(&step.script("signal=STOP", "/dev/null"));
                successes.fetch_add(lineage.try_to_upgrade().into(), SeqCst);
                load.is_served();
                load.end();
            });
        }
    });
    eprintln!("{} rounds: the new process stands still", chosen.len());
    let successes = successes.into_inner();
    assert!(successes <= UNREACHED, "{successes} processes took over");
}

/// Ends all processes of a folder's configuration but one, whatever the test's outcome.
struct OthersEnd<'a>(&'a Path, i32);

impl OthersEnd<'_> {
    fn all(&self) -> impl Iterator<Item = i32> {
        let first = self.1;
        processes(self.0)
            .into_iter()
            .filter(move |pid| *pid != first)
    }
}

impl Drop for OthersEnd<'_> {
    fn drop(&mut self) {
        self.all().for_each(|pid| signal(pid, libc::SIGKILL));
    }
}

/// Stops the new process at this step, does something to the old process meanwhile, and lets the new process go on.
#[track_caller]
fn with_the_old_one(step: &Step, then: impl FnOnce(i32), after: impl FnOnce(i32)) {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let lineage = start(&installed, &origin);
    let path = lineage.proxy.directory.path().join("config.toml");
    let log = installed.folder.path().join("trace");
    installed.become_script(&step.script("signal=STOP", log.to_str().unwrap()));
    let old = lineage.pid();
    lineage.signal(libc::SIGUSR2);
    eventually("the new process stands still", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("stopped by SIGSTOP"))
    });
    let others = OthersEnd(&path, old);
    then(old);
    let go_on = || others.all().for_each(process::go_on);
    go_on();
    after(old);
    eventually(&format!("somebody serves: {step:?}"), || {
        // Strace may have been about to stop the process.
        go_on();
        // The kernel may have woken the killed process for a client, who then waits until another one comes.
        ask_within(lineage.proxy.addr, Duration::from_secs(2)).is_ok()
    });
}

/// Every `count`th step at which the whole process can be stopped.
#[track_caller]
fn one_in(count: usize) -> Vec<Step> {
    let steps = steps().into_iter().filter(Step::is_of_first_thread);
    steps.step_by(count).collect()
}

#[test]
fn when_the_old_process_is_killed_at_any_step_the_new_one_serves() {
    if !can_trace() {
        return;
    }
    walk("the old process is killed", 20, one_in(3), |next| {
        while let Some(step) = next() {
            with_the_old_one(&step, |old| signal(old, libc::SIGKILL), |_| {});
        }
    });
}

#[test]
fn an_old_process_that_stands_still_for_a_while_goes_on() {
    if !can_trace() {
        return;
    }
    walk("the old process stands still", 10, one_in(6), |next| {
        while let Some(step) = next() {
            with_the_old_one(&step, |old| process::stop(old), process::go_on);
        }
    });
}

/// Lets the process open this many more descriptors, or, with `None`, as many as it may.
#[track_caller]
fn leave_descriptors(pid: i32, more: Option<u64>) {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let now = folder.count() as u64;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let (nothing, unwanted) = (std::ptr::null(), std::ptr::null_mut());
    // SAFETY: reads and sets a limit of a live process through a live struct.
    let done = unsafe {
        libc::prlimit(pid, libc::RLIMIT_NOFILE, nothing, &raw mut limit);
        limit.rlim_cur = more.map_or(limit.rlim_max, |more| now + more);
        libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, unwanted)
    };
    assert_eq!(done, 0, "prlimit");
}

#[test]
fn an_old_process_without_descriptors_goes_on() {
    walk(
        "the old process has few descriptors",
        20,
        (0..20).collect(),
        |next| {
            while let Some(more) = next() {
                let (installed, origin) = (Installed::new(), Origin::saying("served"));
                let mut lineage = start(&installed, &origin);
                let old = lineage.pid();
                leave_descriptors(old, Some(more));
                if !lineage.try_to_upgrade() {
                    leave_descriptors(old, None);
                }
                ask(lineage.proxy.addr).expect("somebody serves");
            }
        },
    );
}
