//! The numbers that the kernel keeps of this process and of its threads. A number that the kernel does not give is
//! `None`.

use std::fs;

/// The process as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_descriptors: Option<u64>,
    /// File descriptors that may be open.
    pub most_descriptors: Option<u64>,
    /// CPU time used, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Seconds since 1970.
    pub started: Option<f64>,
}

impl Process {
    /// Looks now.
    pub fn look() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the program's name, may hold spaces; behind its parenthesis comes field 3 (proc(5)).
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let page = setting(libc::_SC_PAGESIZE);
        let ticks = setting(libc::_SC_CLK_TCK) as f64;
        let cpu = |user: u64, system: u64| (user + system) as f64 / ticks;
        Process {
            resident_bytes: field(24).map(|pages| pages * page),
            virtual_bytes: field(23),
            open_descriptors: open_descriptors(),
            most_descriptors: most_descriptors(),
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, system)| cpu(user, system)),
            threads: field(20),
            started: field(22)
                .zip(boot_time())
                .map(|(start, boot)| boot as f64 + start as f64 / ticks),
        }
    }
}

fn setting(name: libc::c_int) -> u64 {
    // SAFETY: plain system call.
    unsafe { libc::sysconf(name).max(1) as u64 }
}

fn open_descriptors() -> Option<u64> {
    // Since Linux 6.2 the folder's size is their number; before, it is 0.
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

fn most_descriptors() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system call with a live argument.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (outcome == 0).then_some(limit.rlim_cur)
}

fn boot_time() -> Option<u64> {
    named_number(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

/// The number on the line that begins with `name`.
fn named_number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').trim().parse().ok()
}

/// CPU time that a thread of this process has used, in seconds.
pub fn thread_cpu_seconds(thread: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    let nanos: u64 = text.split(' ').next()?.parse().ok()?;
    Some(nanos as f64 / 1e9)
}

/// How often a thread of this process has gone to sleep to wait for something.
pub fn thread_waits(thread: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    named_number(&text, "voluntary_ctxt_switches")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::net;

    #[test]
    fn this_process_is_as_it_must_be() {
        let process = Process::look();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let resident = process.resident_bytes.unwrap();
        assert!((1 << 20..1 << 36).contains(&resident), "{process:?}");
        assert!(process.virtual_bytes.unwrap() >= resident);
        assert!(
            (3..process.most_descriptors.unwrap()).contains(&process.open_descriptors.unwrap())
        );
        assert!(process.threads.unwrap() >= 2);
        assert!((now.as_secs_f64() - process.started.unwrap()).abs() < 3600.0);
    }

    #[test]
    fn a_thread_that_works_uses_time_and_one_that_sleeps_waits() {
        let thread = net::thread_number();
        let (cpu, waits) = (
            thread_cpu_seconds(thread).unwrap(),
            thread_waits(thread).unwrap(),
        );
        let until = Instant::now() + Duration::from_secs(10);
        while thread_cpu_seconds(thread).unwrap() < cpu + 0.02 {
            assert!(Instant::now() < until);
        }
        std::thread::sleep(Duration::from_millis(2));
        assert!(thread_waits(thread).unwrap() > waits);
        assert_eq!(thread_cpu_seconds(u32::MAX), None);
    }
}
