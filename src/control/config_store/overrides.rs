//! The changes by the API that differ from the file. For every pool's settings and every backend, the overrides keep
//! the value of the file at that time and the value that the API gave instead. As long as the file still has that
//! value, the API's value counts; once the file has another one, the file wins.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::normal::normal;
use super::written::{self, WrittenBackend, WrittenPool, place_of};
use crate::base::setting::Section;
use crate::config::{BACKEND, Config, Mistakes, POOL};

/// The changes by the API that the file lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// The changes of each pool.
    pub(super) pools: Vec<PoolOverrides>,
}

/// The changes of one pool and its backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolOverrides {
    pool: String,
    /// The change of everything but the backends; `None`: there is none. Where the API took the pool out, the file's
    /// word is the whole pool.
    settings: Option<Override>,
    /// The changes of each backend.
    pub(super) backends: Vec<BackendOverride>,
}

/// The change of one backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendOverride {
    /// The address of the backend.
    pub(super) addr: String,
    #[serde(rename = "word")]
    change: Override,
}

/// `None`: it is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    file: Option<Table>,
    api: Option<Table>,
}

/// Checks a document as if it stood in the file.
pub type DocumentCheck<'c> = &'c dyn Fn(&Table) -> Result<Config, Mistakes>;

/// The document of a file with the overrides of the API.
pub struct MergedDocument {
    /// The document.
    pub document: Table,
    /// `None`: the document is the file's own.
    pub config: Option<Config>,
    /// A remark about each change: whether it still applies.
    pub notes: Vec<String>,
}

impl Overrides {
    /// The changes that make the pools of the file those of the document. Everything else of both must be equal.
    pub fn between(file: &Table, document: &Table) -> Overrides {
        let mut files: HashMap<String, WrittenPool> = pools_of(file).collect();
        let mut overrides = Vec::new();
        for (name, pool) in pools_of(document) {
            let before = files.remove(&name);
            overrides.push(PoolOverrides::between(name, before.as_ref(), &pool));
        }
        let mut removed: Vec<_> = files.into_iter().collect();
        removed.sort_by(|a, b| a.0.cmp(&b.0));
        let removed = removed.into_iter().map(|(pool, before)| PoolOverrides {
            pool,
            settings: Some(Override {
                file: Some(before.whole()),
                api: None,
            }),
            backends: Vec::new(),
        });
        overrides.extend(removed);
        overrides
            .retain(|overrides| overrides.settings.is_some() || !overrides.backends.is_empty());
        Overrides { pools: overrides }
    }

    /// The file's document with every word that stands and fits. What does not fit (say, a pool taken out to which a
    /// new route leads) is left out, pool by pool.
    pub fn over(&self, file: &Table, check: DocumentCheck<'_>) -> MergedDocument {
        let mut merged = MergedDocument {
            document: file.clone(),
            config: None,
            notes: Vec::new(),
        };
        merged.merge(&self.pools, check);
        merged
    }
}

impl MergedDocument {
    /// Merges all these overrides; if they do not fit, each half of them; a single one that does not fit is dropped.
    fn merge(&mut self, overrides: &[PoolOverrides], check: DocumentCheck<'_>) {
        let mut document = self.document.clone();
        let mut notes = Vec::new();
        for overrides in overrides {
            overrides.merge(&mut document, &mut notes);
        }
        if document == self.document {
            self.notes.append(&mut notes);
            return;
        }
        match check(&document) {
            Ok(config) => {
                self.document = document;
                self.config = Some(config);
                self.notes.append(&mut notes);
            }
            Err(mistakes) if overrides.len() == 1 => {
                let pool = &overrides[0].pool;
                let why = mistakes.notes.first().map(|note| note.text.as_str());
                let why = why.unwrap_or_default();
                self.notes.push(format!(
                    "pool {pool:?}: what the API said \
                     does not fit the file any more and is dropped: {why}"
                ));
            }
            Err(_) => {
                debug_assert!(overrides.len() > 1, "each half is smaller than the whole");
                let (first, second) = overrides.split_at(overrides.len() / 2);
                self.merge(first, check);
                self.merge(second, check);
            }
        }
    }
}

impl PoolOverrides {
    fn between(pool: String, file: Option<&WrittenPool>, now: &WrittenPool) -> PoolOverrides {
        let entry = file.map(|file| &file.settings);
        let settings = is_other(entry, &now.settings, &POOL).then(|| Override {
            file: entry.cloned(),
            api: Some(now.settings.clone()),
        });
        let mut files: HashMap<String, &WrittenBackend> =
            by_addr(file.into_iter().flat_map(|file| &file.backends));
        let mut backends = Vec::new();
        for backend in &now.backends {
            let entry = files.remove(&backend.place()).map(|entry| &entry.settings);
            if is_other(entry, &backend.settings, &BACKEND) {
                backends.push(BackendOverride {
                    addr: backend.addr.clone(),
                    change: Override {
                        file: entry.cloned(),
                        api: Some(backend.settings.clone()),
                    },
                });
            }
        }
        let removed = file.into_iter().flat_map(|file| &file.backends);
        let removed = removed.filter(|backend| files.contains_key(&backend.place()));
        backends.extend(removed.map(|backend| BackendOverride {
            addr: backend.addr.clone(),
            change: Override {
                file: Some(backend.settings.clone()),
                api: None,
            },
        }));
        PoolOverrides {
            pool,
            settings,
            backends,
        }
    }

    /// Changes the document, which says of this pool what the file says.
    fn merge(&self, document: &mut Table, notes: &mut Vec<String>) {
        let name = &self.pool;
        let position = written::find_pool(document, name);
        let file = position.map(|position| written::read_pool(document, position));
        let mut pool = file.clone();
        if let Some(change) = &self.settings {
            let now = match change.api {
                Some(_) => file.as_ref().map(|file| file.settings.clone()),
                None => file.as_ref().map(WrittenPool::whole),
            };
            let stands = change.stands(now.as_ref(), &POOL);
            notes.push(change.note(&format!("pool {name:?}"), stands));
            match &change.api {
                Some(settings) if stands => {
                    pool.get_or_insert_default().settings = settings.clone()
                }
                None if stands => pool = None,
                _ => {}
            }
        }
        match (&mut pool, self.backends.is_empty()) {
            (Some(pool), _) => self.merge_backends(pool, notes),
            (None, false) => notes.push(format!(
                "pool {name:?}: it is gone, and with it what the API said of its backends"
            )),
            (None, true) => {}
        }
        match (position, pool) {
            (Some(position), Some(pool)) => written::write_pool(document, position, pool),
            (Some(position), None) => written::remove_pool(document, position),
            (None, Some(pool)) => drop(written::add_pool(document, name, pool)),
            (None, None) => {}
        }
    }

    fn merge_backends(&self, pool: &mut WrittenPool, notes: &mut Vec<String>) {
        let mut overrides: HashMap<String, &BackendOverride> = self
            .backends
            .iter()
            .map(|change| (place_of(&change.addr), change))
            .collect();
        let mut standing = |entry: &BackendOverride, now: Option<&Table>| {
            let stands = entry.change.stands(now, &BACKEND);
            let subject = format!("backend {} of pool {:?}", place_of(&entry.addr), self.pool);
            notes.push(entry.change.note(&subject, stands));
            stands
        };
        pool.backends.retain_mut(|backend| {
            let Some(entry) = overrides.remove(&backend.place()) else {
                return true;
            };
            if !standing(entry, Some(&backend.settings)) {
                return true;
            }
            if let Some(settings) = &entry.change.api {
                (backend.addr, backend.settings) = (entry.addr.clone(), settings.clone());
            }
            entry.change.api.is_some()
        });
        for entry in &self.backends {
            let is_absent = overrides.contains_key(&place_of(&entry.addr));
            if let (true, Some(settings)) = (is_absent && standing(entry, None), &entry.change.api)
            {
                pool.backends.push(WrittenBackend {
                    addr: entry.addr.clone(),
                    settings: settings.clone(),
                });
            }
        }
    }
}

impl Override {
    /// Whether the file still says what it said of this section, in whatever way it is written.
    fn stands(&self, now: Option<&Table>, section: &Section) -> bool {
        match (self.file.as_ref(), now) {
            (before, Some(now)) => !is_other(before, now, section),
            (before, None) => before.is_none(),
        }
    }

    fn note(&self, subject: &str, stands: bool) -> String {
        let entry = match (&self.file, &self.api) {
            (None, _) => "added",
            (Some(_), None) => "taken out",
            (Some(_), Some(_)) => "changed",
        };
        if stands {
            format!("{subject}: stays as {entry} by the API")
        } else {
            format!(
                "{subject}: was {entry} by the API, but the file changed it since, and the file wins"
            )
        }
    }
}

/// Whether a table of this section says something else than the one before, or is new.
fn is_other(before: Option<&Table>, now: &Table, section: &Section) -> bool {
    before.is_none_or(|before| before != now && normal(before, section) != normal(now, section))
}

fn pools_of(document: &Table) -> impl Iterator<Item = (String, WrittenPool)> {
    written::pools(document).map(|(name, position)| (name, written::read_pool(document, position)))
}

fn by_addr<'b>(
    backends: impl Iterator<Item = &'b WrittenBackend>,
) -> HashMap<String, &'b WrittenBackend> {
    backends.map(|backend| (backend.place(), backend)).collect()
}
