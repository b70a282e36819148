//! palantir's entry: arguments → configuration → threads → exit code.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use palantir::base::ids::WorkerId;
use palantir::base::limits;
use palantir::base::time::Micros;
use palantir::cli::{self, Command};
use palantir::config::{self, Config, Machine};
use palantir::control::access_log::LogFile;
use palantir::control::api::{Gate, Tokens};
use palantir::control::desk::{Desk, Overlay, state_file};
use palantir::control::listeners::Listeners;
use palantir::control::resolve::{self, Compile};
use palantir::control::{self, Started};
use palantir::net::{self, BoundListener, Engine};
use palantir::shared::access::AccessLine;
use palantir::shared::backend_table::BackendTables;
use palantir::shared::gauges::{self, AllGauges};
use palantir::shared::links::Links;
use palantir::shared::mailbox::{Letters, Mailbox, mailbox};
use palantir::shared::messages::{ToControl, ToHealth, ToWorker};
use palantir::shared::slots::Slots;
use palantir::snapshot::Snapshot;
use palantir::worker;
use palantir::{health, test_server};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "fast")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    start_log();
    let (command, path) = cli::parse();
    match command {
        Command::Check => cli::check(&path),
        Command::Explain { method, url } => cli::explain(&path, &method, &url),
        Command::TestServer { listen } => match test_server::start(&listen) {
            Ok(thread) => end_of(thread),
            Err(error) => refuse(&error.to_string()),
        },
        Command::Remote(wish) => cli::remote(&path, &wish),
        Command::Run => match run(&path) {
            // Runtimes with operations under way must not be dropped.
            Ok(code) => process::exit(code.into()),
            Err(reason) => refuse(&reason),
        },
    }
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("palantir: {reason}");
    ExitCode::FAILURE
}

fn end_of(thread: thread::JoinHandle<()>) -> ExitCode {
    match thread.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Starts everything and runs until a signal; the exit code. Errors: the one reason why it cannot start, with nothing
/// left running.
fn run(path: &Path) -> Result<u8, String> {
    Micros::now(); // The clock begins here.
    control::hold_signals();
    net::raise_descriptor_limit();
    let config = config::load(path).map_err(|mistakes| mistakes.to_string())?;
    let machine = Machine::of_this_process();
    for warning in config.warnings(&machine) {
        warn!("{}", warning);
    }
    let engine = Engine::choose()?;
    let (desk, said) = take_to_desk(config)?;
    let config = desk.config();
    let resolved = resolve::look_up_all(&config.names());
    let tables = BackendTables::new(config::workers(&config.settings, &machine));
    let mut compile = compile(machine, Slots::new(tables.clone()));
    let snapshot = Arc::new(compile(config, &resolved, 1)?);
    let patience = Duration::from_millis(limits::BIND_WAIT_MILLIS);
    let listeners = Listeners::new(snapshot.workers).bind_missing(&snapshot.listeners, patience)?;
    let admin = open_admin(&snapshot, patience)?;
    let access_log = open_access_log(&snapshot)?;
    if !snapshot.test_servers.is_empty() {
        test_server::start(&snapshot.test_servers).map_err(|error| error.to_string())?;
    }
    let (health, health_letters) = mailbox(limits::HEALTH_MAILBOX).map_err(cannot_start)?;
    let crew =
        Crew::start(&snapshot, &listeners, &tables, engine, &health).map_err(cannot_start)?;
    let health_thread = health::start(health_letters, crew.mailboxes.clone(), crew.control.clone())
        .map_err(cannot_start)?;
    announce(&snapshot, engine);
    control::run(Started {
        snapshot,
        desk,
        said,
        resolved,
        compile,
        listeners,
        workers: crew.mailboxes,
        tables,
        gauges: crew.gauges,
        access_lines: crew.access_lines,
        access_log,
        health,
        health_thread,
        letters: crew.letters,
        admin,
    })
    .map_err(|error| format!("the control thread cannot run: {error}"))
}

fn cannot_start(error: io::Error) -> String {
    format!("cannot start: {error}")
}

/// The management API's socket and its tokens.
fn open_admin(
    snapshot: &Snapshot,
    patience: Duration,
) -> Result<Option<(BoundListener, Gate)>, String> {
    let Some(admin) = &snapshot.admin else {
        return Ok(None);
    };
    let tokens = Tokens::read(admin)?;
    let addr = &admin.listen_addr;
    let bound = net::bind_for_all(addr, 1, patience)
        .map_err(|error| format!("the management API cannot listen on {addr}: {error}"))?;
    let listen_addr = addr.clone();
    let gate = Gate {
        listen_addr,
        tokens,
    };
    Ok(bound.into_iter().next().map(|listener| (listener, gate)))
}

fn open_access_log(snapshot: &Snapshot) -> Result<Option<LogFile>, String> {
    let open = |settings| LogFile::open(settings).map_err(|error| format!("access log: {error}"));
    snapshot.access_log.as_ref().map(open).transpose()
}

/// The file with what the API said before the process started; and that alone, as the state file has it. Errors: the
/// state file cannot be used.
fn take_to_desk(file: Config) -> Result<(Desk, Overlay), String> {
    let admin = file.settings.admin.as_ref();
    let said = match admin.and_then(|admin| admin.state_file.as_ref()) {
        Some(path) => state_file::load(path)?,
        None => Overlay::default(),
    };
    let (desk, notes) = Desk::new(file, said.clone(), SystemTime::now());
    for note in notes {
        info!("{note}");
    }
    Ok((desk, said))
}

fn compile(machine: Machine, mut slots: Slots) -> Compile {
    Box::new(move |config, resolved, generation| {
        config::compile(config, &machine, resolved, &mut slots, generation)
            .map_err(|error| error.to_string())
    })
}

/// The workers, as the other threads see them.
struct Crew {
    mailboxes: Vec<Mailbox<ToWorker>>,
    gauges: AllGauges,
    access_lines: Vec<Receiver<AccessLine>>,
    control: Mailbox<ToControl>,
    letters: Letters<ToControl>,
}

impl Crew {
    fn start(
        snapshot: &Arc<Snapshot>,
        listeners: &Listeners,
        tables: &Arc<BackendTables>,
        engine: Engine,
        health: &Mailbox<ToHealth>,
    ) -> io::Result<Crew> {
        let (control, letters) = mailbox(2 * limits::WORKERS + limits::BACKENDS)?;
        let mut crew = Crew {
            mailboxes: Vec::new(),
            gauges: gauges::gauges(snapshot.workers),
            access_lines: Vec::new(),
            control: control.clone(),
            letters,
        };
        let cpus = net::allowed_cpus();
        for number in 0..snapshot.workers {
            let (mailbox, letters) = mailbox(limits::WORKER_MAILBOX)?;
            let (sender, lines) = crossbeam_channel::bounded(limits::ACCESS_LOG_LINES);
            crew.mailboxes.push(mailbox);
            crew.access_lines.push(lines);
            let start = worker::Start {
                worker: WorkerId(number as u32),
                engine,
                // With more workers than CPUs, the system places them better than we could.
                cpu: cpus
                    .get(number)
                    .copied()
                    .filter(|_| snapshot.workers <= cpus.len()),
                listeners: listeners.of_worker(number)?,
                snapshot: snapshot.clone(),
                tables: tables.clone(),
                letters,
                links: Links {
                    gauges: crew.gauges.clone(),
                    health: health.clone(),
                    control: control.clone(),
                    access_lines: sender,
                },
            };
            start_worker(start, control.clone())?;
        }
        Ok(crew)
    }
}

/// A worker on a thread of its own. That it ends, however it does, is news for the control thread.
fn start_worker(start: worker::Start, control: Mailbox<ToControl>) -> io::Result<()> {
    let worker = start.worker;
    let name = format!("worker-{}", worker.0);
    thread::Builder::new().name(name).spawn(move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker::work(start)));
        let reason = match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        let _ = control.post(ToControl::WorkerEnded(worker, reason));
    })?;
    Ok(())
}

fn announce(snapshot: &Snapshot, engine: Engine) {
    for addr in &snapshot.listeners {
        info!("listening on {addr}");
    }
    if let Some(admin) = &snapshot.admin {
        info!("management API on {}", admin.listen_addr);
    }
    for addr in &snapshot.test_servers {
        info!("test server on {addr}");
    }
    let backends: usize = snapshot.pools.iter().map(|pool| pool.backends.len()).sum();
    info!(
        "{} workers on {engine}; {} routes, {} pools, {backends} backends",
        snapshot.workers,
        snapshot.routes.len(),
        snapshot.pools.len(),
    );
}
