//! The start of every thread, in an order in which each finds what it needs. Nobody is served yet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::cannot_start;
use super::configuration::{self, FirstSnapshot};
use super::go::ReadyProcess;
use super::sockets::{self, Sockets};
use super::workers::{Workers, repeat};
use crate::base::limits;
use crate::config::{Config, Machine};
use crate::control::access_log::{RunningAccessLog, open_in_time};
use crate::control::service_manager::systemd;
use crate::control::start_state::StartState;
use crate::control::upgrade::{self, HealthReport, Predecessor, Program, Upgrades};
use crate::control::{self, Started};
use crate::health;
use crate::net::{Engine, Handed};
use crate::shared::SharedStore;
use crate::shared::access::AccessLine;
use crate::shared::cache::{CacheStore, DiskSettings, HandedStore, StoreSettings};
use crate::shared::health_record::HealthRecord;
use crate::shared::mailbox::mailbox;
use crate::shared::worker_counters::AllWorkerCounters;
use crate::snapshot::{CacheDisk, Snapshot};

/// Does everything that can fail, before anybody is served. Errors: the reason why palantir cannot start.
pub(super) fn make_ready(
    path: &Path,
    engine: Engine,
    predecessor: Option<&Predecessor>,
) -> Result<ReadyProcess, String> {
    let program = Program::of_this_process();
    let mut handed = take_handed(predecessor)?;
    let machine = Machine::of_this_process();
    let told = predecessor.map(|_| handed.blobs.as_slice());
    let config = configuration::load(path, &machine, told)?;
    let left = find_left(&config, &mut handed)?;
    let known_backends = upgrade::health_from_blobs(&handed.blobs);
    let cache = upgrade::take_cache_from(&mut handed);
    let first = FirstSnapshot::compile(config, &left.state, &handed.blobs, machine)?;
    let sockets = Sockets::open(&first.snapshot, handed.sockets, predecessor.is_some())?;
    let beginning = Beginning {
        engine,
        program,
        left,
        known_backends,
        cache,
        is_alone: predecessor.is_none(),
    };
    start_threads(beginning, first, sockets)
}

/// The things that a process begins with, besides its configuration and its sockets.
struct Beginning {
    /// The engine of the workers.
    engine: Engine,
    /// The program that the next upgrade starts.
    program: Program,
    /// The state that an earlier process has left.
    left: StartState,
    /// The states of the backends that the old process knew.
    known_backends: Vec<HealthRecord>,
    /// The cache of the old process.
    cache: Option<HandedStore>,
    /// Whether no other process is the service.
    is_alone: bool,
}

fn start_threads(
    beginning: Beginning,
    first: FirstSnapshot,
    sockets: Sockets,
) -> Result<ReadyProcess, String> {
    let FirstSnapshot {
        snapshot, tables, ..
    } = &first;
    let snapshot = snapshot.clone();
    let (health, health_inbox) = mailbox(limits::HEALTH_MAILBOX).map_err(cannot_start)?;
    let store = open_store(&snapshot, beginning.cache)?;
    let shared = (tables, store.as_ref());
    let workers =
        Workers::start(&snapshot, shared, beginning.engine, &health).map_err(cannot_start)?;
    let access_log = start_access_log(&snapshot, workers.access_lines, workers.counters.clone())?;
    let (to_workers, to_control) = (workers.mailboxes.clone(), workers.control.clone());
    let started = health::start(health_inbox, to_workers, to_control, tables);
    let health_thread = started.map_err(cannot_start)?;
    repeat(&workers.mailboxes, &snapshot)?;
    control::wait_for_workers(&workers.inbox, snapshot.workers, drop)?;
    let report = HealthReport::of(health.clone());
    let upgrades =
        Upgrades::new(beginning.program, report, sockets.others).with_cache(store.clone());
    sockets::start_test_servers(sockets.test_servers, &upgrades, &snapshot)
        .map_err(cannot_start)?;
    let by_worker = sockets::by_worker(&sockets.listeners, sockets.left, snapshot.workers);
    let by_worker = by_worker.map_err(cannot_start)?;
    let control = control::prepare(Started {
        snapshot: snapshot.clone(),
        config_store: first.config_store,
        left: beginning.left.clone(),
        known: first.known,
        look_ups: first.look_ups,
        compiler: first.compiler,
        tickets: first.tickets,
        listeners: sockets.listeners,
        upgrades,
        is_alone: beginning.is_alone,
        workers: workers.mailboxes.clone(),
        tables: first.tables,
        counters: workers.counters,
        store: store.clone(),
        access_log,
        health: health.clone(),
        health_thread,
        inbox: workers.inbox,
        admin: sockets.admin,
    })
    .map_err(cannot_start)?;
    Ok(ReadyProcess {
        snapshot,
        control,
        to_control: workers.control,
        health,
        workers: workers.mailboxes,
        sockets: by_worker,
        left: beginning.left,
        known_backends: beginning.known_backends,
        store,
    })
}

/// The sockets and messages of the old process, or of a service manager. Errors: as [`Predecessor::handed`].
fn take_handed(predecessor: Option<&Predecessor>) -> Result<Handed, String> {
    match predecessor {
        Some(predecessor) => Ok(predecessor.handed()?.unwrap_or_default()),
        None => Ok(systemd::passed_sockets().into()),
    }
}

/// The state that an earlier process has left. Errors: the state cannot be used, or another process has its file.
fn find_left(config: &Config, handed: &mut Handed) -> Result<StartState, String> {
    let admin = config.settings.admin.as_ref();
    let path = admin.and_then(|admin| admin.state_file.as_deref());
    StartState::find(path, handed)
}

fn start_access_log(
    snapshot: &Arc<Snapshot>,
    lines: Vec<Receiver<AccessLine>>,
    counters: AllWorkerCounters,
) -> Result<RunningAccessLog, String> {
    let patience = Duration::from_millis(limits::ACCESS_LOG_OPEN_MILLIS);
    let open =
        |settings| open_in_time(settings, patience).map_err(|error| format!("access log: {error}"));
    let file = snapshot.access_log.as_ref().map(open).transpose()?;
    RunningAccessLog::start(file, lines, counters).map_err(cannot_start)
}

/// The store of the cache, if there is one, with the entries of the old process if it handed some over. Errors: the
/// machine has no memory or no descriptors for the store.
fn open_store(
    snapshot: &Snapshot,
    handed: Option<HandedStore>,
) -> Result<Option<SharedStore>, String> {
    let Some(cache) = &snapshot.cache else {
        return Ok(None);
    };
    let settings = StoreSettings {
        max_bytes: cache.max_bytes,
        cores: snapshot.workers,
    };
    let rebuilt = handed.and_then(|handed| upgrade::rebuild_cache(handed, settings));
    let store = match rebuilt {
        Some(store) => store,
        None => CacheStore::new(settings).map_err(|error| format!("cache: {error}"))?,
    };
    if let Some(CacheDisk { path, max_bytes }) = cache.disk.clone() {
        store
            .add_disk(DiskSettings { path, max_bytes })
            .map_err(cannot_start)?;
    }
    Ok(Some(store))
}
