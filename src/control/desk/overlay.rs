//! The changes by the API that differ from the file. For every pool's settings and every backend, the overlay keeps the
//! value of the file at that time and the value that the API gave instead. As long as the file still has that value,
//! the API's value counts; once the file has another one, the file wins.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::written::{self, WrittenBackend, WrittenPool, place_of};
use crate::config::{Config, Mistakes};

/// All that the API has said and the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The changes of each pool.
    pub(super) pools: Vec<PoolWords>,
}

/// The changes of one pool and its backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolWords {
    pool: String,
    /// The change of everything but the backends; `None`: there is none. Where the API took the pool out, the file's
    /// word is the whole pool.
    settings: Option<Word>,
    /// The changes of each backend.
    pub(super) backends: Vec<BackendWord>,
}

/// The change of one backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendWord {
    /// The address of the backend.
    pub(super) addr: String,
    word: Word,
}

/// `None`: it is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    file: Option<Table>,
    api: Option<Table>,
}

/// Checks a document as if it stood in the file.
pub type Check<'c> = &'c dyn Fn(&Table) -> Result<Config, Mistakes>;

/// A file's document with the API's words.
pub struct Laid {
    /// The document.
    pub document: Table,
    /// `None`: the document is the file's own.
    pub config: Option<Config>,
    /// A remark about each change: whether it still applies.
    pub notes: Vec<String>,
}

impl Overlay {
    /// The changes that make the pools of the file those of the document. Everything else of both must be equal.
    pub fn between(file: &Table, document: &Table) -> Overlay {
        let mut files: HashMap<String, WrittenPool> = pools_of(file).collect();
        let mut words = Vec::new();
        for (name, pool) in pools_of(document) {
            let before = files.remove(&name);
            words.push(PoolWords::between(name, before.as_ref(), &pool));
        }
        let mut removed: Vec<_> = files.into_iter().collect();
        removed.sort_by(|a, b| a.0.cmp(&b.0));
        let removed = removed.into_iter().map(|(pool, before)| PoolWords {
            pool,
            settings: Some(Word {
                file: Some(before.whole()),
                api: None,
            }),
            backends: Vec::new(),
        });
        words.extend(removed);
        words.retain(|words| words.settings.is_some() || !words.backends.is_empty());
        Overlay { pools: words }
    }

    /// The file's document with every word that stands and fits. What does not fit (say, a pool taken out to which a
    /// new route leads) is left out, pool by pool.
    pub fn over(&self, file: &Table, check: Check<'_>) -> Laid {
        let mut laid = Laid {
            document: file.clone(),
            config: None,
            notes: Vec::new(),
        };
        laid.lay(&self.pools, check);
        laid
    }
}

impl Laid {
    /// Lays all these words, else each half of them, else none.
    fn lay(&mut self, words: &[PoolWords], check: Check<'_>) {
        let mut document = self.document.clone();
        let mut notes = Vec::new();
        for words in words {
            words.lay(&mut document, &mut notes);
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
            Err(mistakes) if words.len() == 1 => {
                let pool = &words[0].pool;
                let why = mistakes.notes.first().map(|note| note.text.as_str());
                let why = why.unwrap_or_default();
                self.notes.push(format!(
                    "pool {pool:?}: what the API said \
                     does not fit the file any more and is dropped: {why}"
                ));
            }
            Err(_) => {
                let (first, second) = words.split_at(words.len() / 2);
                self.lay(first, check);
                self.lay(second, check);
            }
        }
    }
}

impl PoolWords {
    fn between(pool: String, file: Option<&WrittenPool>, now: &WrittenPool) -> PoolWords {
        let said = file.map(|file| &file.settings);
        let settings = (said != Some(&now.settings)).then(|| Word {
            file: said.cloned(),
            api: Some(now.settings.clone()),
        });
        let mut files: HashMap<String, &WrittenBackend> =
            by_place(file.into_iter().flat_map(|file| &file.backends));
        let mut backends = Vec::new();
        for backend in &now.backends {
            let said = files.remove(&backend.place()).map(|said| &said.settings);
            if said != Some(&backend.settings) {
                backends.push(BackendWord {
                    addr: backend.addr.clone(),
                    word: Word {
                        file: said.cloned(),
                        api: Some(backend.settings.clone()),
                    },
                });
            }
        }
        let removed = file.into_iter().flat_map(|file| &file.backends);
        let removed = removed.filter(|backend| files.contains_key(&backend.place()));
        backends.extend(removed.map(|backend| BackendWord {
            addr: backend.addr.clone(),
            word: Word {
                file: Some(backend.settings.clone()),
                api: None,
            },
        }));
        PoolWords {
            pool,
            settings,
            backends,
        }
    }

    /// Changes the document, which says of this pool what the file says.
    fn lay(&self, document: &mut Table, notes: &mut Vec<String>) {
        let name = &self.pool;
        let place = written::find_pool(document, name);
        let file = place.map(|place| written::read_pool(document, place));
        let mut pool = file.clone();
        if let Some(word) = &self.settings {
            let now = match word.api {
                Some(_) => file.as_ref().map(|file| file.settings.clone()),
                None => file.as_ref().map(WrittenPool::whole),
            };
            let stands = word.stands(now.as_ref());
            notes.push(word.note(&format!("pool {name:?}"), stands));
            match &word.api {
                Some(settings) if stands => {
                    pool.get_or_insert_default().settings = settings.clone()
                }
                None if stands => pool = None,
                _ => {}
            }
        }
        match (&mut pool, self.backends.is_empty()) {
            (Some(pool), _) => self.lay_backends(pool, notes),
            (None, false) => notes.push(format!(
                "pool {name:?}: it is gone, and with it what the API said of its backends"
            )),
            (None, true) => {}
        }
        match (place, pool) {
            (Some(place), Some(pool)) => written::write_pool(document, place, pool),
            (Some(place), None) => written::remove_pool(document, place),
            (None, Some(pool)) => drop(written::add_pool(document, name, pool)),
            (None, None) => {}
        }
    }

    fn lay_backends(&self, pool: &mut WrittenPool, notes: &mut Vec<String>) {
        let mut words: HashMap<String, &BackendWord> = self
            .backends
            .iter()
            .map(|word| (place_of(&word.addr), word))
            .collect();
        let mut standing = |said: &BackendWord, now: Option<&Table>| {
            let stands = said.word.stands(now);
            let subject = format!("backend {} of pool {:?}", place_of(&said.addr), self.pool);
            notes.push(said.word.note(&subject, stands));
            stands
        };
        pool.backends.retain_mut(|backend| {
            let Some(said) = words.remove(&backend.place()) else {
                return true;
            };
            if !standing(said, Some(&backend.settings)) {
                return true;
            }
            if let Some(settings) = &said.word.api {
                (backend.addr, backend.settings) = (said.addr.clone(), settings.clone());
            }
            said.word.api.is_some()
        });
        for said in &self.backends {
            let is_absent = words.contains_key(&place_of(&said.addr));
            if let (true, Some(settings)) = (is_absent && standing(said, None), &said.word.api) {
                pool.backends.push(WrittenBackend {
                    addr: said.addr.clone(),
                    settings: settings.clone(),
                });
            }
        }
    }
}

impl Word {
    /// Whether the file still says what it said.
    fn stands(&self, now: Option<&Table>) -> bool {
        self.file.as_ref() == now
    }

    fn note(&self, subject: &str, stands: bool) -> String {
        let said = match (&self.file, &self.api) {
            (None, _) => "added",
            (Some(_), None) => "taken out",
            (Some(_), Some(_)) => "changed",
        };
        if stands {
            format!("{subject}: stays as {said} by the API")
        } else {
            format!(
                "{subject}: was {said} by the API, but the file changed it since, and the file wins"
            )
        }
    }
}

fn pools_of(document: &Table) -> impl Iterator<Item = (String, WrittenPool)> {
    written::pools(document).map(|(name, place)| (name, written::read_pool(document, place)))
}

fn by_place<'b>(
    backends: impl Iterator<Item = &'b WrittenBackend>,
) -> HashMap<String, &'b WrittenBackend> {
    backends.map(|backend| (backend.place(), backend)).collect()
}
