//! Values that a configuration may leave to the machine.

use rustix::process::{Resource, getrlimit};

use super::memory;

/// Facts that a compiled configuration depends on; an argument, so that compiling is a plain function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPUs that this process may run on.
    pub cpus: usize,
    /// Files that it may have open at once (RLIMIT_NOFILE, the soft limit).
    pub descriptors: u64,
    /// Bytes of memory that it may have: the machine's, or what its control groups allow.
    pub memory_bytes: u64,
}

impl Machine {
    /// The facts as they are for this process now.
    pub fn of_this_process() -> Machine {
        Machine {
            cpus: core_affinity::get_core_ids().map_or(1, |cores| cores.len().max(1)),
            descriptors: soft_descriptor_limit(),
            memory_bytes: memory::memory_bytes(),
        }
    }
}

fn soft_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile).current;
    limit.unwrap_or(u64::MAX) // There is no bound.
}
