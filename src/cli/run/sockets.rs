//! Every socket that a process listens on: passed by an old process or a service manager, or bound anew.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tracing::{info, warn};

use super::cannot_start;
use crate::base::addresses::{ListenAddr, Purpose, ServerKind};
use crate::base::limits;
use crate::control::api::{AccessPolicy, Tokens};
use crate::control::listeners::Listeners;
use crate::control::upgrade::Upgrades;
use crate::net::{self, BoundListener, Inherited, Passed};
use crate::snapshot::{ClientCertificate, Snapshot};
use crate::test_server;

/// Every socket that this process listens on.
pub(super) struct Sockets {
    /// The listening sockets of the workers.
    pub listeners: Listeners,
    /// The sockets of the test servers.
    pub test_servers: Vec<TcpListener>,
    /// The socket of the management API, and the checks for its requests.
    pub admin: Option<(BoundListener, AccessPolicy)>,
    /// Duplicates of the sockets that are not the workers', for the next process.
    pub others: Vec<(BoundListener, Purpose)>,
    /// The sockets that this process has no use for. The clients that wait in their queues are turned away.
    pub left: Vec<BoundListener>,
}

impl Sockets {
    /// Takes the sockets that were passed to this process, and binds the missing ones. `is_successor`: an old process
    /// has passed them, and not a service manager. Errors: an address cannot be listened on, or no descriptors are
    /// left.
    pub fn open(
        snapshot: &Snapshot,
        passed: Vec<Passed>,
        is_successor: bool,
    ) -> Result<Sockets, String> {
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
        let admins = admin.iter().map(|(socket, access_policy)| {
            let purpose = purpose(ServerKind::Admin, !access_policy.is_tls);
            socket.try_clone().map(|socket| (socket, purpose))
        });
        let others = test_servers.iter().map(duplicate).chain(admins);
        Ok(Sockets {
            others: others.collect::<io::Result<_>>().map_err(cannot_start)?,
            listeners,
            test_servers,
            admin,
            left,
        })
    }
}

/// The sockets that nobody took and whose clients can be told so. All others are closed: their clients speak TLS, for
/// which this process may have no certificate, or a protocol that is not known.
fn turned_away(passed: &mut Inherited, is_successor: bool) -> Vec<BoundListener> {
    let mut told = Vec::new();
    while let Some((addr, sockets)) = passed.next_left() {
        if is_successor {
            info!("no longer listening on {addr}");
        } else {
            warn!("a socket was passed for {addr}, which the configuration does not listen on");
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

/// The management API's socket and its tokens. Errors: the tokens cannot be read, or the address cannot be listened on.
fn open_admin(
    snapshot: &Snapshot,
    passed: &mut Inherited,
    patience: Duration,
) -> Result<Option<(BoundListener, AccessPolicy)>, String> {
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
    let access_policy = AccessPolicy {
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
    Ok(Some((socket, access_policy)))
}

/// Starts the test servers, which accept when the control thread lets them. Errors: no threads are left.
pub(super) fn start_test_servers(
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

/// Duplicates of the listening sockets for each worker, and those in `left`, whose waiting clients are to be turned
/// away. Errors: no descriptors are left.
pub(super) fn by_worker(
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
