//! All that was loaded for a configuration, kept for the next one.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use super::loaded::{Loaded, Need, take};
use super::server_trust::Roots;
use super::{
    Challenges, ClientTrust, FilesRead, Pair, PairFault, PairFiles, TicketKeys, TlsClientSettings,
    TlsFault, TlsServerSettings, client, roots, server,
};
use crate::base::limits;

/// Loads files when they are needed for the first time or have changed. If a changed file cannot be used, that is
/// logged, and the value that was loaded before stays: a certificate that is being replaced must not take a listener
/// down. A file that cannot be read is read again at every need; a file with wrong content is not read again before it
/// has changed.
///
/// By default the TLS store is empty, and no tickets are made.
#[derive(Debug, Default)]
pub struct TlsStore {
    tickets: Arc<TicketKeys>,
    challenges: Arc<Challenges>,
    pairs: HashMap<PairFiles, Loaded<Pair>>,
    /// Authorities by file; `None`: the authorities of this machine.
    roots: HashMap<Option<PathBuf>, Loaded<Roots>>,
    servers: HashMap<TlsServerSettings, Built<Server>>,
    /// By pool as well: what one resumes is no other's.
    clients: HashMap<(String, TlsClientSettings), Built<ClientConfig>>,
    /// All files that the last compilation needed.
    read: FilesRead,
    /// The generation of the last compilation.
    generation: u64,
}

/// Something built, and what of.
#[derive(Debug)]
struct Built<T> {
    pairs: Vec<Arc<Pair>>,
    roots: Option<Arc<Roots>>,
    thing: Arc<T>,
    need: Need,
}

/// The objects of rustls that are built from a listener's settings.
#[derive(Debug)]
struct Server {
    config: Arc<ServerConfig>,
    trust: Option<ClientTrust>,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct ServerSide {
    /// The settings of rustls.
    pub config: Arc<ServerConfig>,
    /// `None`: clients are not asked for a certificate.
    pub trust: Option<ClientTrust>,
    /// In the order of the configuration.
    pub pairs: Vec<Arc<Pair>>,
}

impl TlsStore {
    /// Nothing loaded yet. Tickets are made with these keys.
    pub fn new(tickets: Arc<TicketKeys>) -> TlsStore {
        TlsStore {
            tickets,
            ..TlsStore::default()
        }
    }

    /// The answers to certificate authorities that all values built here give.
    pub fn challenges(&self) -> Arc<Challenges> {
        self.challenges.clone()
    }

    /// A certificate and its key. Errors: they cannot be used, and never could before.
    pub fn pair(&mut self, files: &PairFiles) -> Result<Arc<Pair>, PairFault> {
        let now = FilesRead::now(&files.paths());
        let name = files.cert.display();
        take(&mut self.pairs, &mut self.read, files, now, &name, || {
            Pair::load(files)
        })
    }

    /// The authorities of a file. Errors: what is wrong with it, and always was.
    pub fn roots(&mut self, path: &Path) -> Result<Arc<Roots>, TlsFault> {
        let key = path.to_owned();
        let (now, name) = (FilesRead::now([&key]), path.display());
        let load = || roots::of_file(path);
        let key = Some(key.clone());
        let taken = take(&mut self.roots, &mut self.read, &key, now, &name, load);
        Ok(taken?)
    }

    /// The authorities of this machine. Errors: there are none, or they cannot be read.
    pub fn system_roots(&mut self) -> Result<Arc<Roots>, TlsFault> {
        let now = FilesRead::now(&roots::system_paths());
        let (roots, read, load) = (&mut self.roots, &mut self.read, roots::of_system);
        let taken = take(
            roots,
            read,
            &None,
            now,
            &"one of this machine's authorities",
            load,
        );
        Ok(taken?)
    }

    /// TLS of a listener; the same thing as before if nothing has changed. Errors: the first file that cannot be used,
    /// and why.
    ///
    /// A pair that palantir orders itself is left out until it is there: a handshake for its name is then one for a
    /// name that no certificate is for. A certificate of our own issue in its place would be refused by every client
    /// that verifies, and teach the others not to.
    pub fn server(&mut self, settings: &TlsServerSettings) -> Result<ServerSide, TlsFault> {
        let mut pairs = self.all_pairs(&settings.pairs)?;
        let automatic = settings.automatic.iter();
        pairs.extend(automatic.filter_map(|files| self.pair(files).ok()));
        let ca = settings.client_ca.as_ref().map(|ca| ca.file.as_path());
        let roots = self.named_roots(ca)?;
        let (tickets, challenges) = (self.tickets.clone(), self.challenges.clone());
        let build = || {
            let ca = settings.client_ca.as_ref().zip(roots.clone());
            let trust = ca.map(|(ca, roots)| ClientTrust::new(roots.clone(), ca.required));
            let trust = trust.transpose()?;
            let config = server::build(settings, &pairs, trust.as_ref(), &tickets, &challenges)?;
            let config = Arc::new(config);
            Ok(Server { config, trust })
        };
        let server = keep(&mut self.servers, settings, &pairs, &roots, build)?;
        Ok(ServerSide {
            config: server.config.clone(),
            trust: server.trust.clone(),
            pairs,
        })
    }

    /// TLS of the pool of this name; the same thing as before, with what it can resume, if nothing has changed. Errors:
    /// the first file that cannot be used, and why.
    pub fn client(
        &mut self,
        pool: &str,
        settings: &TlsClientSettings,
    ) -> Result<Arc<ClientConfig>, TlsFault> {
        let pairs = self.all_pairs(settings.pair.as_slice())?;
        let roots = match (settings.verify, &settings.ca) {
            (false, _) => None,
            (true, Some(path)) => self.named_roots(Some(path))?,
            (true, None) => Some(self.system_roots()?),
        };
        let pair = pairs.first().map(|pair| &**pair);
        let build = || client::build(settings, pair, roots.clone());
        let key = (pool.to_owned(), settings.clone());
        keep(&mut self.clients, &key, &pairs, &roots, build)
    }

    /// Begins the compilation of a snapshot of this generation while `revision` is in force, and forgets the values
    /// that are of no more use: built values that `revision` does not need, and pairs and authorities that no revision
    /// needs which can be gone back to. The last compilation has come into force only if its generation is in force,
    /// that is, if `generation` is the next one.
    pub fn begin(&mut self, generation: u64, revision: u64) {
        let in_force = (generation > self.generation).then_some(revision);
        self.generation = generation;
        self.read = FilesRead::default();
        let oldest = (revision + 1).saturating_sub(limits::REVISIONS as u64);
        let is_kept = |need: &mut Need, oldest| need.settle(in_force) >= Some(oldest);
        self.pairs.retain(|_, kept| is_kept(&mut kept.need, oldest));
        self.roots.retain(|_, kept| is_kept(&mut kept.need, oldest));
        self.servers
            .retain(|_, kept| is_kept(&mut kept.need, revision));
        self.clients
            .retain(|_, kept| is_kept(&mut kept.need, revision));
    }

    /// The files that this compilation has needed so far, including those that do not exist.
    pub fn files(&self) -> FilesRead {
        self.read.clone()
    }

    fn all_pairs(&mut self, files: &[PairFiles]) -> Result<Vec<Arc<Pair>>, TlsFault> {
        let pairs = files.iter().map(|files| self.pair(files));
        pairs.map(|pair| Ok(pair?)).collect()
    }

    fn named_roots(&mut self, path: Option<&Path>) -> Result<Option<Arc<Roots>>, TlsFault> {
        let Some(path) = path else {
            return Ok(None);
        };
        let roots = self.roots(path);
        roots.map(Some).map_err(|fault| TlsFault {
            text: format!("{} {fault}", path.display()),
            ..fault
        })
    }
}

/// The value that was built for `key`, built anew if its origin has changed.
fn keep<K: Clone + Eq + Hash, T>(
    kept: &mut HashMap<K, Built<T>>,
    key: &K,
    pairs: &[Arc<Pair>],
    roots: &Option<Arc<Roots>>,
    build: impl FnOnce() -> Result<T, rustls::Error>,
) -> Result<Arc<T>, TlsFault> {
    if let Some(known) = kept.get_mut(key)
        && is_same(known.pairs.iter(), pairs.iter())
        && is_same(known.roots.iter(), roots.iter())
    {
        known.need.note();
        return Ok(known.thing.clone());
    }
    let thing = Arc::new(build()?);
    let built = Built {
        pairs: pairs.to_vec(),
        roots: roots.clone(),
        thing: thing.clone(),
        need: Need::of_now(),
    };
    kept.insert(key.clone(), built);
    Ok(thing)
}

/// Whether these are the very same things.
fn is_same<'a, T: 'a>(
    one: impl ExactSizeIterator<Item = &'a Arc<T>>,
    other: impl ExactSizeIterator<Item = &'a Arc<T>>,
) -> bool {
    one.len() == other.len() && one.zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}
