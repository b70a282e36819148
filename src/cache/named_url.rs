//! A URL that an operator names, in the form that the keys of the cache have.

use httparse::Header;

use crate::base::limits;
use crate::cache::key::{Key, KeyParts, write_authority};
use crate::cache::policy::Policy;
use crate::http::host;
use crate::http::path::{merge_slashes, normalise};

/// A URL with its path in the normal form in which requests are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUrl {
    scheme: &'static str,
    host: Vec<u8>,
    port: Option<u16>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
}

impl NamedUrl {
    /// Reads a URL such as `https://a.test/img/1?size=2`. Without a path it is that of `/`. Errors: what is wrong, as
    /// words that follow the name of the value.
    pub fn read(text: &str) -> Result<NamedUrl, &'static str> {
        if text.len() > limits::CACHE_URL_BYTES {
            return Err("is longer than any URL that is stored");
        }
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !text.bytes().all(is_allowed) {
            return Err("must have neither blanks nor a fragment, and other characters as %XX");
        }
        let (scheme, rest) = split_scheme(text).ok_or("must begin with http:// or https://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) =
            host::split(authority.as_bytes()).ok_or("must name a host, and no user")?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut scratch = Vec::new();
        let path = if path.is_empty() { "/" } else { path };
        let path = normalise(path.as_bytes(), &mut scratch);
        Ok(NamedUrl {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path: path
                .map_err(|_| "must have a path that palantir forwards")?
                .to_vec(),
            query: query.map(|query| query.as_bytes().to_vec()),
        })
    }

    /// The host, without a port.
    pub fn host(&self) -> &[u8] {
        host::without_root(&self.host)
    }

    /// The path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The URL with one slash in the place of several, as most listeners read it. `None`: there are no such slashes.
    pub fn with_merged_slashes(&self) -> Option<NamedUrl> {
        let mut scratch = Vec::new();
        let path = merge_slashes(&self.path, &mut scratch);
        (path != self.path).then(|| NamedUrl {
            path: path.to_vec(),
            ..self.clone()
        })
    }

    /// Scheme, host and port, as groups name an origin.
    pub fn origin(&self) -> Vec<u8> {
        let mut origin = format!("{}://", self.scheme).into_bytes();
        write_authority(self.scheme, &self.host, self.port, &mut origin);
        origin
    }

    /// The whole URL.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.origin();
        text.extend_from_slice(&self.path);
        if let Some(query) = &self.query {
            text.push(b'?');
            text.extend_from_slice(query);
        }
        text
    }

    /// Appends the zone of a policy and the URL as its keys have it: with what of the query belongs to them.
    pub fn write_url(&self, policy: &Policy, out: &mut Vec<u8>) {
        Key::write_url(&self.parts(policy, &[]), out);
    }

    /// Appends the key of a request for the URL with these fields.
    pub fn write_key(&self, policy: &Policy, fields: &[Header<'_>], out: &mut Vec<u8>) {
        Key::write(&self.parts(policy, fields), out);
    }

    fn parts<'a>(&'a self, policy: &'a Policy, fields: &'a [Header<'a>]) -> KeyParts<'a> {
        KeyParts {
            policy,
            scheme: self.scheme,
            host: &self.host,
            port: self.port,
            path: &self.path,
            query: self.query.as_deref(),
            fields,
        }
    }
}

fn split_scheme(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = ["http", "https"].into_iter();
    let mut known = known.filter(|known| known.eq_ignore_ascii_case(scheme));
    Some((known.next()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_table() {
        let rows = [
            ("https://a.test", Ok("https://a.test/")),
            ("HTTPS://A.test:443/x?", Ok("https://a.test/x?")),
            ("http://a.test:8080/x?b=1", Ok("http://a.test:8080/x?b=1")),
            ("http://a.test./a/../%7eb", Ok("http://a.test/~b")),
            ("http://[::0:1]/x", Ok("http://[::1]/x")),
            ("http://a.test?x", Ok("http://a.test/?x")),
            ("ftp://a.test/", Err("must begin")),
            ("/path", Err("must begin")),
            ("https://user@a.test/", Err("must name a host")),
            ("https:///x", Err("must name a host")),
            ("https://a.test/x#y", Err("must have neither")),
            ("https://a.test/x y", Err("must have neither")),
            ("https://a.test/\u{e4}", Err("must have neither")),
            ("https://a.test/%zz", Err("must have a path")),
            ("https://a.test/../x", Err("must have a path")),
        ];
        for (text, expected) in rows {
            match (NamedUrl::read(text), expected) {
                (Ok(url), Ok(expected)) => {
                    assert_eq!(String::from_utf8_lossy(&url.text()), expected, "{text}");
                }
                (Err(why), Err(start)) => assert!(why.starts_with(start), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let long = format!("http://a/{}", "x".repeat(limits::CACHE_URL_BYTES));
        assert!(NamedUrl::read(&long).is_err());
    }

    #[test]
    fn slashes_are_merged_for_those_who_merge_them() {
        let url = NamedUrl::read("http://a/b//c?d//e").unwrap();
        let merged = url.with_merged_slashes().unwrap();
        assert_eq!(merged.text(), b"http://a/b/c?d//e");
        assert_eq!(merged.with_merged_slashes(), None);
        assert_eq!(merged.origin(), b"http://a");
        assert_eq!((merged.host(), merged.path()), (&b"a"[..], &b"/b/c"[..]));
    }
}
