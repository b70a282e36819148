//! palantir's entry: arguments → configuration → threads → exit code.

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use palantir::base::addresses::{ListenAddr, Purpose, ServerKind};
use palantir::base::ids::WorkerId;
use palantir::base::limits;
use palantir::base::log;
use palantir::base::memory::{self, Counted};
use palantir::base::time::Micros;
use palantir::cli::{self, Command};
use palantir::config::{self, Config, Machine, ServerTlsSettings, Sharing};
use palantir::control::access_log::{AccessLog, open_in_time};
use palantir::control::api::{Gate, Tokens};
use palantir::control::desk::Desk;
use palantir::control::desk::state_file::State;
use palantir::control::listeners::Listeners;
use palantir::control::resolve::{self, Compile, Known, LookUps, Names};
use palantir::control::start_files;
use palantir::control::start_state::StartState;
use palantir::control::systemd;
use palantir::control::upgrade::{self, HealthReport, Predecessor, Program, Upgrades};
use palantir::control::{self, StartSignals, Started};
use palantir::messages::links::Links;
use palantir::messages::{LeftToDo, Resumption, ToControl, ToHealth, ToWorker};
use palantir::net::{self, Blob, BoundListener, Engine, Handed, Inherited, Passed};
use palantir::shared::SharedTables;
use palantir::shared::access::AccessLine;
use palantir::shared::backend_table::BackendTables;
use palantir::shared::gauges::{self, AllGauges};
use palantir::shared::health_record::HealthRecord;
use palantir::shared::mailbox::{Letters, Mailbox, mailbox};
use palantir::shared::slots::Slots;
use palantir::shared::socket_files;
use palantir::snapshot::{ClientCertificate, Snapshot};
use palantir::tls::{TicketKeys, Vault};
use palantir::worker;
use palantir::{health, test_server};
use tokio::sync::watch;
use tracing::{error, info, warn};
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
    let code = carry_out(command, &path);
    log::flush();
    code
}

fn carry_out(command: Command, path: &Path) -> ExitCode {
    match command {
        Command::Check => cli::check(path),
        Command::Explain {
            method,
            url,
            listener,
        } => cli::explain(path, &method, &url, listener.as_deref()),
        Command::TestServer { listen } => match test_servers(&listen) {
            Ok(thread) => end_of(thread),
            Err(error) => refuse(&error.to_string()),
        },
        Command::Remote(wish) => cli::remote(path, &wish),
        Command::Run => match run_or_tell(path) {
            // Runtimes with operations under way must not be dropped.
            Ok(code) => {
                log::flush();
                process::exit(code.into())
            }
            Err(reason) => refuse(&reason),
        },
    }
}

/// Starts the log. A process that cannot start threads reports that when it starts the workers.
fn start_log() {
    let _ = log::start();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| log::Lines)
        .log_internal_errors(false) // They would be printed to standard error.
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn refuse(reason: &str) -> ExitCode {
    log::say(reason);
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
    let start_signals = StartSignals::watch().map_err(cannot_start)?;
    net::raise_descriptor_limit();
    net::forgo_huge_pages();
    let engine = Engine::choose()?;
    let mut ready = make_ready(path, engine, predecessor)?;
    if let Some(predecessor) = predecessor {
        predecessor.wait_for_go()?;
    }
    drop(start_signals);
    ready.left.write()?;
    ready.accept()?;
    if let Some(predecessor) = predecessor {
        let farewell = predecessor.farewell(ready.control.stopping());
        ready.follow(farewell).map_err(cannot_start)?;
    }
    Ok(ready.announce(engine).run())
}

/// The parts of the program that have been started and wait to accept.
struct Ready {
    snapshot: Arc<Snapshot>,
    control: control::Prepared,
    to_control: Mailbox<ToControl>,
    health: Mailbox<ToHealth>,
    workers: Vec<Mailbox<ToWorker>>,
    /// For each worker, the sockets to accept on.
    sockets: Vec<Vec<BoundListener>>,
    /// The state that an earlier process has left.
    left: StartState,
    /// What the health thread of the old process knew of the backends.
    known_backends: Vec<HealthRecord>,
}

/// Does everything that can fail, before anybody is served.
fn make_ready(
    path: &Path,
    engine: Engine,
    predecessor: Option<&Predecessor>,
) -> Result<Ready, String> {
    let program = Program::of_this_process();
    let mut handed = take_handed(predecessor)?;
    let machine = Machine::of_this_process();
    let told = predecessor.map(|_| handed.blobs.as_slice());
    let config = load(path, &machine, told)?;
    let left = find_left(&config, &mut handed)?;
    let desk = take_to_desk(config, &left.state);
    let Compiled {
        snapshot,
        compile,
        known,
        look_ups,
        tables,
        tickets,
    } = compile_first(desk.config(), &handed.blobs, machine)?;
    let doors = Doors::open(&snapshot, handed.sockets, predecessor.is_some())?;
    let (health, health_letters) = mailbox(limits::HEALTH_MAILBOX).map_err(cannot_start)?;
    let Crew {
        mailboxes,
        gauges,
        access_lines,
        control: to_control,
        letters,
    } = Crew::start(&snapshot, &tables, engine, &health).map_err(cannot_start)?;
    let access_log = start_access_log(&snapshot, access_lines, gauges.clone())?;
    let (workers, control) = (mailboxes.clone(), to_control.clone());
    let started = health::start(health_letters, workers, control, &tables);
    let health_thread = started.map_err(cannot_start)?;
    repeat(&mailboxes, &snapshot)?;
    control::wait_for_workers(&letters, snapshot.workers, drop)?;
    let upgrades = Upgrades::new(program, HealthReport::of(health.clone()), doors.others);
    start_test_servers(doors.test_servers, &upgrades, &snapshot).map_err(cannot_start)?;
    let sockets = sockets_by_worker(&doors.listeners, doors.left, snapshot.workers);
    let sockets = sockets.map_err(cannot_start)?;
    let control = control::prepare(Started {
        snapshot: snapshot.clone(),
        desk,
        left: left.clone(),
        known,
        look_ups,
        compile,
        tickets,
        listeners: doors.listeners,
        upgrades,
        is_alone: predecessor.is_none(),
        workers: mailboxes.clone(),
        tables,
        gauges,
        access_log,
        health: health.clone(),
        health_thread,
        letters,
        admin: doors.admin,
    })
    .map_err(cannot_start)?;
    Ok(Ready {
        snapshot,
        control,
        to_control,
        health,
        workers: mailboxes,
        sockets,
        left,
        known_backends: upgrade::health_from_blobs(&handed.blobs),
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

/// The first snapshot, and the means to compile further ones.
struct Compiled {
    snapshot: Arc<Snapshot>,
    /// Compiles all further snapshots.
    compile: Compile,
    known: Known,
    look_ups: LookUps,
    tables: SharedTables,
    tickets: Arc<TicketKeys>,
}

/// Compiles the configuration with the addresses of names that the old process sent, or that are found within a moment.
fn compile_first(config: &Config, told: &[Blob], machine: Machine) -> Result<Compiled, String> {
    let (look_ups, known) =
        resolve::begin(&Names::of(config), resolve::from_blobs(told)).map_err(cannot_start)?;
    let tables = BackendTables::new(config::workers(&config.settings, &machine));
    let tickets = TicketKeys::open(config.settings.ticket_key_file.clone(), SystemTime::now())?;
    let vault = Vault::new(tickets.clone());
    let admin_tls = config.settings.admin_tls.clone();
    let mut compile = compile(machine, admin_tls, Slots::new(tables.clone()), vault);
    let snapshot = compile(config, known.resolved(), 1).map_err(|error| error.to_string())?;
    Ok(Compiled {
        snapshot: Arc::new(snapshot),
        compile,
        known,
        look_ups,
        tables,
        tickets,
    })
}

fn start_test_servers(
    sockets: Vec<TcpListener>,
    upgrades: &Upgrades,
    snapshot: &Snapshot,
) -> io::Result<()> {
    if sockets.is_empty() {
        return Ok(());
    }
    let most = snapshot.descriptors.test_servers;
    test_server::start(sockets, upgrades.accepting(), most).map(drop)
}

impl Ready {
    /// Lets all workers and servers accept, and waits until all workers do.
    fn accept(&mut self) -> Result<(), String> {
        memory::measure_base();
        // This comes before anybody is served, because the health thread ignores reports of workers about backends that
        // it does not know.
        self.begin_to_watch()?;
        for (mailbox, sockets) in self.workers.iter().zip(self.sockets.drain(..)) {
            let mut sockets = sockets.into_iter();
            sockets.try_for_each(|socket| post(mailbox, socket.into()))?;
        }
        repeat(&self.workers, &self.snapshot)?;
        self.control.accept()
    }

    /// Lets the health thread begin. After an upgrade it tells the workers what the old process knew of the backends
    /// before the first client is accepted.
    fn begin_to_watch(&mut self) -> Result<(), String> {
        let records = std::mem::take(&mut self.known_backends);
        let snapshot = self.snapshot.clone();
        let (told, tells) = crossbeam_channel::bounded(1);
        let is_new = records.is_empty();
        let message = match is_new {
            true => ToHealth::Snapshot(snapshot),
            false => ToHealth::Resume(Resumption {
                snapshot,
                records,
                told,
            }),
        };
        let posted = self.health.post(message);
        posted.map_err(|_| "cannot start: the health thread takes no messages")?;
        let patience = Duration::from_millis(limits::HEALTH_RESUME_MILLIS);
        if !is_new && tells.recv_timeout(patience).is_err() {
            warn!("the health thread is slow: the first requests may reach backends that are down");
        }
        Ok(())
    }

    /// Logs the configuration, and drops everything but the control thread: nothing may hold the first snapshot for
    /// longer.
    fn announce(self, engine: Engine) -> control::Prepared {
        announce(&self.snapshot, engine);
        self.control
    }

    /// Tells the old process that this one accepts, on a thread of its own, and the control thread when the old process
    /// is over. Errors: no thread can be started; the old process has heard nothing then.
    fn follow(
        &self,
        farewell: impl FnOnce(&mut dyn FnMut(LeftToDo)) + Send + 'static,
    ) -> io::Result<()> {
        let control = self.to_control.clone();
        let mut places = self.snapshot.listen_places();
        let admin = self.snapshot.admin.as_ref();
        places.extend(admin.map(|admin| (admin.listen_addr.clone(), admin.access)));
        let mut lock = self.left.lock.clone();
        let mut be_alone = move |left| {
            socket_files::own_all();
            // The control thread keeps the lock; this thread only writes the process id.
            if let Some(lock) = lock.take() {
                lock.sign();
            }
            for failed in net::allow(&places) {
                error!("{failed}");
            }
            let _ = control.post(ToControl::PredecessorOver(left));
        };
        let work = move || farewell(&mut be_alone);
        let named = thread::Builder::new().name("upgrade".to_owned());
        named.spawn(work).map(drop)
    }
}

/// Reads the configuration file. A process that takes over reads it as a reload does, by what the old process has
/// `told`.
fn load(path: &Path, machine: &Machine, told: Option<&[Blob]>) -> Result<Config, String> {
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
    match complaints.is_empty() {
        true => Ok(config),
        false => Err(complaints.join("\n")),
    }
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
        let places = snapshot.listen_places();
        listeners.take_passed(&places, &mut passed)?;
        let patience = Duration::from_millis(limits::BIND_WAIT_MILLIS);
        listeners.add(listeners.bind_missing(&places, patience)?);
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
    let allowed = net::may_allow(&[(addr.clone(), admin.access)]);
    allowed.map_err(|error| format!("the management API's socket: {error}"))?;
    if sockets.is_empty() {
        let place = (addr.clone(), admin.access);
        sockets = net::bind_for_all(&place, 1, patience)
            .map_err(|error| format!("the management API cannot listen on {addr}: {error}"))?;
    }
    let listen_addr = addr.clone();
    let gate = Gate {
        listen_addr,
        tokens,
        is_tls: admin.tls.is_some(),
        wants_certificate: snapshot
            .admin_tls
            .as_ref()
            .is_some_and(|tls| tls.client_certificate == ClientCertificate::Required),
    };
    let Some(socket) = sockets.pop() else {
        return Ok(None);
    };
    socket.set_nonblocking().map_err(cannot_start)?;
    Ok(Some((socket, gate)))
}

fn start_access_log(
    snapshot: &Snapshot,
    lines: Vec<Receiver<AccessLine>>,
    gauges: AllGauges,
) -> Result<AccessLog, String> {
    let patience = Duration::from_millis(limits::ACCESS_LOG_OPEN_MILLIS);
    let open =
        |settings| open_in_time(settings, patience).map_err(|error| format!("access log: {error}"));
    let file = snapshot.access_log.as_ref().map(open).transpose()?;
    AccessLog::start(file, lines, gauges).map_err(cannot_start)
}

/// The configuration of the file with the changes that the API made before this process started.
fn take_to_desk(file: Config, state: &State) -> Desk {
    let (desk, notes) = Desk::new(file, state.said.clone(), SystemTime::now());
    if state.taken_back == Some(desk.file_digest()) {
        warn!(
            "the configuration file is the one that a rollback has taken back, or that was on trial and was not \
             confirmed"
        );
    }
    for note in notes {
        info!("{note}");
    }
    desk
}

/// Compiles a configuration for a process whose management API was started with `admin_tls`.
fn compile(
    machine: Machine,
    admin_tls: Option<ServerTlsSettings>,
    mut slots: Slots,
    mut vault: Vault,
) -> Compile {
    let mut sharing = Sharing::default();
    Box::new(move |config, resolved, generation| {
        let (admin_tls, slots, vault) = (admin_tls.as_ref(), &mut slots, &mut vault);
        let compiled = config::compile_beside(
            admin_tls, config, &machine, resolved, slots, vault, generation,
        );
        compiled.map(|snapshot| sharing.share(snapshot))
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
}

/// Sends the workers the snapshot that they have: they report it when they have followed all earlier orders.
fn repeat(mailboxes: &[Mailbox<ToWorker>], snapshot: &Arc<Snapshot>) -> Result<(), String> {
    let mut all = mailboxes.iter();
    all.try_for_each(|mailbox| post(mailbox, ToWorker::Snapshot(snapshot.clone())))
}

fn post(mailbox: &Mailbox<ToWorker>, message: ToWorker) -> Result<(), String> {
    let posted = mailbox.post(message);
    posted.map_err(|_| "cannot start: a worker takes no messages".to_owned())
}

/// Duplicates of the listening sockets for each worker, and those in `left`, whose waiting clients are to be turned
/// away. Errors: no descriptors are left.
fn sockets_by_worker(
    listeners: &Listeners,
    left: Vec<BoundListener>,
    workers: usize,
) -> io::Result<Vec<Vec<BoundListener>>> {
    let own = (0..workers).map(|number| listeners.of_worker(number));
    let mut sockets: Vec<Vec<BoundListener>> = own.collect::<io::Result<_>>()?;
    for (number, socket) in left.into_iter().enumerate() {
        sockets[number % workers].push(socket);
    }
    Ok(sockets)
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
