//! Stories of files, edits, reloads and restarts.

mod edits;
mod properties;
mod reloads;

use std::path::Path;
use std::time::{Duration, SystemTime};

use toml::Table;

use super::*;

/// The text of the file at the beginning.
const FILE: &str = r#"
[[pools]]
name = "api"
backends = ["127.0.0.1:1", { addr = "http://127.0.0.1:2", weight = 2 }]
health_check = { path = "/health" }

[[pools]]
name = "spare"
backends = ["127.0.0.1:9"]

[[routes]]
host = "API.example.com"
pool = "api"

[[routes]]
backend_addrs = ["[::1]:1", "unix:/run/app.sock"]
timeout = 5
"#;

fn parsed(text: &str) -> Config {
    config::parse(Path::new("c.toml"), text.to_owned()).unwrap_or_else(|all| panic!("{all}"))
}

fn table(text: &str) -> Table {
    text.parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn config_store() -> ConfigStore {
    let (store, notes) = ConfigStore::new(parsed(FILE), Overrides::default(), at(0));
    assert!(notes.is_empty(), "{notes:?}");
    store
}

impl ConfigStore {
    /// Makes an edit that is right.
    fn edit(&mut self, edit: Edit) -> u64 {
        let proposal = self.propose(&edit).unwrap_or_else(|why| panic!("{why}"));
        self.accept(proposal, "test", at(1))
    }

    /// A pool's backends as `place {settings}`, and the rest of its settings.
    fn pool(&self, name: &str) -> Option<(Vec<String>, String)> {
        let position = written::find_pool(self.document(), name)?;
        let pool = written::read_pool(self.document(), position);
        let in_words = |settings: &Table| {
            let settings = settings.iter();
            let settings = settings.map(|(key, value)| format!("{key}={value}"));
            settings.collect::<Vec<_>>().join(" ")
        };
        let backends = pool.backends.iter();
        let backends = backends.map(|backend| {
            format!("{} {}", backend.addr, in_words(&backend.settings))
                .trim_end()
                .to_owned()
        });
        Some((backends.collect(), in_words(&pool.settings)))
    }

    fn backends(&self, pool: &str) -> String {
        self.pool(pool)
            .map_or("no pool".to_owned(), |(backends, _)| backends.join(", "))
    }

    /// The process ends and begins anew with this file and what the API has said.
    fn restarted(&self, file: &str) -> (ConfigStore, Vec<String>) {
        let overrides = serde_json::to_string(&self.history[0].overrides).unwrap();
        ConfigStore::new(
            parsed(file),
            serde_json::from_str(&overrides).unwrap(),
            at(2),
        )
    }
}

fn add(pool: &str, server: &str) -> Edit {
    Edit::AddServer {
        pool: pool.to_owned(),
        server: table(server),
    }
}

fn put(pool: &str, addr: &str, server: &str) -> Edit {
    Edit::PutServer {
        pool: pool.to_owned(),
        addr: addr.to_owned(),
        server: table(server),
    }
}

/// Every setting of the text is set, and every one of the other names taken back.
fn patch(pool: &str, addr: &str, set: &str, unset: &[&str]) -> Edit {
    Edit::PatchServer {
        pool: pool.to_owned(),
        addr: addr.to_owned(),
        settings: settings(set, unset),
    }
}

fn remove(pool: &str, addr: &str) -> Edit {
    Edit::RemoveServer {
        pool: pool.to_owned(),
        addr: addr.to_owned(),
    }
}

fn put_pool(name: &str, pool: &str) -> Edit {
    Edit::PutPool {
        name: name.to_owned(),
        pool: table(pool),
    }
}

fn patch_pool(name: &str, set: &str, unset: &[&str]) -> Edit {
    Edit::PatchPool {
        name: name.to_owned(),
        settings: settings(set, unset),
    }
}

fn remove_pool(name: &str) -> Edit {
    Edit::RemovePool {
        name: name.to_owned(),
    }
}

fn settings(set: &str, unset: &[&str]) -> Vec<(String, Option<toml::Value>)> {
    let set = table(set)
        .into_iter()
        .map(|(key, value)| (key, Some(value)));
    let unset = unset.iter().map(|key| ((*key).to_owned(), None));
    set.chain(unset).collect()
}
