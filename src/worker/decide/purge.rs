//! The step that obeys `PURGE` and `BAN`, by which content management systems purge the cache in front of them. Such a
//! request never reaches a backend where the settings of the route name clients whose purges are obeyed.

use std::net::IpAddr;

use super::{Early, Incoming};
use crate::cache::key::{Key, KeyParts};
use crate::cache::policy::Policy;
use crate::cache::purge_request::{self, PurgeRequest, Urls};
use crate::cache::tags::named_tag;
use crate::http::host;
use crate::shared::SharedStore;
use crate::shared::cache::{Purge, PurgeEffect};
use crate::worker::cache::asked_url::{AskedUrl, UrlParts};
use crate::worker::reply::Reply;

/// The schemes under which the responses of a URL may be stored. A content management system sends its purges in
/// cleartext, whatever its clients speak.
const SCHEMES: [&str; 2] = ["http", "https"];

/// Obeys a purge, or refuses it. Any other request goes on.
pub fn obey(
    incoming: &Incoming<'_>,
    client: Option<IpAddr>,
    policy: &Policy,
    store: &SharedStore,
) -> Result<(), Early> {
    let head = incoming.head;
    if policy.purge_method.is_empty() || !purge_request::is_purge(head.method.as_bytes()) {
        return Ok(());
    }
    let is_allowed = client.is_some_and(|client| {
        let mut networks = policy.purge_method.iter();
        networks.any(|network| network.contains(client))
    });
    if !is_allowed {
        return Err(Reply::purge_not_allowed().into());
    }
    let target = match head.query {
        Some(query) => [incoming.target.forwarded, b"?", query].concat(),
        None => incoming.target.forwarded.to_vec(),
    };
    let Ok(request) = purge_request::read(&target, head.fields) else {
        return Err(Reply::unknown_purge().into());
    };
    let effect = if purge_request::is_soft(head.fields) {
        PurgeEffect::Soft
    } else {
        PurgeEffect::Hard
    };
    let place = AskedUrl::of(&UrlParts::of(incoming));
    let purging = Purging {
        authority: place.authority(),
        target: &target,
        policy,
        store,
        effect,
    };
    Err(Reply::purged(purging.run(&request)).into())
}

/// A purge that is carried out.
struct Purging<'a> {
    /// Host and port of the request.
    authority: &'a [u8],
    /// Path and query of the request.
    target: &'a [u8],
    policy: &'a Policy,
    store: &'a SharedStore,
    effect: PurgeEffect,
}

impl Purging<'_> {
    /// Purges, and returns the number of the last purge.
    fn run(&self, request: &PurgeRequest) -> u64 {
        let path = self.target.split(|&byte| byte == b'?').next();
        let path = path.unwrap_or_default();
        match request {
            PurgeRequest::Tags(tags) => {
                let numbers = tags.iter().map(|tag| {
                    let tag = named_tag(tag);
                    self.store.purge(Purge::Tag(&tag), self.effect)
                });
                numbers.max().unwrap_or_default()
            }
            PurgeRequest::Urls(Urls::Target) => self.purge_url(self.target),
            PurgeRequest::Urls(Urls::Exact(target)) => self.purge_url(target),
            PurgeRequest::Urls(Urls::AnyQuery) => {
                self.purge_url(path);
                self.purge_prefix(&[path, b"?"].concat())
            }
            PurgeRequest::Urls(Urls::Prefix(path)) => self.purge_prefix(path),
            PurgeRequest::Urls(Urls::Zone) => {
                let mut zone = Vec::new();
                Key::write_prefix(&self.policy.zone, b"", &mut zone);
                self.store.purge(Purge::Prefix(&zone), self.effect)
            }
        }
    }

    fn purge_url(&self, target: &[u8]) -> u64 {
        let urls = SCHEMES.iter().map(|scheme| self.url(scheme, target));
        let numbers = urls.map(|url| self.store.purge(Purge::Url(&url), self.effect));
        numbers.max().unwrap_or_default()
    }

    fn purge_prefix(&self, path: &[u8]) -> u64 {
        let prefixes = SCHEMES.iter().map(|scheme| {
            let mut prefix = self.url(scheme, b"");
            prefix.extend_from_slice(path);
            prefix
        });
        let numbers = prefixes.map(|prefix| self.store.purge(Purge::Prefix(&prefix), self.effect));
        numbers.max().unwrap_or_default()
    }

    /// Zone and URL as the keys of the route have them.
    fn url(&self, scheme: &str, target: &[u8]) -> Vec<u8> {
        let (host, port) = host::split(self.authority).unwrap_or((self.authority, None));
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        let parts = KeyParts {
            policy: self.policy,
            scheme,
            host,
            port,
            path: parts.next().unwrap_or_default(),
            query: parts.next(),
            fields: &[],
        };
        let mut url = Vec::new();
        Key::write_url(&parts, &mut url);
        url
    }
}
