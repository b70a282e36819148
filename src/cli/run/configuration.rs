//! The first configuration of a process: the file with what the management API has changed, and its snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{info, warn};

use super::cannot_start;
use crate::config::{self, Config, Machine};
use crate::control::compiler::Compiler;
use crate::control::config_store::ConfigStore;
use crate::control::config_store::state_file::SavedState;
use crate::control::resolve::{self, KnownAddrs, LookUps, WatchedNames};
use crate::control::start_files;
use crate::control::upgrade;
use crate::net::Blob;
use crate::shared::SharedTables;
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::Snapshot;
use crate::tls::{TicketKeys, TlsStore};

/// Reads the configuration file. A process that takes over reads it as a reload does, by what the old process has
/// `told`. Errors: all mistakes of the file, or the files and sockets that it names and that cannot be used.
pub(super) fn load(
    path: &Path,
    machine: &Machine,
    told: Option<&[Blob]>,
) -> Result<Config, String> {
    let read = match told {
        Some(_) => config::load_settled(path),
        None => config::load_regular(path),
    };
    let config = read.map_err(|mistakes| mistakes.to_string())?;
    upgrade::may_take_over(&config, told.unwrap_or_default())?;
    for warning in config.warnings(machine) {
        warn!("{}", warning);
    }
    let complaints = start_files::complaints(&config);
    if !complaints.is_empty() {
        return Err(complaints.join("\n"));
    }
    Ok(config)
}

/// The first snapshot, and the means to compile further ones.
pub(super) struct FirstSnapshot {
    /// The configuration that the snapshot is compiled from.
    pub config_store: ConfigStore,
    /// The compiled configuration.
    pub snapshot: Arc<Snapshot>,
    /// Compiles all further snapshots.
    pub compiler: Compiler,
    /// The addresses of names that are known now.
    pub known: KnownAddrs,
    /// The look-ups of names, which go on.
    pub look_ups: LookUps,
    /// The workers' tables of the backends' states.
    pub tables: SharedTables,
    /// The keys of session tickets.
    pub tickets: Arc<TicketKeys>,
}

impl FirstSnapshot {
    /// Compiles the configuration of the file, with the changes in `state`, and with the addresses of names that the
    /// old process sent or that are found within a moment. Errors: the configuration cannot be compiled, the file of
    /// the ticket keys cannot be used, or no descriptors are left.
    pub fn compile(
        file: Config,
        state: &SavedState,
        told: &[Blob],
        machine: Machine,
    ) -> Result<FirstSnapshot, String> {
        let config_store = with_changes(file, state);
        let config = config_store.config();
        let begun = resolve::begin(&WatchedNames::of(config), resolve::from_blobs(told));
        let (look_ups, known) = begun.map_err(cannot_start)?;
        let tables = BackendTables::new(config::workers(&config.settings, &machine));
        let tickets = TicketKeys::open(config.settings.ticket_key_file.clone(), SystemTime::now())?;
        let (slots, tls_store) = (Slots::new(tables.clone()), TlsStore::new(tickets.clone()));
        let mut compiler = Compiler::new(machine, slots, tls_store);
        let revision = config_store.revision();
        let snapshot = compiler.compile(config, known.resolved(), 1, revision);
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        Ok(FirstSnapshot {
            config_store,
            snapshot: Arc::new(snapshot),
            compiler,
            known,
            look_ups,
            tables,
            tickets,
        })
    }
}

/// The configuration of the file with the changes that the API made before this process started.
fn with_changes(file: Config, state: &SavedState) -> ConfigStore {
    let (config_store, notes) = ConfigStore::new(file, state.overrides.clone(), SystemTime::now());
    if state.taken_back == Some(config_store.file_digest()) {
        warn!(
            "the configuration file is the one that a rollback has taken back, or that was on trial and was not \
             confirmed"
        );
    }
    for note in notes {
        info!("{note}");
    }
    config_store
}
