//! The way of a configuration: written by the operator → checked → compiled.
//!
//! [`load`] reads a file and reports every mistake in it at once, each with line, column and what would be right;
//! [`compile()`] makes a [`crate::snapshot::Snapshot`] of it. Between the two stands a [`Config`], which is checked but
//! still in the form of the file, so that it can be compiled anew when names resolve to other addresses.
//!
//! `document` walks the TOML text; `settings`, `pool`, `route` and their kin say, key by key, what may stand there.

mod acme;
mod acme_checks;
mod address;
mod admin;
mod algorithm;
mod cache;
mod cache_checks;
mod checks;
mod compile;
mod cookies;
mod declared;
mod descriptors;
mod document;
mod fields;
mod health_check;
mod listener;
mod machine;
mod mask;
mod memory;
mod notes;
mod own_files;
mod pool;
pub mod reference;
mod route;
pub mod schema;
mod settings;
mod sharing;
mod socket_access;
mod start_settings;
mod tls;
mod tls_files;
mod warnings;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub use acme::AcmeSettings;
pub use address::{BackendAddress, BackendTarget};
pub use cache::{CacheSettings, RouteCacheSettings};
pub use compile::{
    CannotCompile, ProcessFacts, Resolved, Stores, TooManyBackends, compile, compile_beside,
};
pub use declared::{
    BACKEND, ChallengeKind, ConnectionTimeouts, HEALTH_CHECK, POOL, ROOT, ROUTE_CACHE,
    is_for_the_next_start, is_work_key, other_key_of_backend, work_keys,
};
pub use descriptors::of_test_servers;
pub use health_check::HealthCheckSettings;
pub use listener::ListenerSettings;
pub use machine::Machine;
pub use mask::{MASK, hides, is_credential, is_file_name, is_telling};
pub use notes::{Mistakes, Note, Position, Positioned};
pub use pool::{BackendSettings, PoolSettings};
pub use route::{RouteSettings, RouteTarget, name_as_written};
pub use settings::{LimitSettings, Settings};
pub use sharing::Sharing;
pub use start_settings::{StartSettings, workers};
pub use tls::{ClientTlsSettings, ServerTlsSettings};

use crate::base::{file, limits};

/// Paths at which a configuration is looked for when no path is given, in this order.
pub const DEFAULT_PATHS: [&str; 2] = ["config.toml", "reverse-proxy.toml"];
/// Environment variables that may name the file, in this order.
pub const PATH_VARIABLES: [&str; 2] = ["PALANTIR_CONFIG", "REVERSE_PROXY_CONFIG_PATH"];

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The settings, key by key.
    pub settings: Settings,
    text: String,
}

/// The path of the configuration: `given` (`--config`), else what the environment names, else the first of
/// [`DEFAULT_PATHS`] that exists, else the first of them.
pub fn find(given: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let named = |name: &str| variable(name).filter(|path| !path.is_empty());
    let from_variable = || {
        PATH_VARIABLES
            .iter()
            .find_map(|name| named(name))
            .map(PathBuf::from)
    };
    let existing = || {
        DEFAULT_PATHS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    };
    given
        .or_else(from_variable)
        .or_else(existing)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_PATHS[0]))
}

/// Reads and checks a file, which may be a pipe, and the files that it names. Errors: all its mistakes, or the one
/// reason why the file cannot be read.
pub fn load(path: &Path) -> Result<Config, Mistakes> {
    load_by(path, file::read_even_pipe)
}

/// Loads a regular file only, for a process that is to run with the configuration: reading a pipe may wait for ever,
/// and the pipe would be empty at the next reload.
pub fn load_regular(path: &Path) -> Result<Config, Mistakes> {
    load_by(path, file::read)
}

/// Loads a regular file once two readings in a row are equal: editors and `cp` write a file in parts.
pub fn load_settled(path: &Path) -> Result<Config, Mistakes> {
    load_by(path, read_until_settled)
}

/// The text of a regular file, unchecked, once two readings in a row are equal. Errors: the file cannot be read.
pub fn read_settled(path: &Path) -> io::Result<String> {
    let bytes = read_until_settled(path, limits::CONFIG_BYTES)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn read_until_settled(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let pause = Duration::from_millis(limits::CONFIG_PAUSE_MILLIS);
    settled(|| file::read(path, most), || thread::sleep(pause))
}

/// The content, once two readings in a row are equal.
fn settled(mut read: impl FnMut() -> io::Result<Vec<u8>>, pause: impl Fn()) -> io::Result<Vec<u8>> {
    let mut last = read()?;
    for _ in 0..limits::CONFIG_READS {
        pause();
        let bytes = read()?;
        if bytes == last {
            return Ok(bytes);
        }
        last = bytes;
    }
    Err(io::Error::other("the file is being written all the time"))
}

fn load_by(
    path: &Path,
    read: impl FnOnce(&Path, u64) -> io::Result<Vec<u8>>,
) -> Result<Config, Mistakes> {
    let bytes = read(path, limits::CONFIG_BYTES).map_err(|error| {
        let text = format!("cannot be read: {error}");
        Mistakes::of_file(path.to_owned(), text, file::may_pass(&error))
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => check(path, text),
        Err(error) => Err(not_utf8(path, &error)),
    }
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Mistakes {
    let valid = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
    let notes = notes::Notes::new(&text);
    notes.add_at(valid, "", "not UTF-8 from here on");
    let (notes, left_out) = notes.into_list();
    Mistakes {
        path: path.to_owned(),
        notes,
        left_out,
        may_pass: false,
    }
}

/// Checks a text as if it stood in the file at `path`, by itself alone: no other file is looked at. Errors: all its
/// mistakes.
pub fn parse(path: &Path, text: String) -> Result<Config, Mistakes> {
    examine(path, text, |_, _| {})
}

/// Checks a text as if it stood in the file at `path`, the files that it names, and that the cache fits into the memory
/// of this machine. Errors: all its mistakes.
pub fn check(path: &Path, text: String) -> Result<Config, Mistakes> {
    examine(path, text, |settings, notes| {
        cache_checks::check_machine(settings, memory::memory_bytes(), notes);
        tls_files::check(settings, notes);
        own_files::check(path, settings, notes);
    })
}

fn examine(
    path: &Path,
    text: String,
    check_machine: impl FnOnce(&Settings, &notes::Notes<'_>),
) -> Result<Config, Mistakes> {
    let notes = notes::Notes::new(&text);
    let settings = document::read(&declared::ROOT, &notes, Settings::read);
    // A setting that seems to be left out may stand where a syntax error made the file unreadable.
    if notes.all_reliable() {
        checks::check(&settings, &notes);
        check_machine(&settings, &notes);
    }
    let may_pass = !notes.are_lasting();
    let (notes, left_out) = notes.into_list();
    let path = path.to_owned();
    if notes.is_empty() {
        Ok(Config {
            path,
            settings,
            text,
        })
    } else {
        Err(Mistakes {
            path,
            notes,
            left_out,
            may_pass,
        })
    }
}

impl Config {
    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the configuration serves nothing: it has no route, or no listener. Such a file is more likely half
    /// written, or made from a broken template, than intended.
    pub fn is_empty(&self) -> bool {
        self.settings.routes.is_empty() || self.settings.listeners.is_empty()
    }

    /// The text as a table: what it says, without its comments.
    pub fn document(&self) -> toml::Table {
        self.text.parse().expect("a checked text is TOML")
    }

    /// Settings that are probably meant otherwise, and files that may cause trouble, in the order of the text.
    pub fn warnings(&self, machine: &Machine) -> Vec<Note> {
        self.noted(machine, |settings, notes| {
            tls_files::warn(settings, notes);
            own_files::warn(settings, notes);
        })
    }

    /// The warnings that need no look at any file.
    pub fn warnings_of_text(&self, machine: &Machine) -> Vec<Note> {
        self.noted(machine, |_, _| {})
    }

    fn noted(
        &self,
        machine: &Machine,
        warn_of_files: impl FnOnce(&Settings, &notes::Notes<'_>),
    ) -> Vec<Note> {
        let notes = notes::Notes::new(&self.text);
        warnings::warn(&self.settings, machine, &notes);
        warn_of_files(&self.settings, &notes);
        notes.into_list().0
    }

    /// The numbers of routes, pools and backends, as written.
    pub fn counts(&self) -> (usize, usize, usize) {
        let pools = self.settings.all_pools();
        let backends = self.settings.all_pools().map(|pool| pool.backends.len());
        (self.settings.routes.len(), pools.count(), backends.sum())
    }

    /// The host names of backends, in lower case, each once: what [`Resolved`] should know.
    pub fn names(&self) -> Vec<String> {
        let backends = self.settings.all_pools().flat_map(|pool| &pool.backends);
        let names: BTreeSet<&String> = backends
            .filter_map(|backend| match &backend.address.target {
                BackendTarget::Name(name, _) => Some(name),
                _ => None,
            })
            .collect();
        names.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
