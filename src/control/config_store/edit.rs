//! The changes that the API may make, and the reasons for which a change is refused.

use thiserror::Error;

/// One change of the configuration in force. Tables are what a `[[pools]]` entry of the file would have; a pool is
/// named as in the file, a route's own pool like its route; a backend as the file writes it (`127.0.0.1:9001`).
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Adds a backend (a table with `addr`), or leaves the one there as it is.
    AddServer {
        /// The name of the pool.
        pool: String,
        /// The backend, with its address.
        server: toml::Table,
    },
    /// Gives a backend exactly these settings, adding it if it is absent.
    PutServer {
        /// The name of the pool.
        pool: String,
        /// The address of the backend, as the file writes it.
        addr: String,
        /// All settings of the backend, without its address.
        server: toml::Table,
    },
    /// Sets the named settings of a backend, and takes those back to their defaults whose value is `None`.
    PatchServer {
        /// The name of the pool.
        pool: String,
        /// The address of the backend, as the file writes it.
        addr: String,
        /// Names of settings with their new values.
        settings: Vec<(String, Option<toml::Value>)>,
    },
    /// Takes a backend out.
    RemoveServer {
        /// The name of the pool.
        pool: String,
        /// The address of the backend, as the file writes it.
        addr: String,
    },
    /// Replaces all settings of a pool (without `name`), adding it if it is absent.
    PutPool {
        /// The name of the pool.
        name: String,
        /// All settings of the pool, without its name.
        pool: toml::Table,
    },
    /// Sets the named settings of a pool, and takes those back to their defaults whose value is `None`.
    PatchPool {
        /// The name of the pool.
        name: String,
        /// Names of settings with their new values.
        settings: Vec<(String, Option<toml::Value>)>,
    },
    /// Takes a pool out that no route uses.
    RemovePool {
        /// The name of the pool.
        name: String,
    },
}

impl Edit {
    /// The pool that the edit changes.
    pub fn pool(&self) -> &str {
        match self {
            Edit::AddServer { pool, .. }
            | Edit::PutServer { pool, .. }
            | Edit::PatchServer { pool, .. }
            | Edit::RemoveServer { pool, .. } => pool,
            Edit::PutPool { name, .. }
            | Edit::PatchPool { name, .. }
            | Edit::RemovePool { name } => name,
        }
    }
}

/// The kind of a refusal, from which the status of the answer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The named thing does not exist.
    Absent,
    /// The change is impossible as things are (a pool in use, the last revision).
    Conflict,
    /// The caller's `If-Match` names another state.
    Changed,
    /// A value is not right.
    Invalid,
    /// No more of it fit.
    Full,
    /// Palantir itself failed (a file could not be written).
    Failed,
    /// No change can be made now: palantir is stopping, or its files do not answer.
    Unavailable,
}

/// Why a change was refused; nothing of it is in force.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", in_words(.mistakes))]
pub struct Problem {
    /// The kind of the refusal.
    pub kind: ProblemKind,
    /// Path of the field at fault (`weight`, `health_check.path`; empty if none is) and what would be right.
    pub mistakes: Vec<(String, String)>,
}

impl Problem {
    /// A problem with one sentence and no field.
    pub fn new(kind: ProblemKind, text: impl Into<String>) -> Problem {
        Problem {
            kind,
            mistakes: vec![(String::new(), text.into())],
        }
    }

    /// A field whose value is not right.
    pub(super) fn field(field: impl Into<String>, right: impl Into<String>) -> Problem {
        Problem {
            kind: ProblemKind::Invalid,
            mistakes: vec![(field.into(), right.into())],
        }
    }

    /// A problem: there is no such thing.
    pub(super) fn absent(what: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::Absent, what)
    }

    /// A problem: the change is impossible as things are.
    pub(super) fn conflict(why: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::Conflict, why)
    }

    /// A problem: no more of this kind fit.
    pub(super) fn full(what: &str, most: usize) -> Problem {
        let text = format!("there are {most} {what} already, which is as many as there can be");
        Problem::new(ProblemKind::Full, text)
    }
}

fn in_words(mistakes: &[(String, String)]) -> String {
    let words = mistakes.iter().map(|(field, text)| match field.as_str() {
        "" => text.clone(),
        field => format!("{field}: {text}"),
    });
    words.collect::<Vec<_>>().join("; ")
}
