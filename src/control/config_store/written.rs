//! Pools and backends as a document writes them: a pool is one of `[[pools]]` or stands in its route, a backend is a
//! text or a table. Everything above sees the one form, [`WrittenPool`].

use std::collections::HashSet;

use toml::{Table, Value};

use crate::config::{BackendAddress, is_work_key, name_as_written};

/// Where a pool stands in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolPosition {
    /// Index in `[[pools]]`.
    Named(usize),
    /// Index in `[[routes]]`: the pool is the route's own.
    Own(usize),
}

/// A pool as written, without its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenPool {
    /// The settings besides the backends.
    pub settings: Table,
    /// The backends, in the order of the document.
    pub backends: Vec<WrittenBackend>,
}

/// A backend as written.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenBackend {
    /// The address, as it is written.
    pub addr: String,
    /// The settings besides the address.
    pub settings: Table,
}

impl WrittenPool {
    /// Everything of it as one table.
    pub fn whole(&self) -> Table {
        let mut whole = self.settings.clone();
        let backends = self.backends.iter().cloned().map(WrittenBackend::write);
        whole.insert("backends".to_owned(), Value::Array(backends.collect()));
        whole
    }
}

impl WrittenBackend {
    /// The address in a form that tells the backend from the others of its pool, however the address is written.
    pub fn place(&self) -> String {
        place_of(&self.addr)
    }

    /// One entry of `backends`. Errors: the key at fault, and what would be right.
    pub fn read(value: &Value) -> Result<WrittenBackend, (&'static str, &'static str)> {
        let (addr, settings) = match value {
            Value::String(addr) => (addr.clone(), Table::new()),
            Value::Table(table) => {
                let mut settings = table.clone();
                match settings.remove("addr") {
                    Some(Value::String(addr)) => (addr, settings),
                    Some(_) => return Err(("addr", "must be a text in quotes")),
                    None => return Err(("addr", "\"addr\" is missing")),
                }
            }
            _ => return Err(("", "must be an address or a table with \"addr\"")),
        };
        Ok(WrittenBackend { addr, settings })
    }

    fn write(self) -> Value {
        if self.settings.is_empty() {
            return Value::String(self.addr);
        }
        let addr = ("addr".to_owned(), Value::String(self.addr));
        Value::Table(std::iter::once(addr).chain(self.settings).collect())
    }
}

/// The canonical text of an address: equal for all ways to write it. A text that is no address stands for itself.
pub fn place_of(addr: &str) -> String {
    BackendAddress::parse(addr).map_or_else(|_| addr.to_owned(), |addr| addr.target.to_string())
}

/// Every pool of a checked document by its name: those of `[[pools]]`, then the routes' own.
pub fn pools(document: &Table) -> impl Iterator<Item = (String, PoolPosition)> {
    let named = entries(document, "pools").iter().enumerate();
    let named = named.filter_map(|(index, pool)| {
        let name = pool.get("name")?.as_str()?.to_owned();
        Some((name, PoolPosition::Named(index)))
    });
    let own = entries(document, "routes").iter().enumerate();
    let own = own.filter(|(_, route)| route.get("pool").is_none());
    let own = own.filter_map(|(index, route)| Some((route_name(route)?, PoolPosition::Own(index))));
    named.chain(own)
}

/// Where the pool of this name stands.
pub fn find_pool(document: &Table, name: &str) -> Option<PoolPosition> {
    let mut pools = pools(document);
    Some(pools.find(|(known, _)| known == name)?.1)
}

/// Whether a key of a route belongs to the pool that is its own.
pub fn is_pool_key(key: &str) -> bool {
    key == "backend_addrs" || is_work_key(key)
}

/// The names of the routes that lead to a pool of `[[pools]]`.
pub fn routes_to(document: &Table, pool: &str) -> Vec<String> {
    let routes = entries(document, "routes").iter();
    let leading = routes.filter(|route| route.get("pool").and_then(Value::as_str) == Some(pool));
    leading.filter_map(route_name).collect()
}

/// A route's name, as logs and metrics have it.
pub fn route_name(route: &Value) -> Option<String> {
    let text = |key: &str| route.get(key).and_then(Value::as_str);
    name_as_written(text("host"), text("prefix"))
}

/// The pool at a place of a checked document.
pub fn read_pool(document: &Table, position: PoolPosition) -> WrittenPool {
    let Some(table) = table_at(document, position) else {
        return WrittenPool::default();
    };
    let belongs = |key: &str| match position {
        PoolPosition::Named(_) => key != "name" && key != "backends",
        PoolPosition::Own(_) => is_work_key(key),
    };
    let settings = table.iter().filter(|(key, _)| belongs(key));
    let backends = table
        .get(position.backends_key())
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut seen = HashSet::new();
    WrittenPool {
        settings: settings
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        backends: backends
            .filter_map(|entry| WrittenBackend::read(entry).ok())
            // Of two entries for the same place the first one counts.
            .filter(|backend| seen.insert(backend.place()))
            .collect(),
    }
}

/// Puts the pool where one stands already.
pub fn write_pool(document: &mut Table, position: PoolPosition, pool: WrittenPool) {
    let before = read_pool(document, position);
    let Some(table) = table_at_mut(document, position) else {
        return;
    };
    for key in before.settings.keys() {
        if !pool.settings.contains_key(key) {
            table.remove(key);
        }
    }
    let backends = pool.backends.into_iter().map(WrittenBackend::write);
    let backends = Value::Array(backends.collect());
    table.insert(position.backends_key().to_owned(), backends);
    table.extend(pool.settings);
}

/// Adds a pool to `[[pools]]`; its place.
pub fn add_pool(document: &mut Table, name: &str, pool: WrittenPool) -> PoolPosition {
    let pools = document
        .entry("pools")
        .or_insert_with(|| Value::Array(Vec::new()));
    let mut index = 0;
    if let Value::Array(pools) = pools {
        index = pools.len();
        let name = ("name".to_owned(), Value::String(name.to_owned()));
        pools.push(Value::Table(Table::from_iter([name])));
    }
    let position = PoolPosition::Named(index);
    write_pool(document, position, pool);
    position
}

/// Takes one of `[[pools]]` out; a route's own pool stays with its route.
pub fn remove_pool(document: &mut Table, position: PoolPosition) {
    if let (PoolPosition::Named(index), Some(Value::Array(pools))) =
        (position, document.get_mut("pools"))
    {
        pools.remove(index);
        if pools.is_empty() {
            document.remove("pools");
        }
    }
}

impl PoolPosition {
    /// The way to it, as a checked file's mistakes name it.
    pub fn key(self) -> String {
        match self {
            PoolPosition::Named(index) => format!("pools[{index}]"),
            PoolPosition::Own(index) => format!("routes[{index}]"),
        }
    }

    /// The key of the list of backends there.
    pub fn backends_key(self) -> &'static str {
        match self {
            PoolPosition::Named(_) => "backends",
            PoolPosition::Own(_) => "backend_addrs",
        }
    }

    fn list_and_index(self) -> (&'static str, usize) {
        match self {
            PoolPosition::Named(index) => ("pools", index),
            PoolPosition::Own(index) => ("routes", index),
        }
    }
}

fn entries<'d>(document: &'d Table, key: &str) -> &'d [Value] {
    let list = document.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn table_at(document: &Table, position: PoolPosition) -> Option<&Table> {
    let (list, index) = position.list_and_index();
    entries(document, list).get(index)?.as_table()
}

fn table_at_mut(document: &mut Table, position: PoolPosition) -> Option<&mut Table> {
    let (list, index) = position.list_and_index();
    document
        .get_mut(list)?
        .as_array_mut()?
        .get_mut(index)?
        .as_table_mut()
}
