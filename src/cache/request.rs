//! The parts of a request that decide about looking up and storing.

use httparse::Header;

use crate::cache::policy::{ClientDirectives, Policy};
use crate::http::cache_control::{CacheControl, Scope};
use crate::http::fields::values;

/// The methods that the cache tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedMethod {
    /// GET: looked up and stored.
    Get,
    /// HEAD: looked up; the response has no body, so that it is not stored.
    Head,
    /// POST: not looked up; a response that stands for its target is stored as that of GET.
    Post,
    /// Any other method: neither looked up nor stored.
    Other,
}

impl AskedMethod {
    /// The method of this name. Names are case-sensitive.
    pub fn of(name: &str) -> AskedMethod {
        match name {
            "GET" => AskedMethod::Get,
            "HEAD" => AskedMethod::Head,
            "POST" => AskedMethod::Post,
            _ => AskedMethod::Other,
        }
    }
}

/// The circumstances of a request that its fields do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Whether palantir adds an identity that is not part of the key: the subject of a client certificate, a user,
    /// claims of a token, fields of forward authentication.
    pub is_identified: bool,
    /// Whether the head is so near its bounds that a backend may refuse it; see [`is_near_bounds`].
    pub is_near_bounds: bool,
}

/// The parts of a request that decide about looking up and storing. Made once, from the request as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The method.
    pub method: AskedMethod,
    /// The directives of the client, as far as the policy lets them take effect.
    pub directives: CacheControl,
    /// Whether the request has `Authorization` or an identity, so that a response is shared only where it permits that
    /// (RFC 9111 section 3.5), or where the settings say that palantir has decided.
    pub is_authorized: bool,
    /// Whether the request says who sent it: by a cookie, `Authorization` or an identity. Its response is never fresh
    /// by heuristics.
    pub is_personal: bool,
    /// Whether the request asks for ranges.
    pub has_range: bool,
    /// Whether the request may have conditions (RFC 9110 section 13.1): a field whose name begins with `If-`.
    pub has_conditions: bool,
    /// Whether the head is so near its bounds that a backend may refuse it.
    pub is_near_bounds: bool,
}

impl Asking {
    /// Reads what of this request decides.
    pub fn new(
        policy: &Policy,
        method: &str,
        fields: &[Header<'_>],
        circumstances: Circumstances,
    ) -> Asking {
        let named = Named::in_fields(fields);
        let is_authorized = named.has_authorization || circumstances.is_identified;
        Asking {
            method: AskedMethod::of(method),
            directives: effective(policy, fields, named.has_directives),
            is_authorized,
            is_personal: is_authorized || named.has_cookie,
            has_range: named.has_range,
            has_conditions: named.has_conditions,
            is_near_bounds: circumstances.is_near_bounds,
        }
    }

    /// A copy of the request as a GET, whose response is stored.
    pub fn for_get(self) -> Asking {
        Asking {
            method: AskedMethod::Get,
            ..self
        }
    }

    /// Whether an entry may answer the request at all.
    pub fn is_looked_up(&self) -> bool {
        matches!(self.method, AskedMethod::Get | AskedMethod::Head)
    }

    /// Whether the client wants no request to a backend for it: what the cache cannot answer gets a 504.
    pub fn is_only_if_cached(&self) -> bool {
        self.directives.is_only_if_cached
    }

    /// A copy of the request where a demand of the client for a fresher response is no longer heard: another validation
    /// of the key began in the same second.
    pub fn without_demands(self) -> Asking {
        let mut asking = self;
        asking.directives.no_cache = Scope::Absent;
        asking.directives.max_age = None;
        asking.directives.min_fresh = None;
        asking
    }
}

/// The fields that decide something and that the request has. Found in one pass: every request to a cached route is
/// looked through.
#[derive(Default)]
struct Named {
    has_authorization: bool,
    has_cookie: bool,
    has_range: bool,
    has_conditions: bool,
    /// `Cache-Control` or `Pragma`.
    has_directives: bool,
}

impl Named {
    fn in_fields(fields: &[Header<'_>]) -> Named {
        let mut named = Named::default();
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            named.has_conditions |=
                matches!(field.name.as_bytes(), [b'i' | b'I', b'f' | b'F', b'-', ..]);
            match field.name.len() {
                5 => named.has_range |= is("range"),
                6 => {
                    named.has_cookie |= is("cookie");
                    named.has_directives |= is("pragma");
                }
                13 => {
                    named.has_authorization |= is("authorization");
                    named.has_directives |= is("cache-control");
                }
                _ => {}
            }
        }
        named
    }
}

/// The directives of the client that take effect.
fn effective(policy: &Policy, fields: &[Header<'_>], has_directives: bool) -> CacheControl {
    if !has_directives {
        return CacheControl::default();
    }
    // RFC 9111 section 5.2.1: the directives of requests are advice, so that an operator may bound or ignore them.
    let read =
        || CacheControl::of_request(values(fields, "cache-control"), values(fields, "pragma"));
    match policy.client_directives {
        ClientDirectives::Ignore => CacheControl::default(),
        ClientDirectives::Honour => read(),
        ClientDirectives::Bounded => CacheControl {
            max_stale: None,
            stale_if_error: None,
            ..read()
        },
    }
}

/// Whether a head is within 10 % of a bound: a backend with slightly smaller bounds answers with an error that other
/// requests for the same key would not get.
pub fn is_near_bounds(size: usize, largest: usize) -> bool {
    size >= largest - largest / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sample::{asking, policy};

    #[test]
    fn requests_table() {
        let rows: [(&[&str], bool, bool); 4] = [
            (&[], false, false),
            (&["Cookie: a=b"], false, true),
            (&["authorization: x"], true, true),
            (&["Range: bytes=0-"], false, false),
        ];
        for (lines, is_authorized, is_personal) in rows {
            let asking = asking(&policy(), "GET", lines);
            let found = (asking.is_authorized, asking.is_personal);
            assert_eq!(found, (is_authorized, is_personal), "{lines:?}");
        }
        assert!(asking(&policy(), "GET", &["Range: bytes=0-"]).has_range);
        let methods = ["GET", "HEAD", "POST", "PUT", "get"];
        let found = methods.map(|method| asking(&policy(), method, &[]).is_looked_up());
        assert_eq!(found, [true, true, false, false, false]);
    }

    #[test]
    fn only_if_cached_counts_unless_clients_are_ignored() {
        let mut policy = policy();
        let line = ["Cache-Control: only-if-cached"];
        assert!(asking(&policy, "GET", &line).is_only_if_cached());
        policy.client_directives = ClientDirectives::Ignore;
        assert!(!asking(&policy, "GET", &line).is_only_if_cached());
    }

    #[test]
    fn heads_near_their_bounds_table() {
        let rows = [
            (89, 100, false),
            (90, 100, true),
            (100, 100, true),
            (0, 1, false),
            (1, 1, true),
        ];
        for (size, largest, expected) in rows {
            assert_eq!(is_near_bounds(size, largest), expected, "{size} {largest}");
        }
    }
}
