//! The engine that a thread runs on, and its start.

use std::fmt;
use std::future::Future;
use std::io;
#[cfg(feature = "fast")]
use std::time::Duration;

use monoio::{LegacyDriver, RuntimeBuilder};
use rustix::process::{Resource, getrlimit, setrlimit};

#[cfg(feature = "fast")]
use crate::base::limits;

/// How a runtime waits for the kernel, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring; completions are handled when the thread asks for them, and only by it.
    #[cfg(feature = "fast")]
    DeferTaskrun,
    /// io_uring; completions never interrupt the thread.
    #[cfg(feature = "fast")]
    CoopTaskrun,
    /// io_uring without flags.
    #[cfg(feature = "fast")]
    PlainRing,
    /// epoll, for machines where io_uring is switched off.
    Epoll,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "fast")]
            Engine::DeferTaskrun => "io_uring (DEFER_TASKRUN, SINGLE_ISSUER)",
            #[cfg(feature = "fast")]
            Engine::CoopTaskrun => "io_uring (COOP_TASKRUN)",
            #[cfg(feature = "fast")]
            Engine::PlainRing => "io_uring (no flags)",
            Engine::Epoll => "epoll",
        })
    }
}

/// An engine, and why it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenEngine {
    /// The engine of every worker.
    pub engine: Engine,
    /// The reason for the engine: the words that follow "because" in the log.
    pub reason: String,
}

impl Engine {
    /// The best engine that this machine allows. The environment variable `PALANTIR_ENGINE` may ask for `epoll` or
    /// `io_uring`; any other value, and its absence, leaves the choice to the machine. Errors: `io_uring` was asked for
    /// and is not available, with the reason.
    pub fn choose() -> Result<ChosenEngine, String> {
        let asked = std::env::var("PALANTIR_ENGINE").unwrap_or_default();
        let (engine, reason) = Engine::decide(&asked, Engine::best_ring())?;
        Ok(ChosenEngine { engine, reason })
    }

    /// The engine, and the reason for it, given the value of `PALANTIR_ENGINE` and the best ring of this machine, or
    /// why there is none.
    fn decide(asked: &str, ring: Result<Engine, String>) -> Result<(Engine, String), String> {
        match (asked, ring) {
            ("epoll", _) => Ok((Engine::Epoll, "PALANTIR_ENGINE asks for epoll".to_owned())),
            ("io_uring", Ok(ring)) => {
                let reason = "PALANTIR_ENGINE asks for io_uring, and these are the best flags that the kernel takes";
                Ok((ring, reason.to_owned()))
            }
            ("io_uring", Err(reason)) => {
                Err(format!("PALANTIR_ENGINE asks for io_uring, but {reason}"))
            }
            (_, Ok(ring)) => {
                let reason =
                    "the kernel offers io_uring, and these are the best flags that it takes";
                Ok((ring, reason.to_owned()))
            }
            (_, Err(reason)) => Ok((Engine::Epoll, reason)),
        }
    }

    #[cfg(feature = "fast")]
    fn best_ring() -> Result<Engine, String> {
        let mut refusal = String::new();
        for engine in [Engine::DeferTaskrun, Engine::CoopTaskrun, Engine::PlainRing] {
            match engine.ring().build(8) {
                Ok(_) => return Ok(engine),
                Err(error) => refusal = format!("the kernel refuses a ring: {error}"),
            }
        }
        Err(refusal)
    }

    #[cfg(not(feature = "fast"))]
    fn best_ring() -> Result<Engine, String> {
        Err("the portable build (--no-default-features) has no io_uring".to_owned())
    }

    #[cfg(feature = "fast")]
    fn ring(self) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        match self {
            Engine::DeferTaskrun => {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
            Engine::CoopTaskrun => {
                builder.setup_coop_taskrun();
            }
            Engine::PlainRing | Engine::Epoll => {}
        }
        builder.setup_cqsize(4 * limits::RING_ENTRIES);
        builder
    }
}

/// Runs `future` and all that it spawns on this thread until it is done. The thread must be pinned before. Errors: the
/// engine cannot be started.
pub fn run<F: Future>(engine: Engine, future: F) -> io::Result<F::Output> {
    match engine {
        Engine::Epoll => {
            let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
            Ok(runtime.block_on(future))
        }
        #[cfg(feature = "fast")]
        ring => {
            let build = || {
                RuntimeBuilder::<monoio::IoUringDriver>::new()
                    .with_entries(limits::RING_ENTRIES)
                    .uring_builder(ring.ring())
                    .build()
            };
            let pause = Duration::from_millis(limits::RING_PAUSE_MILLIS);
            Ok(when_there_is_memory(pause, build)?.block_on(future))
        }
    }
}

/// Builds something with a ring. If the kernel has no memory for the ring, tries again after `pause`, at most
/// [`limits::RING_ATTEMPTS`] times in all: the kernel frees the rings of a process that has ended a moment after its
/// end. Errors: there still is no memory, or something else is missing.
#[cfg(feature = "fast")]
fn when_there_is_memory<T>(
    pause: Duration,
    mut build: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for _ in 1..limits::RING_ATTEMPTS {
        match build() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => std::thread::sleep(pause),
            outcome => return outcome,
        }
    }
    build()
}

/// Starts a task on this thread's runtime. It runs to its end; nobody waits for it.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    #[cfg(test)]
    if let Some(kernel) = crate::simulated::kernel() {
        return kernel.executor.spawn(future);
    }
    drop(monoio::spawn(future));
}

/// The CPUs that this process may run on.
pub fn allowed_cpus() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.into_iter().map(|core| core.id).collect()
}

/// The system's number of this thread.
pub fn thread_number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// Binds this thread to one CPU; false if the system refuses.
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// Lets this process have as many descriptors as the system permits it: the soft limit is meant for programs that wait
/// on them with `select`.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit); // The limit stays as it is if the system refuses.
}

/// Has this process use pages of the ordinary size alone. Where an allocator asks for huge ones, a few blocks in use
/// make 2 MiB of memory resident, and what many clients can make it hold is then several times what it needs.
pub fn forgo_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true); // More memory is used if the system refuses.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_follows_what_is_asked_for_and_what_there_is() {
        let none = || Err("the kernel refuses a ring".to_owned());
        let some = || Ok(Engine::Epoll); // Stands for a ring: the portable build has no other engine.
        let rows = [
            ("", some(), Ok("the kernel offers io_uring")),
            ("", none(), Ok("the kernel refuses a ring")),
            ("best", none(), Ok("the kernel refuses a ring")),
            ("epoll", some(), Ok("PALANTIR_ENGINE asks for epoll")),
            ("epoll", none(), Ok("PALANTIR_ENGINE asks for epoll")),
            ("io_uring", some(), Ok("PALANTIR_ENGINE asks for io_uring")),
            (
                "io_uring",
                none(),
                Err("PALANTIR_ENGINE asks for io_uring, but the kernel refuses a ring"),
            ),
        ];
        for (asked, ring, expected) in rows {
            let decided = Engine::decide(asked, ring.clone()).map(|(_, reason)| reason);
            let (Ok(said) | Err(said)) = &decided;
            assert_eq!(decided.is_ok(), expected.is_ok(), "{asked} {ring:?}");
            let (Ok(words) | Err(words)) = expected;
            assert!(said.starts_with(words), "{asked} {ring:?}: {said}");
        }
    }
}

#[cfg(all(test, feature = "fast"))]
mod ring_tests {
    use super::*;

    #[test]
    fn memory_that_never_comes_is_waited_for_a_while() {
        let mut attempts = 0;
        let built: io::Result<()> = when_there_is_memory(Duration::ZERO, || {
            attempts += 1;
            Err(io::Error::from_raw_os_error(libc::ENOMEM))
        });
        assert_eq!(built.unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(attempts, limits::RING_ATTEMPTS);
    }

    #[test]
    fn memory_is_waited_for_and_nothing_else() {
        let mut outcomes = [
            Err(io::Error::from_raw_os_error(libc::ENOMEM)),
            Ok("a ring"),
            Err(io::Error::from_raw_os_error(libc::EMFILE)),
        ]
        .into_iter();
        let mut build = || outcomes.next().unwrap();
        assert_eq!(
            when_there_is_memory(Duration::ZERO, &mut build).unwrap(),
            "a ring"
        );
        let error = when_there_is_memory(Duration::ZERO, &mut build).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
