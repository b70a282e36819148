//! The preparation of a change: every step that may fail before the change comes into force. The thread that works with
//! files runs them, with the configuration that was in force when the preparation began.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, warn};

use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::limits;
use crate::config::{self, CannotCompile, Config, Machine, Mistakes, Resolved};
use crate::control::access_log::{LogFile, open_in_time};
use crate::control::compiler::Compiler;
use crate::control::config_store::state_file::{self, SavedState};
use crate::control::config_store::state_lock::StateLock;
use crate::control::config_store::{ConfigStore, Edit, Problem, ProblemKind, Proposal};
use crate::control::file_thread::Job;
use crate::control::listeners::Listeners;
use crate::control::requested_file::RequestedFile;
use crate::net::{self, BoundListener};
use crate::snapshot::{AccessLog, Snapshot};
use crate::tls::{FilesRead, TicketKeys};

/// The source of a change.
#[derive(Debug)]
pub enum ConfigSource {
    /// A change of one pool or backend.
    Edit(Edit),
    /// The configuration file; a file without any route or listener only with `allow_empty`.
    File {
        allow_empty: bool,
        /// The content that a signal asked for; `None`: any content.
        asked: Option<RequestedFile>,
    },
    /// The earlier revision of this number.
    Revision(u64),
}

/// The present state, as far as the preparation of a change needs it.
#[derive(Clone)]
pub struct Present {
    /// The configuration, with the changes of the API.
    pub config_store: Arc<ConfigStore>,
    /// The content and the path of the state file.
    pub saved: Arc<Saved>,
    /// The snapshot in force.
    pub snapshot: Arc<Snapshot>,
    /// The addresses of names; `addresses` is their version.
    pub resolved: Resolved,
    /// The version of `resolved`.
    pub addresses: u64,
    /// The addresses that are listened on.
    pub listening: Vec<ListenAddr>,
    /// The files of TLS, as they were when they were last read.
    pub seen: FilesRead,
}

/// The state that was written to the disk.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The path of the state file; `None`: there is none.
    pub path: Option<PathBuf>,
    /// The content of the state file.
    pub state: SavedState,
    /// The lock of the state file. A piece of work that may still write the file shares it.
    pub lock: Option<Arc<StateLock>>,
}

/// Everything that is needed to put a change in force.
pub struct Ready {
    /// The compiled configuration.
    pub snapshot: Arc<Snapshot>,
    /// The listeners that the change adds.
    pub added: Listeners,
    /// For each worker, the sockets of `added`.
    pub sockets: Vec<Vec<BoundListener>>,
    /// The effect of the change on the access log.
    pub access_log: NewLog,
    /// The version of the addresses in the snapshot.
    pub addresses: u64,
}

/// The result of the work for a change.
pub struct Made {
    /// `None`: there is nothing to put in force.
    pub ready: Option<Ready>,
    /// The state that is on the disk now.
    pub saved: Saved,
    /// Parts of the work that failed without stopping the change.
    pub notes: Vec<String>,
}

/// The effect of a change on the access log.
pub enum NewLog {
    /// The access log stays as it is.
    AsItIs,
    /// The access log goes to this file from now on; `None`: there is no access log any more.
    Instead(Option<LogFile>),
}

/// The result of a look at the files.
pub struct Looked {
    /// Why the keys of session tickets could not be stored.
    pub tickets: Option<String>,
    /// `None`: no file has changed.
    pub ready: Option<Result<Ready, Problem>>,
}

/// Makes and checks a change from a source. Errors: the reasons why it cannot be made.
pub fn propose(
    job: &Job,
    config_store: &ConfigStore,
    source: &ConfigSource,
) -> Result<Proposal, Problem> {
    job.note("checking the configuration");
    match source {
        ConfigSource::Edit(edit) => config_store.propose(edit),
        ConfigSource::File { allow_empty, asked } => {
            let file = load_file(job, config_store)?;
            if let Some(asked) = asked {
                asked.check(&state_file::digest(file.text()))?;
            }
            if file.is_empty() && !allow_empty && !config_store.config().is_empty() {
                return Err(Problem::new(ProblemKind::Invalid, is_empty(&file.path)));
            }
            Ok(config_store.propose_file(file))
        }
        ConfigSource::Revision(number) => config_store.propose_revision(*number),
    }
}

/// The digest of the configuration file, whatever is in it. Errors: the file cannot be read.
pub fn digest_of_file(job: &Job, config_store: &ConfigStore) -> Result<String, String> {
    let path = &config_store.config().path;
    job.note(format!("reading {}", path.display()));
    let text = config::read_settled(path).map_err(|error| error.to_string())?;
    Ok(state_file::digest(&text))
}

/// Reads the configuration file. Errors: all its mistakes.
pub fn load_file(job: &Job, config_store: &ConfigStore) -> Result<Config, Problem> {
    let path = &config_store.config().path;
    job.note(format!("reading {}", path.display()));
    let config = config::load_settled(path).map_err(|mistakes| problem(&mistakes))?;
    for warning in config.warnings(&Machine::of_this_process()) {
        warn!("{warning}");
    }
    Ok(config)
}

fn is_empty(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path}: there is no route or no listener, so that nothing would be served; to take it over nevertheless, \
         reload with allow_empty"
    )
}

impl Present {
    /// Prepares a proposal, and saves what the API has said with it. Errors: why it cannot come into force; nothing of
    /// it is on the disk then.
    pub fn make_ready(
        &self,
        compiler: &mut Compiler,
        job: &Job,
        proposal: &Proposal,
        state: SavedState,
    ) -> Result<Made, Problem> {
        let ready = if proposal.changed || self.have_files_changed(job) {
            Some(self.compile_and_bind(compiler, job, &proposal.config)?)
        } else {
            None
        };
        let path = state_path(&proposal.config);
        let saved = self.save(job, path, state)?;
        // Every step that can fail is done: the change comes into force unless it was given up.
        let snapshot = ready
            .as_ref()
            .map_or(&self.snapshot, |ready| &ready.snapshot);
        Ok(Made {
            notes: self.allow(job, proposal, snapshot),
            ready,
            saved,
        })
    }

    /// Sets the rights of Unix sockets that palantir listens on already. A reload corrects all of them, because an
    /// earlier attempt may have failed. Returns the rights that cannot be set.
    fn allow(&self, job: &Job, proposal: &Proposal, snapshot: &Snapshot) -> Vec<String> {
        job.note("setting the rights of Unix sockets");
        let places = if proposal.is_of_file() {
            let mut places = snapshot.listen_places();
            places.retain(|(addr, _)| self.listening.contains(addr));
            net::unlike(places)
        } else {
            self.changed_access(snapshot)
        };
        if places.is_empty() || !job.commit() {
            return Vec::new();
        }
        let failed = net::allow(&places);
        for failed in &failed {
            error!("{failed}; everything else of the change comes into force");
        }
        let again = |failed| format!("{failed}; the next reload tries it again");
        failed.into_iter().map(again).collect()
    }

    /// Prepares the configuration in force with the addresses that are known now. Errors: why it cannot be used.
    pub fn with_addresses(&self, compiler: &mut Compiler, job: &Job) -> Result<Ready, Problem> {
        self.compile_and_bind(compiler, job, self.config_store.config())
    }

    /// Looks at the files of TLS, prepares the configuration in force anew if they have changed, and renews the keys of
    /// session tickets when that is due.
    pub fn look_at_files(
        &self,
        compiler: &mut Compiler,
        job: &Job,
        tickets: &TicketKeys,
    ) -> Looked {
        job.note("writing the keys of TLS tickets");
        let tickets = tickets.renew(SystemTime::now()).err();
        let is_changed = self.have_files_changed(job);
        let ready =
            is_changed.then(|| self.compile_and_bind(compiler, job, self.config_store.config()));
        Looked { tickets, ready }
    }

    /// Whether the files of certificates have changed since they were read, or a file that could not be read is
    /// readable now.
    fn have_files_changed(&self, job: &Job) -> bool {
        job.note("looking at the files of certificates");
        self.seen.have_changed()
    }

    fn compile_and_bind(
        &self,
        compiler: &mut Compiler,
        job: &Job,
        config: &Config,
    ) -> Result<Ready, Problem> {
        let failed = |text: String| Problem::new(ProblemKind::Failed, text);
        let before = &self.snapshot;
        job.note("reading certificates and keys");
        let generation = before.generation + 1;
        let revision = self.config_store.revision();
        let compiled = compiler.compile(config, &self.resolved, generation, revision);
        let snapshot = compiled.map_err(uncompiled)?;
        job.note("opening listening sockets");
        let added = self.bind_missing(&snapshot).map_err(failed)?;
        let sockets = (0..before.workers).map(|worker| added.of_worker(worker));
        let sockets: std::io::Result<_> = sockets.collect();
        let sockets = sockets.map_err(|error| failed(error.to_string()))?;
        // Last, because opening makes the file, which a change that is refused must not leave behind.
        let access_log = if snapshot.access_log == before.access_log {
            NewLog::AsItIs
        } else {
            let path = snapshot.access_log.as_ref().map(|log| log.path.display());
            let path = path.map(|path| path.to_string()).unwrap_or_default();
            job.note(format!("opening the access log {path}"));
            NewLog::Instead(open_log(snapshot.access_log.as_ref()).map_err(failed)?)
        };
        Ok(Ready {
            sockets,
            snapshot: Arc::new(snapshot),
            added,
            access_log,
            addresses: self.addresses,
        })
    }

    fn bind_missing(&self, snapshot: &Snapshot) -> Result<Listeners, String> {
        let mut places = snapshot.listen_places();
        places.retain(|(addr, _)| !self.listening.contains(addr));
        let patience = Duration::from_millis(limits::REBIND_WAIT_MILLIS);
        let added = Listeners::new(self.snapshot.workers).bind_missing(&places, patience)?;
        net::may_allow(&self.changed_access(snapshot))?;
        Ok(added)
    }

    /// The addresses of the present listeners whose Unix sockets get other access rights.
    fn changed_access(&self, snapshot: &Snapshot) -> Vec<(ListenAddr, SocketAccess)> {
        let (before, mut places) = (self.snapshot.listen_places(), snapshot.listen_places());
        places.retain(|place| {
            let known = before.iter().find(|(addr, _)| *addr == place.0);
            known.is_some_and(|known| known != place)
        });
        places
    }

    /// Saves what is to outlive the process, if there is a file for it that does not say so already. One that is new
    /// with the change is written too: the next start reads it. Errors: it cannot be written, or something else is
    /// there.
    pub fn save(
        &self,
        job: &Job,
        path: Option<PathBuf>,
        state: SavedState,
    ) -> Result<Saved, Problem> {
        let Some(path) = path else {
            state_file::check_size(&state)?;
            if let Some(path) = &self.saved.path {
                let path = path.display();
                warn!(
                    "there is no state_file any more ({path}): what the API changes is lost at the next start"
                );
            }
            return Ok(Saved {
                state,
                ..Saved::default()
            });
        };
        job.note(format!("writing the state file {}", path.display()));
        let before = self.saved.lock.as_ref();
        // A link on the way to the file may lead elsewhere by now, such as to the file of another process.
        let has_moved = self.saved.path.as_ref() != Some(&path)
            || !before.is_some_and(|lock| lock.is_of(&path));
        let lock = self.lock_of(&path)?;
        if has_moved {
            state_file::load(&path).map_err(|why| Problem::new(ProblemKind::Failed, why))?;
        }
        if has_moved || state != self.saved.state {
            state_file::save(&path, &state, || job.commit())?;
        }
        Ok(Saved {
            path: Some(path),
            state,
            lock: Some(lock),
        })
    }

    /// The lock of a state file: of another file than before, or of the same file by another name. Errors: another
    /// process holds it.
    fn lock_of(&self, path: &Path) -> Result<Arc<StateLock>, Problem> {
        let same = self.saved.lock.as_ref().filter(|lock| lock.is_of(path));
        let lock = match same {
            Some(lock) => return Ok(lock.clone()),
            None => StateLock::take(path, Duration::ZERO),
        };
        let lock = lock.map_err(|why| Problem::new(ProblemKind::Failed, why))?;
        Ok(Arc::new(lock))
    }
}

/// The path of a configuration's state file.
pub fn state_path(config: &Config) -> Option<PathBuf> {
    config.settings.admin.as_ref()?.state_file.clone()
}

fn open_log(settings: Option<&AccessLog>) -> Result<Option<LogFile>, String> {
    let patience = Duration::from_millis(limits::ACCESS_LOG_RELOAD_MILLIS);
    let open =
        |settings| open_in_time(settings, patience).map_err(|error| format!("access log: {error}"));
    settings.map(open).transpose()
}

/// The problem that reports why a configuration cannot be compiled.
fn uncompiled(error: CannotCompile) -> Problem {
    match error {
        CannotCompile::TooManyBackends(error) => Problem::new(ProblemKind::Full, error.to_string()),
        CannotCompile::Tls {
            key,
            text,
            may_pass,
        } => Problem {
            kind: kind_of_fault(may_pass),
            mistakes: vec![(key, text)],
        },
    }
}

/// A fault that may pass though nobody changes anything is tried again.
fn kind_of_fault(may_pass: bool) -> ProblemKind {
    if may_pass {
        ProblemKind::Unavailable
    } else {
        ProblemKind::Invalid
    }
}

/// The problem that reports the mistakes of a file.
fn problem(mistakes: &Mistakes) -> Problem {
    let path = mistakes.path.display();
    let notes = mistakes.notes.iter();
    let notes = notes.map(|note| (note.key.clone(), format!("{path}:{note}")));
    let more = (mistakes.left_out > 0).then(|| {
        (
            String::new(),
            format!("{path}: and {} more", mistakes.left_out),
        )
    });
    Problem {
        kind: kind_of_fault(mistakes.may_pass),
        mistakes: notes.chain(more).collect(),
    }
}
