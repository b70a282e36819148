//! Two documents told apart, in the words of an operator.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

use super::written::{self, PoolPosition, WrittenPool};
use crate::base::limits::default;
use crate::config::{self, MASK, is_for_the_next_start};

/// All that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The differences, in the order of the configuration.
    pub differences: Vec<Difference>,
    /// Notes on the winner where the API and the file disagreed.
    pub notes: Vec<String>,
}

/// A difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The kind of the difference.
    pub what: What,
    /// The subject of the difference: `backend 127.0.0.1:9001 of pool api`, `route /api: timeout`,
    /// `limits.connections`.
    pub subject: String,
    /// The earlier value of a changed setting; `None` if the setting was left to its default.
    pub from: Option<String>,
    /// The new value of the setting; `None` if the setting is left to its default.
    pub to: Option<String>,
    /// The effect on traffic, if the difference does not show it.
    pub effect: Option<&'static str>,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The subject is new.
    Added,
    /// The subject is gone.
    Removed,
    /// The subject has another value.
    Changed,
}

const LISTENER_DRAINS: &str =
    "stops accepting; idle connections are closed, others after their running request";
const BACKEND_DRAINS: &str = "takes no new requests; running ones finish";
const AT_THE_NEXT_START: &str = "takes effect at the next start";
/// Differences that a summary names.
const NAMED_IN_SUMMARY: usize = 3;

/// Settings by the way to them, as TOML writes their values.
type Leaves = Vec<(String, String)>;

impl Diff {
    /// The differences that appear when `after` takes the place of `before`; both are checked documents.
    pub fn between(before: &Table, after: &Table) -> Diff {
        let mut diff = Diff::default();
        if before == after {
            return diff;
        }
        diff.compare_listeners(before, after);
        diff.compare_routes(before, after);
        diff.compare_pools(before, after);
        for (key, from, to) in changed_leaves(&rest_of(before), &rest_of(after)) {
            let effect = is_for_the_next_start(&key).then_some(AT_THE_NEXT_START);
            diff.change(key, from, to, effect);
        }
        diff
    }

    /// Whether the later document has anything that the earlier one lacks.
    pub fn has_added(&self) -> bool {
        let mut differences = self.differences.iter();
        differences.any(|difference| difference.what == What::Added)
    }

    /// Whether the later document has a pool that the earlier one lacks.
    pub fn has_added_pool(&self) -> bool {
        let is_pool = |difference: &Difference| difference.subject.starts_with("pool ");
        let mut differences = self.differences.iter();
        differences.any(|difference| difference.what == What::Added && is_pool(difference))
    }

    /// The differences on one line; `nothing` if there are none.
    pub fn summary(&self) -> String {
        let named = self.differences.iter().take(NAMED_IN_SUMMARY);
        let named: Vec<String> = named.map(Difference::in_words).collect();
        match self.differences.len() {
            0 => "nothing".to_owned(),
            count if count > NAMED_IN_SUMMARY => {
                format!(
                    "{}; and {} more",
                    named.join("; "),
                    count - NAMED_IN_SUMMARY
                )
            }
            _ => named.join("; "),
        }
    }

    fn compare_listeners(&mut self, before: &Table, after: &Table) {
        let before = listeners(before);
        let mut known: HashMap<String, Leaves> = before.iter().cloned().collect();
        for (addr, settings) in listeners(after) {
            let subject = format!("listener {addr}");
            match known.remove(&addr) {
                None => self.note(What::Added, subject, None),
                Some(before) => self.compare(&subject, &before, &settings),
            }
        }
        for (addr, _) in before.iter().filter(|(addr, _)| known.contains_key(addr)) {
            let effect = Some(LISTENER_DRAINS);
            self.note(What::Removed, format!("listener {addr}"), effect);
        }
    }

    fn compare_routes(&mut self, before: &Table, after: &Table) {
        let mut known: HashMap<String, &Table> = routes(before).collect();
        for (name, route) in routes(after) {
            match known.remove(&name) {
                None => self.note(What::Added, format!("route {name}"), None),
                // Of thousands of routes, few differ.
                Some(before) if before == route => {}
                Some(before) => {
                    let (before, after) = (route_leaves(before), route_leaves(route));
                    self.compare(&format!("route {name}"), &before, &after);
                }
            }
        }
        for (name, _) in routes(before).filter(|(name, _)| known.contains_key(name)) {
            self.note(What::Removed, format!("route {name}"), None);
        }
    }

    fn compare_pools(&mut self, before: &Table, after: &Table) {
        let mut known: HashMap<String, WrittenPool> =
            pools(before).map(|(name, _, pool)| (name, pool)).collect();
        for (name, position, pool) in pools(after) {
            let before = known.remove(&name).unwrap_or_else(|| {
                self.note_pool(What::Added, &name, position);
                // Nothing is said of a new pool's settings one by one.
                WrittenPool {
                    settings: pool.settings.clone(),
                    backends: Vec::new(),
                }
            });
            let (settings_before, settings) = (leaves(&before.settings), leaves(&pool.settings));
            self.compare(&format!("pool {name}"), &settings_before, &settings);
            self.compare_backends(&name, &before, &pool);
        }
        for (name, position, pool) in pools(before).filter(|(name, ..)| known.contains_key(name)) {
            self.note_pool(What::Removed, &name, position);
            self.compare_backends(&name, &pool, &WrittenPool::default());
        }
    }

    fn compare_backends(&mut self, pool: &str, before: &WrittenPool, after: &WrittenPool) {
        let backends = before.backends.iter();
        let mut known: HashMap<String, Leaves> = backends
            .map(|backend| (backend.place(), leaves(&backend.settings)))
            .collect();
        for backend in &after.backends {
            let subject = format!("backend {} of pool {pool}", backend.place());
            match known.remove(&backend.place()) {
                None => self.note(What::Added, subject, None),
                Some(before) => self.compare(&subject, &before, &leaves(&backend.settings)),
            }
        }
        let gone = before.backends.iter().map(|backend| backend.place());
        for position in gone.filter(|position| known.contains_key(position)) {
            let subject = format!("backend {position} of pool {pool}");
            self.note(What::Removed, subject, Some(BACKEND_DRAINS));
        }
    }

    fn compare(&mut self, subject: &str, before: &Leaves, after: &Leaves) {
        for (key, from, to) in changed_leaves(before, after) {
            let drains = key == "drain" && to.as_deref() == Some("true");
            let effect = drains.then_some(BACKEND_DRAINS);
            self.change(format!("{subject}: {key}"), from, to, effect);
        }
    }

    /// A route's own pool is not named: the route stands for it.
    fn note_pool(&mut self, what: What, name: &str, position: PoolPosition) {
        if matches!(position, PoolPosition::Named(_)) {
            self.note(what, format!("pool {name}"), None);
        }
    }

    fn note(&mut self, what: What, subject: String, effect: Option<&'static str>) {
        self.differences.push(Difference {
            what,
            subject,
            from: None,
            to: None,
            effect,
        });
    }

    fn change(
        &mut self,
        subject: String,
        from: Option<String>,
        to: Option<String>,
        effect: Option<&'static str>,
    ) {
        let hidden = config::hides(&subject);
        let show = |value: String| {
            if hidden || config::is_telling(&subject, &value) {
                MASK.to_owned()
            } else {
                value
            }
        };
        let (from, to) = (from.map(show), to.map(show));
        self.differences.push(Difference {
            what: What::Changed,
            subject,
            from,
            to,
            effect,
        });
    }
}

impl Difference {
    /// `added backend 127.0.0.1:9001 of pool api`
    fn in_words(&self) -> String {
        let what = match self.what {
            What::Added => "added",
            What::Removed => "removed",
            What::Changed => "changed",
        };
        format!("{what} {}{}", self.subject, self.values())
    }

    /// ` from 1 to 2`, for a changed setting.
    fn values(&self) -> String {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
        match self.what {
            What::Changed => format!(" from {} to {}", shown(&self.from), shown(&self.to)),
            What::Added | What::Removed => String::new(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.what {
            What::Added => '+',
            What::Removed => '-',
            What::Changed => '~',
        };
        write!(f, "{sign} {}{}", self.subject, self.values())?;
        match self.effect {
            Some(effect) => write!(f, " ({effect})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        for note in &self.notes {
            writeln!(f, "# {note}")?;
        }
        Ok(())
    }
}

/// Addresses, each with its settings: those of `listen_addr` have none.
fn listeners(document: &Table) -> Vec<(String, Leaves)> {
    let short = match document.get("listen_addr") {
        None => &[][..],
        Some(Value::Array(addrs)) => addrs,
        Some(addr) => std::slice::from_ref(addr),
    };
    let short = short.iter().filter_map(Value::as_str);
    let short = short.map(|addr| (addr.to_owned(), Leaves::new()));
    let long = document.get("listeners").and_then(Value::as_array);
    let long = long.into_iter().flatten().filter_map(|listener| {
        let mut settings = listener.as_table()?.clone();
        let addr = settings.remove("addr")?.as_str()?.to_owned();
        Some((addr, leaves(&settings)))
    });
    let is_default = !document.contains_key("listen_addr") && !document.contains_key("listeners");
    let default = is_default.then(|| (default::LISTEN_ADDR.to_owned(), Leaves::new()));
    short.chain(long).chain(default).collect()
}

fn routes(document: &Table) -> impl Iterator<Item = (String, &Table)> {
    let routes = document.get("routes").and_then(Value::as_array);
    routes
        .into_iter()
        .flatten()
        .filter_map(|route| Some((written::route_name(route)?, route.as_table()?)))
}

/// A route's settings, without those of its own pool.
fn route_leaves(route: &Table) -> Leaves {
    let mut settings = route.clone();
    settings.retain(|key, _| !written::is_pool_key(key));
    leaves(&settings)
}

fn pools(document: &Table) -> impl Iterator<Item = (String, PoolPosition, WrittenPool)> {
    let pools = written::pools(document);
    pools.map(|(name, position)| (name, position, written::read_pool(document, position)))
}

/// Everything but listeners, routes and pools.
fn rest_of(document: &Table) -> Leaves {
    let rest = document.iter();
    let elsewhere = ["listen_addr", "listeners", "routes", "pools"];
    let rest = rest.filter(|(key, _)| !elsewhere.contains(&key.as_str()));
    let rest: Table = rest
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    leaves(&rest)
}

fn leaves(table: &Table) -> Leaves {
    let mut leaves = Vec::new();
    collect_leaves("", table, &mut leaves);
    leaves
}

fn collect_leaves(way: &str, table: &Table, leaves: &mut Leaves) {
    for (key, value) in table {
        let way = if way.is_empty() {
            key.clone()
        } else {
            format!("{way}.{key}")
        };
        match value {
            Value::Table(table) if !table.is_empty() => collect_leaves(&way, table, leaves),
            _ => leaves.push((way, value.to_string())),
        }
    }
}

/// The leaves that differ, with their values before and after.
fn changed_leaves(
    before: &Leaves,
    after: &Leaves,
) -> Vec<(String, Option<String>, Option<String>)> {
    let value_in =
        |leaves: &Leaves| -> HashMap<String, String> { leaves.iter().cloned().collect() };
    let (values_before, values_after) = (value_in(before), value_in(after));
    let mut seen = HashSet::new();
    let keys = before.iter().chain(after).map(|(key, _)| key);
    keys.filter(|key| seen.insert(*key))
        .map(|key| {
            (
                key.clone(),
                values_before.get(key).cloned(),
                values_after.get(key).cloned(),
            )
        })
        .filter(|(_, from, to)| from != to)
        .collect()
}
