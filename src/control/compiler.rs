//! The compiler of configurations, with all that one snapshot shares with the next.

use crate::config::{
    self, CannotCompile, Config, Machine, ProcessFacts, Resolved, Sharing, StartSettings, Stores,
};
use crate::shared::slots::Slots;
use crate::snapshot::Snapshot;
use crate::tls::TlsStore;

/// Compiles all configurations of a process. The thread that works with files owns it.
pub struct Compiler {
    machine: Machine,
    /// The settings with which the process was started, which no reload changes; `None`: nothing is compiled yet.
    start: Option<StartSettings>,
    /// The rows of the backends, which stay the same from one snapshot to the next.
    slots: Slots,
    /// The certificates and keys that have been read.
    tls_store: TlsStore,
    /// The parts of the last snapshot, which the next one uses again where they are equal.
    sharing: Sharing,
    /// Stands in a test between a configuration and its snapshot.
    #[cfg(test)]
    pub(super) hooks: Hooks,
}

impl Compiler {
    /// A compiler for a process on this machine. The process starts with the first configuration that is compiled.
    pub fn new(machine: Machine, slots: Slots, tls_store: TlsStore) -> Compiler {
        Compiler {
            machine,
            start: None,
            slots,
            tls_store,
            sharing: Sharing::default(),
            #[cfg(test)]
            hooks: Hooks::default(),
        }
    }

    /// Compiles a configuration with these addresses of names while `revision` is in force. The snapshot has the
    /// generation after the one in force. Errors: why the configuration cannot be compiled; the old snapshot then stays
    /// in force.
    pub fn compile(
        &mut self,
        config: &Config,
        resolved: &Resolved,
        generation: u64,
        revision: u64,
    ) -> Result<Snapshot, CannotCompile> {
        self.tls_store.begin(generation, revision);
        #[cfg(test)]
        self.hooks.before(resolved)?;
        let of_first = || StartSettings::of(&config.settings, &self.machine);
        let process = ProcessFacts {
            machine: &self.machine,
            start: self.start.get_or_insert_with(of_first),
        };
        let stores = Stores {
            slots: &mut self.slots,
            tls_store: &mut self.tls_store,
        };
        let compiled = config::compile_beside(config, &process, resolved, stores, generation);
        let snapshot = self.sharing.share(compiled?);
        #[cfg(test)]
        let snapshot = self.hooks.after(snapshot);
        Ok(snapshot)
    }
}

#[cfg(test)]
impl Compiler {
    /// A compiler for a machine with so many processors.
    pub(super) fn of_test(cpus: usize) -> Compiler {
        let machine = Machine {
            cpus,
            descriptors: 1_024,
            memory_bytes: 1 << 30,
        };
        let slots = Slots::new(crate::shared::backend_table::BackendTables::new(cpus));
        Compiler::new(machine, slots, TlsStore::default())
    }
}

/// Looks at the addresses before a compilation, and may let it fail.
#[cfg(test)]
type Before = Box<dyn FnMut(&Resolved) -> Result<(), CannotCompile> + Send>;
/// Changes a compiled snapshot.
#[cfg(test)]
type After = Box<dyn FnMut(&mut Snapshot) + Send>;

/// The steps that a test adds before and after each compilation.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Hooks {
    /// Called before a compilation, the last one first.
    pub before: Vec<Before>,
    /// Called after a compilation.
    pub after: Option<After>,
}

#[cfg(test)]
impl Hooks {
    fn before(&mut self, resolved: &Resolved) -> Result<(), CannotCompile> {
        let mut hooks = self.before.iter_mut().rev();
        hooks.try_for_each(|hook| hook(resolved))
    }

    fn after(&mut self, mut snapshot: Snapshot) -> Snapshot {
        if let Some(hook) = &mut self.after {
            hook(&mut snapshot);
        }
        snapshot
    }
}
