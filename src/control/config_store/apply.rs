//! Edits made in a document.

use std::collections::HashSet;

use toml::{Table, Value};

use super::edit::{Edit, Problem};
use super::relative::Subject;
use super::unmask::unmask;
use super::written::{self, PoolPosition, WrittenBackend, WrittenPool, place_of};
use crate::base::limits;
use crate::config::{BackendAddress, is_work_key, other_key_of_backend, work_keys};

/// An edit has been made in a document.
pub struct Edited {
    /// The resource that was edited.
    pub subject: Subject,
    /// Whether the backend that was to be added is there already, and stays as it is.
    pub is_there: bool,
}

/// How many routes, pools and backends there are.
type Sizes = (usize, usize, usize);

impl Edit {
    /// Makes the edit in a checked document. Whether the outcome is right is for the check of the whole to say. Errors:
    /// what is not there to be edited, is in use, or cannot even be written down.
    pub fn apply(&self, document: &mut Table, counts: Sizes) -> Result<Edited, Problem> {
        let before = written::find_pool(document, self.pool());
        let before = before.map(|position| written::read_pool(document, position));
        let edited = self.make(document, counts)?;
        if let Some(position) = written::find_pool(document, self.pool()) {
            let mut pool = written::read_pool(document, position);
            if unmask(&mut pool, before.as_ref()).map_err(|problem| edited.subject.own(problem))? {
                written::write_pool(document, position, pool);
            }
        }
        Ok(edited)
    }

    fn make(&self, document: &mut Table, counts: Sizes) -> Result<Edited, Problem> {
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
    counts: Sizes,
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
    counts: Sizes,
) -> Result<Edited, Problem> {
    let mut settings = server.clone();
    let written = take_addr(&mut settings, addr)?;
    let position = find_pool(document, pool)?;
    let known = written::read_pool(document, position);
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
    (_, _, backends): Sizes,
) -> Result<Edited, Problem> {
    BackendAddress::parse(addr).map_err(|right| Problem::field("addr", right))?;
    let position = find_pool(document, pool)?;
    let mut pool = written::read_pool(document, position);
    let known = find_backend(&pool, addr);
    let index = known.unwrap_or(pool.backends.len());
    match known {
        Some(index) => pool.backends[index] = server,
        None if backends >= limits::BACKENDS => {
            return Err(Problem::full("backends", limits::BACKENDS));
        }
        None => pool.backends.push(server),
    }
    debug_assert!(index < pool.backends.len());
    written::write_pool(document, position, pool);
    Ok(Edited {
        subject: Subject::Backend(position, index),
        is_there: known.is_some(),
    })
}

fn patch_server(
    document: &mut Table,
    pool: &str,
    addr: &str,
    settings: &[(String, Option<Value>)],
) -> Result<Edited, Problem> {
    let (position, mut pool, index) = find_server(document, pool, addr)?;
    let backend = &mut pool.backends[index];
    patch(&mut backend.settings, settings);
    if let Some(written) = take_addr(&mut backend.settings, addr)? {
        backend.addr = written;
    }
    written::write_pool(document, position, pool);
    Ok(Edited::at(Subject::Backend(position, index)))
}

fn remove_server(document: &mut Table, pool: &str, addr: &str) -> Result<Edited, Problem> {
    let (position, mut written, index) = find_server(document, pool, addr)?;
    if written.backends.len() == 1 {
        let why = format!("{addr} is the last backend of pool {pool:?}; a pool has at least one");
        return Err(Problem::conflict(why));
    }
    written.backends.remove(index);
    written::write_pool(document, position, written);
    Ok(Edited::at(Subject::Pool(position)))
}

fn put_pool(
    document: &mut Table,
    name: &str,
    pool: &Table,
    (_, pools, _): Sizes,
) -> Result<Edited, Problem> {
    let pool = read_pool(name, pool)?;
    let position = match written::find_pool(document, name) {
        Some(position) => {
            refuse_route_keys(position, pool.settings.keys())?;
            written::write_pool(document, position, pool);
            position
        }
        None if name.contains('/') => {
            let what = format!("no route {name:?} has a pool of its own");
            return Err(Problem::absent(what));
        }
        None if pools >= limits::POOLS => return Err(Problem::full("pools", limits::POOLS)),
        None => written::add_pool(document, name, pool),
    };
    Ok(Edited::at(Subject::Pool(position)))
}

fn patch_pool(
    document: &mut Table,
    name: &str,
    settings: &[(String, Option<Value>)],
) -> Result<Edited, Problem> {
    let position = find_pool(document, name)?;
    let mut whole = written::read_pool(document, position).whole();
    patch(&mut whole, settings);
    let pool = read_pool(name, &whole)?;
    refuse_route_keys(position, pool.settings.keys())?;
    written::write_pool(document, position, pool);
    Ok(Edited::at(Subject::Pool(position)))
}

fn remove_pool(document: &mut Table, name: &str) -> Result<Edited, Problem> {
    let position = find_pool(document, name)?;
    if let PoolPosition::Own(_) = position {
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
    written::remove_pool(document, position);
    Ok(Edited::at(Subject::Pool(position)))
}

impl Edited {
    fn at(subject: Subject) -> Edited {
        Edited {
            subject,
            is_there: false,
        }
    }
}

fn find_pool(document: &Table, name: &str) -> Result<PoolPosition, Problem> {
    written::find_pool(document, name)
        .ok_or_else(|| Problem::absent(format!("there is no pool {name:?}")))
}

fn find_server(
    document: &Table,
    pool: &str,
    addr: &str,
) -> Result<(PoolPosition, WrittenPool, usize), Problem> {
    let position = find_pool(document, pool)?;
    let written = written::read_pool(document, position);
    match find_backend(&written, addr) {
        Some(index) => Ok((position, written, index)),
        None => {
            let what = format!("there is no backend {addr} in pool {pool:?}");
            Err(Problem::absent(what))
        }
    }
}

/// Whether the document drains a backend.
pub fn drains(document: &Table, pool: &str, addr: &str) -> bool {
    find_server(document, pool, addr).is_ok_and(|(_, pool, index)| {
        let drain = pool.backends[index].settings.get("drain");
        drain.and_then(Value::as_bool) == Some(true)
    })
}

fn find_backend(pool: &WrittenPool, addr: &str) -> Option<usize> {
    let position = place_of(addr);
    let mut backends = pool.backends.iter();
    backends.position(|backend| backend.place() == position)
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
        // A setting with two keys is set by one of them.
        if let Some(other) = other_key_of_backend(key) {
            settings.remove(other);
        }
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
    position: PoolPosition,
    keys: impl Iterator<Item = &'k String>,
) -> Result<(), Problem> {
    let mut keys = keys.filter(|key| !is_work_key(key));
    match (position, keys.next()) {
        (PoolPosition::Own(_), Some(key)) => {
            let known = work_keys().join(", ");
            Err(Problem::field(
                key,
                format!("unknown key; known: backends, {known}"),
            ))
        }
        _ => Ok(()),
    }
}
