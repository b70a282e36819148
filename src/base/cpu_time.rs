//! The processor time of a thread, which tells a thread that computes from one that waits for a disk.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;
use std::time::Duration;

/// The clock of one thread's processor time. By default the clock stands still.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime(Option<libc::clockid_t>);

impl CpuTime {
    /// The clock of the thread with this handle.
    #[expect(
        unsafe_code,
        reason = "the clock of a thread is only known to the C library"
    )]
    pub fn of<T>(thread: &JoinHandle<T>) -> CpuTime {
        let mut clock = 0;
        // SAFETY: the handle keeps the thread's identifier valid, and the call writes the clock's to a live variable.
        let failed = unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) };
        CpuTime((failed == 0).then_some(clock))
    }

    /// The processor time so far; zero if the thread has ended.
    #[expect(
        unsafe_code,
        reason = "a clock of this kind can only be read through the C library"
    )]
    pub fn read(self) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if let Some(clock) = self.0 {
            // SAFETY: a plain call that writes to a live variable, or leaves the variable alone if the clock no longer
            // exists.
            unsafe { libc::clock_gettime(clock, &raw mut time) };
        }
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_works_is_told_from_one_that_waits() {
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (waits, waiting) = mpsc::channel();
        let thread = thread::spawn(move || {
            waits.send(()).unwrap();
            goes_on.recv().unwrap();
            (0..100_000_000_u64).fold(0, |sum, number| sum ^ std::hint::black_box(number))
        });
        waiting.recv().unwrap();
        let time = CpuTime::of(&thread);
        let before = time.read();
        go_on.send(()).unwrap();
        while time.read() < before + Duration::from_millis(10) {
            thread::yield_now();
        }
        thread.join().unwrap();
        assert_eq!(CpuTime::default().read(), Duration::ZERO);
    }
}
