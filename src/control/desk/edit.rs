//! What the API may change, and why a change is refused.

use std::collections::HashSet;

use thiserror::Error;
use toml::{Table, Value};

use super::relative::Subject;
use super::written::{self, PoolPlace, WrittenBackend, WrittenPool, place_of};
use crate::base::limits;
use crate::config::{BackendAddress, WORK_KEYS};

/// One change of the configuration in force. Tables are what a `[[pools]]` entry of the file would have; a pool is
/// named as in the file, a route's own pool like its route; a backend as the file writes it (`127.0.0.1:9001`).
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Adds a backend (a table with `addr`), or leaves the one there as it is.
    AddServer { pool: String, server: toml::Table },
    /// Gives a backend exactly these settings, adding it if it is absent.
    PutServer {
        pool: String,
        addr: String,
        server: toml::Table,
    },
    /// Sets the named settings of a backend, and takes those back to their defaults whose value is `None`.
    PatchServer {
        pool: String,
        addr: String,
        settings: Vec<(String, Option<toml::Value>)>,
    },
    /// Takes a backend out.
    RemoveServer { pool: String, addr: String },
    /// Gives a pool exactly these settings (without `name`), adding it if it is absent.
    PutPool { name: String, pool: toml::Table },
    /// Like [`Edit::PatchServer`], of a pool.
    PatchPool {
        name: String,
        settings: Vec<(String, Option<toml::Value>)>,
    },
    /// Takes a pool out that no route uses.
    RemovePool { name: String },
}

/// What kind of refusal a [`Problem`] is; from it follows the status of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The named thing does not exist.
    Absent,
    /// It cannot be done as things are (a pool in use, the last revision).
    Conflict,
    /// The caller's `If-Match` names another state.
    Changed,
    /// A value is not right.
    Invalid,
    /// No more of it fit.
    Full,
    /// Palantir itself failed (a file could not be written).
    Failed,
}

/// Why a change was refused; nothing of it is in force.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", in_words(.mistakes))]
pub struct Problem {
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
    fn field(field: impl Into<String>, right: impl Into<String>) -> Problem {
        Problem {
            kind: ProblemKind::Invalid,
            mistakes: vec![(field.into(), right.into())],
        }
    }

    fn absent(what: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::Absent, what)
    }

    fn conflict(why: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::Conflict, why)
    }

    fn full(what: &str, most: usize) -> Problem {
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

/// An edit has been made in a document.
pub(super) struct Edited {
    pub subject: Subject,
    /// What was to be added is there already and is to stay as it is.
    pub is_there: bool,
}

/// How many routes, pools and backends there are.
type Counts = (usize, usize, usize);

impl Edit {
    /// Makes the edit in a checked document. Whether the outcome is right is for the check of the whole to say. Errors:
    /// what is not there to be edited, is in use, or cannot even be written down.
    pub(super) fn apply(&self, document: &mut Table, counts: Counts) -> Result<Edited, Problem> {
        match self {
            Edit::AddServer { pool, server } => add_server(document, pool, server, counts),
            Edit::PutServer { pool, addr, server } => {
                put_server(document, pool, addr, server, counts)
            }
            Edit::PatchServer {
                pool,
                addr,
                settings,
            } => patch_server(document, pool, addr, settings),
            Edit::RemoveServer { pool, addr } => remove_server(document, pool, addr),
            Edit::PutPool { name, pool } => put_pool(document, name, pool, counts),
            Edit::PatchPool { name, settings } => patch_pool(document, name, settings),
            Edit::RemovePool { name } => remove_pool(document, name),
        }
    }
}

fn add_server(
    document: &mut Table,
    pool: &str,
    server: &Table,
    counts: Counts,
) -> Result<Edited, Problem> {
    let server = WrittenBackend::read(&Value::Table(server.clone()))
        .map_err(|(field, right)| Problem::field(field, right))?;
    let addr = server.addr.clone();
    put(document, pool, &addr, server, counts)
}

fn put_server(
    document: &mut Table,
    pool: &str,
    addr: &str,
    server: &Table,
    counts: Counts,
) -> Result<Edited, Problem> {
    let mut settings = server.clone();
    let written = take_addr(&mut settings, addr)?;
    let place = find_pool(document, pool)?;
    let known = written::read_pool(document, place);
    let known = find_backend(&known, addr).map(|index| known.backends[index].addr.clone());
    let server = WrittenBackend {
        addr: written.or(known).unwrap_or_else(|| addr.to_owned()),
        settings,
    };
    let edited = put(document, pool, addr, server, counts)?;
    Ok(Edited {
        is_there: false,
        ..edited
    })
}

/// Puts the backend where one with this address is, else at the end.
fn put(
    document: &mut Table,
    pool: &str,
    addr: &str,
    server: WrittenBackend,
    (_, _, backends): Counts,
) -> Result<Edited, Problem> {
    BackendAddress::parse(addr).map_err(|right| Problem::field("addr", right))?;
    let place = find_pool(document, pool)?;
    let mut pool = written::read_pool(document, place);
    let known = find_backend(&pool, addr);
    let index = known.unwrap_or(pool.backends.len());
    match known {
        Some(index) => pool.backends[index] = server,
        None if backends >= limits::BACKENDS => {
            return Err(Problem::full("backends", limits::BACKENDS));
        }
        None => pool.backends.push(server),
    }
    written::write_pool(document, place, pool);
    Ok(Edited {
        subject: Subject::Backend(place, index),
        is_there: known.is_some(),
    })
}

fn patch_server(
    document: &mut Table,
    pool: &str,
    addr: &str,
    settings: &[(String, Option<Value>)],
) -> Result<Edited, Problem> {
    let (place, mut pool, index) = find_server(document, pool, addr)?;
    let backend = &mut pool.backends[index];
    patch(&mut backend.settings, settings);
    if let Some(written) = take_addr(&mut backend.settings, addr)? {
        backend.addr = written;
    }
    written::write_pool(document, place, pool);
    Ok(Edited::at(Subject::Backend(place, index)))
}

fn remove_server(document: &mut Table, pool: &str, addr: &str) -> Result<Edited, Problem> {
    let (place, mut written, index) = find_server(document, pool, addr)?;
    if written.backends.len() == 1 {
        let why = format!("{addr} is the last backend of pool {pool:?}; a pool has at least one");
        return Err(Problem::conflict(why));
    }
    written.backends.remove(index);
    written::write_pool(document, place, written);
    Ok(Edited::at(Subject::Pool(place)))
}

fn put_pool(
    document: &mut Table,
    name: &str,
    pool: &Table,
    (_, pools, _): Counts,
) -> Result<Edited, Problem> {
    let pool = read_pool(name, pool)?;
    let place = match written::find_pool(document, name) {
        Some(place) => {
            refuse_route_keys(place, pool.settings.keys())?;
            written::write_pool(document, place, pool);
            place
        }
        None if name.contains('/') => {
            let what = format!("no route {name:?} has a pool of its own");
            return Err(Problem::absent(what));
        }
        None if pools >= limits::POOLS => return Err(Problem::full("pools", limits::POOLS)),
        None => written::add_pool(document, name, pool),
    };
    Ok(Edited::at(Subject::Pool(place)))
}

fn patch_pool(
    document: &mut Table,
    name: &str,
    settings: &[(String, Option<Value>)],
) -> Result<Edited, Problem> {
    let place = find_pool(document, name)?;
    let mut whole = written::read_pool(document, place).whole();
    patch(&mut whole, settings);
    let pool = read_pool(name, &whole)?;
    refuse_route_keys(place, pool.settings.keys())?;
    written::write_pool(document, place, pool);
    Ok(Edited::at(Subject::Pool(place)))
}

fn remove_pool(document: &mut Table, name: &str) -> Result<Edited, Problem> {
    let place = find_pool(document, name)?;
    if let PoolPlace::Own(_) = place {
        let why = format!("the pool belongs to the route {name:?} and goes only with it");
        return Err(Problem::conflict(why));
    }
    let routes = written::routes_to(document, name);
    if let Some(first) = routes.first() {
        let why = match routes.len() - 1 {
            0 => format!("route {first:?} leads to the pool"),
            more => format!("route {first:?} and {more} more lead to the pool"),
        };
        return Err(Problem::conflict(why));
    }
    written::remove_pool(document, place);
    Ok(Edited::at(Subject::Pool(place)))
}

impl Edited {
    fn at(subject: Subject) -> Edited {
        Edited {
            subject,
            is_there: false,
        }
    }
}

fn find_pool(document: &Table, name: &str) -> Result<PoolPlace, Problem> {
    written::find_pool(document, name)
        .ok_or_else(|| Problem::absent(format!("there is no pool {name:?}")))
}

fn find_server(
    document: &Table,
    pool: &str,
    addr: &str,
) -> Result<(PoolPlace, WrittenPool, usize), Problem> {
    let place = find_pool(document, pool)?;
    let written = written::read_pool(document, place);
    match find_backend(&written, addr) {
        Some(index) => Ok((place, written, index)),
        None => {
            let what = format!("there is no backend {addr} in pool {pool:?}");
            Err(Problem::absent(what))
        }
    }
}

fn find_backend(pool: &WrittenPool, addr: &str) -> Option<usize> {
    let place = place_of(addr);
    let mut backends = pool.backends.iter();
    backends.position(|backend| backend.place() == place)
}

/// Takes `addr` out of a backend's settings, where it may stand if it names the same place.
fn take_addr(settings: &mut Table, addr: &str) -> Result<Option<String>, Problem> {
    match settings.remove("addr") {
        None => Ok(None),
        Some(Value::String(written)) if place_of(&written) == place_of(addr) => Ok(Some(written)),
        Some(_) => {
            let right = format!("must be {addr:?}: another address is another backend");
            Err(Problem::field("addr", right))
        }
    }
}

fn patch(settings: &mut Table, changes: &[(String, Option<Value>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(settings.insert(key.clone(), value.clone())),
            None => drop(settings.remove(key)),
        }
    }
}

/// A pool as an edit writes it.
fn read_pool(name: &str, table: &Table) -> Result<WrittenPool, Problem> {
    let mut settings = table.clone();
    if let Some(written) = settings.remove("name")
        && written.as_str() != Some(name)
    {
        let right = format!("must be {name:?}: another name is another pool");
        return Err(Problem::field("name", right));
    }
    let entries = match settings.remove("backends") {
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Problem::field("backends", "must be a list")),
        None => return Err(Problem::field("backends", "\"backends\" is missing")),
    };
    let mut backends: Vec<WrittenBackend> = Vec::with_capacity(entries.len());
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let key = format!("backends[{index}]");
        let backend = WrittenBackend::read(entry).map_err(|(field, right)| {
            let dot = if field.is_empty() { "" } else { "." };
            Problem::field(format!("{key}{dot}{field}"), right)
        })?;
        if !seen.insert(backend.place()) {
            return Err(Problem::field(key, "is in this pool already"));
        }
        backends.push(backend);
    }
    Ok(WrittenPool { settings, backends })
}

/// In a route's table, what is no key of a pool would change the route.
fn refuse_route_keys<'k>(
    place: PoolPlace,
    keys: impl Iterator<Item = &'k String>,
) -> Result<(), Problem> {
    let mut keys = keys.filter(|key| !WORK_KEYS.contains(&key.as_str()));
    match (place, keys.next()) {
        (PoolPlace::Own(_), Some(key)) => {
            let known = WORK_KEYS.join(", ");
            Err(Problem::field(
                key,
                format!("unknown key; known: backends, {known}"),
            ))
        }
        _ => Ok(()),
    }
}
