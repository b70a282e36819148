//! The backends of a snapshot that one backend of the configuration stands for: several if its name has several
//! addresses.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Named;
use crate::base::addresses::BackendAddr;
use crate::snapshot::{Backend, Snapshot};

/// The backends of some pools, by pool and address. Built once for many look-ups, because a pool may have many
/// thousands.
pub struct Rows<'s>(HashMap<&'s str, HashMap<Cow<'s, str>, Vec<&'s Backend>>>);

impl<'s> Rows<'s> {
    /// The backends of the pools for which `is_wanted` returns true.
    pub fn of(snapshot: &'s Snapshot, is_wanted: impl Fn(&str) -> bool) -> Rows<'s> {
        let pools = snapshot.pools.iter().filter(|pool| is_wanted(&pool.name));
        let pools = pools.map(|pool| {
            let mut backends: HashMap<_, Vec<_>> = HashMap::new();
            for backend in &pool.backends {
                backends.entry(place_of(backend)).or_default().push(backend);
            }
            (pool.name.as_str(), backends)
        });
        Rows(pools.collect())
    }

    /// The backends of `named`; empty if there are none.
    pub fn of_backend(&self, named: &Named) -> &[&'s Backend] {
        self.find(&named.pool, &named.addr)
    }

    /// The backends at an address of a pool, both in the form of [`Named`].
    pub fn find(&self, pool: &str, addr: &str) -> &[&'s Backend] {
        let found = self.0.get(pool).and_then(|backends| backends.get(addr));
        found.map_or(&[], Vec::as_slice)
    }
}

/// The address in the form of the configuration: the label of one address of a name is `name (address)`.
fn place_of(backend: &Backend) -> Cow<'_, str> {
    match (backend.label.split_once(" ("), &backend.addr) {
        (Some((name, _)), Some(BackendAddr::Tcp(addr))) => {
            Cow::Owned(format!("{name}:{}", addr.port()))
        }
        _ => Cow::Borrowed(&backend.label),
    }
}
