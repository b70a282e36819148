//! The settings of a route's cache in the form that decisions use.

use std::time::Duration;

use crate::base::cidr::Cidr;
use crate::cache::pattern::Pattern;

/// How the cache treats the requests of one route. All times that freshness is computed from are whole seconds, as in
/// the fields of HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The name by which `Cache-Status` calls the cache (RFC 9211 section 2).
    pub name: String,
    /// The first part of every key: entries of different zones never meet.
    pub zone: String,
    /// The share of the store that the entries of the zone may use, in percent.
    pub max_percent: u8,
    /// The largest body that is stored, in bytes.
    pub max_object: u64,
    /// The freshness lifetimes of the operator.
    pub ttl: TtlRules,
    /// The share of the time since `Last-Modified` for which a response without explicit freshness is fresh, in percent
    /// (RFC 9111 section 4.2.2); 0: such a response is not fresh.
    pub heuristic_percent: u8,
    /// The longest heuristic freshness lifetime, in seconds.
    pub heuristic_max: u32,
    /// The longest freshness lifetime of a 4xx other than 404 and 410, and of a 5xx, in seconds.
    pub error_ttl_max: u32,
    /// Seconds for which a stale entry is served when no answer of a backend can be had.
    pub stale_if_unreachable: u32,
    /// Seconds for which a stale entry is served in place of a 500, 502, 503 or 504, where the response itself names no
    /// `stale-if-error`.
    pub stale_if_error: u32,
    /// The time after which a validation goes on without its client, who gets the stale entry; `None`: never.
    pub stale_after: Option<Duration>,
    /// Seconds for which a stale entry is served while it is validated, where the response itself names no
    /// `stale-while-revalidate`.
    pub stale_while_revalidate: u32,
    /// The time after which a collapsed request goes to a backend by itself.
    pub collapse_timeout: Duration,
    /// Seconds for which a key whose response could not be stored is not collapsed (hit-for-miss).
    pub uncacheable_memory: u32,
    /// The treatment of a response with `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// The number of requests for a key before its response is stored; `None`: 1, and 2 when the store is full.
    pub min_uses: Option<u8>,
    /// The parameters of the query that are not part of the key.
    pub ignore_query: Vec<Pattern>,
    /// Whether the parameters of the query are sorted for the key.
    pub sort_query: bool,
    /// The names, in lower case, of the fields of requests that are part of the key.
    pub key_headers: Vec<String>,
    /// The names, in lower case, of fields that `Vary` may name without any effect.
    pub vary_ignore: Vec<String>,
    /// The names, in lower case, of fields that make a response uncacheable when `Vary` names them.
    pub vary_uncacheable: Vec<String>,
    /// The largest number of variants of one key.
    pub max_variants: u16,
    /// The requests that neither look up nor store.
    pub bypass: Bypass,
    /// The names of the cookies that are taken out of requests.
    pub strip_cookies: Vec<Pattern>,
    /// The effect that the directives of clients may have.
    pub client_directives: ClientDirectives,
    /// The names, in lower case, of the fields of RFC 9213 in the order of their precedence.
    pub targeted: Vec<String>,
    /// Whether clients do not get the targeted fields.
    pub strip_targeted: bool,
    /// How much `Cache-Status` says.
    pub status: StatusField,
    /// The side that decides on requests with `Authorization`.
    pub authorization: Authorization,
    /// Whether clients get the fields with the tags of a response.
    pub forward_tags: bool,
    /// The clients whose `PURGE` and `BAN` are obeyed; empty: these methods are forwarded as any other.
    pub purge_method: Vec<Cidr>,
    /// The size of the slices in which large bodies are fetched and stored, in bytes; `None`: bodies are fetched whole.
    pub slice: Option<u64>,
}

/// The freshness lifetimes of the operator, by status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TtlRules {
    /// Statuses and their lifetimes in seconds.
    pub by_status: Vec<(u16, u32)>,
    /// The words of the backend that a lifetime replaces.
    pub replaces: Replaces,
}

/// The words of the backend that a freshness lifetime of the operator replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replaces {
    /// Nothing: the lifetime counts where the backend names none.
    #[default]
    Nothing,
    /// The lifetime that the backend names, and directives that forbid to reuse or to store; but never `private`,
    /// `no-store` or `Set-Cookie`.
    Lifetimes,
    /// Everything that the backend says.
    Everything,
}

/// The treatment of a response with `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// The response is not stored.
    Refuse,
    /// The response is stored without its cookies, and every client gets it without them.
    Strip,
    /// The response is stored with its cookies, as RFC 9111 section 7.3 permits.
    Store,
}

/// The requests that neither look up nor store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bypass {
    /// A request with a cookie of such a name.
    pub cookies: Vec<Pattern>,
    /// A request with a field of such a name, in lower case.
    pub headers: Vec<String>,
    /// A request with such a path.
    pub paths: Vec<Pattern>,
}

/// The effect that the cache directives of clients may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientDirectives {
    /// A client causes at most one validation per key and second.
    Bounded,
    /// Every directive is obeyed.
    Honour,
    /// Directives have no effect.
    Ignore,
}

/// How much `Cache-Status` (RFC 9211) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusField {
    /// All parameters.
    Full,
    /// `hit` or `fwd`, and `ttl`.
    Brief,
    /// The field is not sent.
    Off,
}

/// The side that decides on requests with `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// The response permits reuse as RFC 9111 section 3.5 says.
    Rfc,
    /// The authentication step of palantir has decided, so that a response may be reused for every client that passed.
    CheckedHere,
}
