//! palantir's entry: arguments → configuration → threads → exit code.

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use palantir::base::ids::WorkerId;
use palantir::base::limits;
use palantir::base::memory::{self, Counted};
use palantir::base::time::Micros;
use palantir::cli::{self, Command};
use palantir::config::{self, Config, Machine};
use palantir::control::access_log::LogFile;
use palantir::control::api::{Gate, Tokens};
use palantir::control::desk::{Desk, Overlay, state_file};
use palantir::control::listeners::Listeners;
use palantir::control::resolve::{self, Compile};
use palantir::control::systemd;
use palantir::control::upgrade::{Predecessor, Program, Upgrades};
use palantir::control::{self, Started};
use palantir::net::{self, BoundListener, Engine, Inherited, Passed};
use palantir::shared::access::AccessLine;
use palantir::shared::backend_table::BackendTables;
use palantir::shared::gauges::{self, AllGauges};
use palantir::shared::links::Links;
use palantir::shared::mailbox::{Letters, Mailbox, mailbox};
use palantir::shared::messages::{ToControl, ToHealth, ToWorker};
use palantir::shared::slots::Slots;
use palantir::snapshot::{ListenAddr, Purpose, ServerKind, Snapshot};
use palantir::tls::{TicketKeys, Vault};
use palantir::worker;
use palantir::{health, test_server};
use tokio::sync::watch;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "fast")]
#[global_allocator]
static ALLOCATOR: Counted<mimalloc::MiMalloc> = Counted(mimalloc::MiMalloc);
#[cfg(not(feature = "fast"))]
#[global_allocator]
static ALLOCATOR: Counted<std::alloc::System> = Counted(std::alloc::System);

fn main() -> ExitCode {
    start_log();
    let (command, path) = cli::parse();
    match command {
        Command::Check => cli::check(&path),
        Command::Explain { method, url } => cli::explain(&path, &method, &url),
        Command::TestServer { listen } => match test_servers(&listen) {
            Ok(thread) => end_of(thread),
            Err(error) => refuse(&error.to_string()),
        },
        Command::Remote(wish) => cli::remote(&path, &wish),
        Command::Run => match run_or_tell(&path) {
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

fn test_servers(addrs: &[SocketAddr]) -> io::Result<thread::JoinHandle<()>> {
    let listeners: io::Result<Vec<_>> = addrs.iter().copied().map(test_server::listen).collect();
    net::raise_descriptor_limit();
    let most = config::of_test_servers(&Machine::of_this_process());
    test_server::start(listeners?, watch::channel(true).1, most)
}

/// Runs, in place of another process if that one has started this one; it hears why this one cannot.
fn run_or_tell(path: &Path) -> Result<u8, String> {
    let predecessor = Predecessor::find()?;
    let ended = run(path, predecessor.as_ref());
    if let (Err(reason), Some(predecessor)) = (&ended, &predecessor) {
        predecessor.refuse(reason);
    }
    ended
}

/// Starts everything and runs until a signal; the exit code. Errors: the one reason why it cannot start, with nothing
/// left running.
fn run(path: &Path, predecessor: Option<&Predecessor>) -> Result<u8, String> {
    Micros::now(); // The clock begins here.
    control::hold_signals();
    net::raise_descriptor_limit();
    net::forgo_huge_pages();
    let program = Program::of_this_process();
    let passed = match predecessor {
        Some(predecessor) => predecessor.listeners()?,
        None => systemd::passed_sockets(),
    };
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
    let tickets = TicketKeys::open(config.settings.ticket_key_file.clone(), SystemTime::now())?;
    let vault = Vault::new(tickets.clone());
    let mut compile = compile(machine, Slots::new(tables.clone()), vault);
    let snapshot = compile(config, &resolved, 1).map_err(|error| error.to_string())?;
    let snapshot = Arc::new(snapshot);
    let doors = Doors::open(&snapshot, passed, predecessor.is_some())?;
    let access_log = open_access_log(&snapshot)?;
    let (health, health_letters) = mailbox(limits::HEALTH_MAILBOX).map_err(cannot_start)?;
    let crew = Crew::start(&snapshot, &tables, engine, &health).map_err(cannot_start)?;
    let health_thread = health::start(health_letters, crew.mailboxes.clone(), crew.control.clone())
        .map_err(cannot_start)?;
    if let Some(predecessor) = predecessor {
        predecessor.wait_for_go()?;
    }
    // From here on this process accepts.
    let upgrades = Upgrades::new(program, doors.others);
    if !doors.test_servers.is_empty() {
        let most = snapshot.descriptors.test_servers;
        test_server::start(doors.test_servers, upgrades.accepting(), most).map_err(cannot_start)?;
    }
    memory::measure_base();
    // Before anybody is served: the health thread ignores what workers report of backends that it does not know.
    let told = health.post(ToHealth::Snapshot(snapshot.clone()));
    told.map_err(|_| "cannot start: the health thread takes no messages")?;
    crew.listen(&doors.listeners, doors.left)
        .map_err(cannot_start)?;
    announce(&snapshot, engine);
    control::run(Started {
        snapshot,
        desk,
        said,
        resolved,
        compile,
        tickets,
        listeners: doors.listeners,
        upgrades,
        workers: crew.mailboxes,
        tables,
        gauges: crew.gauges,
        access_lines: crew.access_lines,
        access_log,
        health,
        health_thread,
        letters: crew.letters,
        admin: doors.admin,
    })
    .map_err(|error| format!("the control thread cannot run: {error}"))
}

fn cannot_start(error: io::Error) -> String {
    format!("cannot start: {error}")
}

/// Every socket that this process listens on.
struct Doors {
    listeners: Listeners,
    test_servers: Vec<TcpListener>,
    /// The management API's, and what it lets through.
    admin: Option<(BoundListener, Gate)>,
    /// Duplicates of those that are not the workers'.
    others: Vec<(BoundListener, Purpose)>,
    /// For nothing any more; whoever waits in their queues is told so.
    left: Vec<BoundListener>,
}

impl Doors {
    /// Takes what was passed to this process and binds what is missing.
    fn open(snapshot: &Snapshot, passed: Vec<Passed>, is_successor: bool) -> Result<Doors, String> {
        let mut passed = Inherited::new(passed);
        let mut listeners = Listeners::new(snapshot.workers);
        let addrs = snapshot.listen_addrs();
        listeners.take_passed(&addrs, &mut passed)?;
        let patience = Duration::from_millis(limits::BIND_WAIT_MILLIS);
        listeners.add(listeners.bind_missing(&addrs, patience)?);
        let test_servers = open_test_servers(snapshot, &mut passed)?;
        let admin = open_admin(snapshot, &mut passed, patience)?;
        let left = turned_away(&mut passed, is_successor);
        let purpose = |server, is_cleartext| Purpose {
            server,
            is_cleartext,
        };
        let duplicate = |socket: &TcpListener| {
            let duplicate = socket.try_clone().and_then(BoundListener::adopt)?;
            Ok((duplicate, purpose(ServerKind::TestServer, true)))
        };
        let admins = admin.iter().map(|(socket, gate)| {
            let purpose = purpose(ServerKind::Admin, !gate.is_tls);
            socket.try_clone().map(|socket| (socket, purpose))
        });
        let others = test_servers.iter().map(duplicate).chain(admins);
        Ok(Doors {
            others: others.collect::<io::Result<_>>().map_err(cannot_start)?,
            listeners,
            test_servers,
            admin,
            left,
        })
    }
}

/// The sockets that nobody took and whose clients can be told so. All others are closed: what is spoken there takes a
/// certificate that this process may not have, or is not known.
fn turned_away(passed: &mut Inherited, is_successor: bool) -> Vec<BoundListener> {
    let mut told = Vec::new();
    while let Some((addr, sockets)) = passed.next_left() {
        match is_successor {
            true => info!("no longer listening on {addr}"),
            false => {
                warn!("a socket was passed for {addr}, which the configuration does not listen on");
            }
        }
        for (mut socket, purpose) in sockets {
            socket.came_for = purpose.filter(|purpose| purpose.is_cleartext);
            told.extend(socket.came_for.is_some().then_some(socket));
        }
    }
    told
}

fn open_test_servers(
    snapshot: &Snapshot,
    passed: &mut Inherited,
) -> Result<Vec<TcpListener>, String> {
    let open = |&addr: &SocketAddr| match passed
        .take(&ListenAddr::Tcp(addr), ServerKind::TestServer)
        .pop()
    {
        Some(passed) => Ok(passed.socket.into()),
        None => test_server::listen(addr).map_err(|error| error.to_string()),
    };
    snapshot.test_servers.iter().map(open).collect()
}

/// The management API's socket and its tokens.
fn open_admin(
    snapshot: &Snapshot,
    passed: &mut Inherited,
    patience: Duration,
) -> Result<Option<(BoundListener, Gate)>, String> {
    let Some(admin) = &snapshot.admin else {
        return Ok(None);
    };
    let tokens = Tokens::read(admin)?;
    let addr = &admin.listen_addr;
    let mut sockets = passed.take(addr, ServerKind::Admin);
    if sockets.is_empty() {
        sockets = net::bind_for_all(addr, 1, patience)
            .map_err(|error| format!("the management API cannot listen on {addr}: {error}"))?;
    }
    let listen_addr = addr.clone();
    let gate = Gate {
        listen_addr,
        tokens,
        is_tls: admin.tls.is_some(),
    };
    let Some(socket) = sockets.pop() else {
        return Ok(None);
    };
    socket.set_nonblocking().map_err(cannot_start)?;
    Ok(Some((socket, gate)))
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

fn compile(machine: Machine, mut slots: Slots, mut vault: Vault) -> Compile {
    Box::new(move |config, resolved, generation| {
        config::compile(
            config, &machine, resolved, &mut slots, &mut vault, generation,
        )
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
        let mut all_letters = Vec::new();
        for _ in 0..snapshot.workers {
            let (mailbox, letters) = mailbox(limits::WORKER_MAILBOX)?;
            crew.mailboxes.push(mailbox);
            all_letters.push(letters);
        }
        for (number, letters) in all_letters.into_iter().enumerate() {
            let (sender, lines) = crossbeam_channel::bounded(limits::ACCESS_LOG_LINES);
            crew.access_lines.push(lines);
            let start = worker::Start {
                worker: WorkerId(number as u32),
                engine,
                // With more workers than CPUs, the system places them better than we could.
                cpu: cpus
                    .get(number)
                    .copied()
                    .filter(|_| snapshot.workers <= cpus.len()),
                snapshot: snapshot.clone(),
                tables: tables.clone(),
                letters,
                links: Links {
                    gauges: crew.gauges.clone(),
                    health: health.clone(),
                    control: control.clone(),
                    access_lines: sender,
                },
                mailboxes: crew.mailboxes.clone(),
            };
            start_worker(start, control.clone())?;
        }
        Ok(crew)
    }

    /// Lets the workers accept, and turn those away who wait on the sockets that are `left`.
    fn listen(&self, listeners: &Listeners, left: Vec<BoundListener>) -> io::Result<()> {
        let posted = |mailbox: &Mailbox<ToWorker>, socket: BoundListener| {
            let posted = mailbox.post(socket.into());
            posted.map_err(|_| io::Error::other("a worker takes no messages"))
        };
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            for socket in listeners.of_worker(number)? {
                posted(mailbox, socket)?;
            }
        }
        for (socket, mailbox) in left.into_iter().zip(self.mailboxes.iter().cycle()) {
            posted(mailbox, socket)?;
        }
        Ok(())
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
    for listener in &snapshot.listeners {
        info!("listening on {listener}");
    }
    if let Some(admin) = &snapshot.admin {
        let tls = if admin.tls.is_some() { " (TLS)" } else { "" };
        info!("management API on {}{tls}", admin.listen_addr);
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
