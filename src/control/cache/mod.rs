//! The cache as operators see and change it: its entries, purges, and the treatment of a request. The decisions are
//! those of [`crate::cache`].

pub mod entries;
pub mod explain;
pub mod first;
pub mod purge;
#[cfg(test)]
mod tests;

use crate::cache::named_url::NamedUrl;
use crate::cache::policy::Policy;
use crate::snapshot::{Route, Snapshot};

/// The route that takes a URL.
pub fn route_of<'s>(snapshot: &'s Snapshot, url: &NamedUrl) -> Option<&'s Route> {
    let merged = url.with_merged_slashes();
    let path = merged.as_ref().unwrap_or(url).path();
    let id = snapshot.route_table.find(url.host(), path)?;
    Some(&snapshot.routes[id.index()])
}

/// The policies of all routes that have a cache.
pub fn policies(snapshot: &Snapshot) -> impl Iterator<Item = &Policy> {
    let routes = snapshot.routes.iter();
    routes.filter_map(|route| route.cache.as_deref())
}
