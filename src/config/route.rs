//! The settings of a route: `[[routes]]`.

use super::address;
use super::cache::{self, RouteCacheSettings};
use super::cookies;
use super::declared::{Demand, ROUTE, work_keys};
use super::document::{DocumentTable, Item};
use super::fields;
use super::notes::{Position, Positioned};
use super::pool::{self, PoolSettings};
use crate::base::limits;
use crate::base::setting::Value;
use crate::http::cookies::CookieEdits;
use crate::http::names::FieldEdits;
use crate::http::path;
use crate::snapshot::{HostHeader, RouteOptions, RouteTimeouts};

/// A route as written.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// The place of the route in the file.
    pub position: Position,
    /// Host of the requests, in lower case; `None`: every host.
    pub host: Option<String>,
    /// Prefix of the path of the requests. It begins with `/`.
    pub prefix: String,
    /// The pool that the requests go to.
    pub target: RouteTarget,
    /// The `Host` that backends get.
    pub host_header: HostHeader,
    /// The place of `client_cert = "required"`; `None`: clients need no certificate.
    pub wants_certificate: Option<Positioned<()>>,
    /// Fields of requests that are set or removed.
    pub request_headers: FieldEdits,
    /// Fields of responses that are set or removed.
    pub response_headers: FieldEdits,
    /// The settings that depend on nothing else.
    pub options: RouteOptions,
    /// Time-outs of [`crate::snapshot::RouteTimeouts`] that the route has instead of those for all routes, by name.
    pub timeouts: Vec<(&'static str, Value)>,
    /// Largest size of a request body in bytes; 0: unlimited; `None`: as for all routes.
    pub request_body_bytes: Option<u64>,
    /// Caching of the responses; `None`: they are not cached.
    pub cache: Option<Box<RouteCacheSettings>>,
    /// Attributes of cookies that are replaced.
    pub cookies: CookieEdits,
    /// Whether `Forwarded` is written; `None`: as for all routes.
    pub forwarded: Option<bool>,
    /// Whether `X-Real-IP` is written; `None`: as for all routes.
    pub x_real_ip: Option<bool>,
}

/// The pool that a route leads to.
#[derive(Clone, Debug)]
pub enum RouteTarget {
    /// To one of `[[pools]]`, by its name.
    Pool(Positioned<String>),
    /// The short form: to a pool that no other route has.
    Own(Box<PoolSettings>),
}

impl RouteSettings {
    /// Host and prefix as one text: `api.example.com/api`, `/`.
    pub fn name(&self) -> String {
        route_name(self.host.as_deref(), &self.prefix)
    }

    /// Whether host and prefix were both understood.
    pub(super) fn is_whole(&self) -> bool {
        !self.prefix.is_empty() && self.host.as_deref() != Some("")
    }

    pub(super) fn read(item: &Item<'_>) -> Option<RouteSettings> {
        item.table(|table| {
            // A mistaken host or prefix is empty from here on: the checks across the file pass over such a route.
            let host = table.get("host", |item| {
                Some(item.parsed(address::host_pattern).unwrap_or_default())
            });
            let prefix = table.get("prefix", |item| {
                Some(item.parsed(read_prefix).unwrap_or_default())
            });
            let prefix = prefix.unwrap_or_else(|| table.default_text("prefix").to_owned());
            let name = route_name(host.as_deref(), &prefix);
            RouteSettings {
                position: table.position().clone(),
                host,
                prefix,
                target: RouteTarget::read(table, name),
                host_header: table.parsed("host_header", host_header),
                wants_certificate: table.get("client_cert", |item| {
                    let is_required = item.word::<Demand>()? == Demand::Required;
                    is_required.then(|| item.positioned(()))
                }),
                request_headers: table
                    .get("request_headers", |item| item.table(fields::read))
                    .unwrap_or_default(),
                response_headers: table
                    .get("response_headers", |item| item.table(fields::read))
                    .unwrap_or_default(),
                options: table.plain(),
                timeouts: table
                    .get("timeouts", |item| {
                        item.table(DocumentTable::written_values::<RouteTimeouts>)
                    })
                    .unwrap_or_default(),
                request_body_bytes: table
                    .get("limits", |item| item.table(read_body_limit))
                    .flatten(),
                cache: table
                    .get("cache", |item| item.table(cache::read_of_route))
                    .map(Box::new),
                cookies: CookieEdits {
                    domains: cookies::read(table, "cookie_domain", cookies::domain),
                    paths: cookies::read(table, "cookie_path", cookies::path),
                },
                forwarded: table.get("forwarded", Item::flag),
                x_real_ip: table.get("x_real_ip", Item::flag),
            }
        })
    }
}

impl RouteTarget {
    fn read(table: &mut DocumentTable<'_>, name: String) -> RouteTarget {
        if table.has("pool") {
            let name = table.get("pool", |item| {
                Some(item.positioned(item.parsed(pool::pool_name)?))
            });
            table.refuse(
                "backend_addrs",
                "the route has a \"pool\" already; one of the two must go",
            );
            pool::refuse_pipelining(table);
            for key in work_keys() {
                table.refuse(key, "belongs to the pool; set it in [[pools]]");
            }
            return RouteTarget::Pool(name.unwrap_or_default());
        }
        if !table.has("backend_addrs") {
            table.lacks("needs \"pool\", the name of one of [[pools]], or \"backend_addrs\"");
        }
        let position = table.position().clone();
        let name = Positioned {
            position,
            value: name,
        };
        RouteTarget::Own(Box::new(PoolSettings::read_work(
            table,
            name,
            "backend_addrs",
        )))
    }
}

/// The name of the route that is written with this host and prefix; `None` if the host is mistaken.
pub fn name_as_written(host: Option<&str>, prefix: Option<&str>) -> Option<String> {
    let host = host.map(address::host_pattern).transpose().ok()?;
    let default = || ROUTE.setting("prefix").default_text();
    let prefix = with_right_escapes(prefix.unwrap_or_else(default));
    Some(route_name(host.as_deref(), &prefix))
}

fn route_name(host: Option<&str>, prefix: &str) -> String {
    format!("{}{prefix}", host.unwrap_or_default())
}

fn read_body_limit(table: &mut DocumentTable<'_>) -> Option<u64> {
    table.get("request_body_size", Item::size)
}

fn host_header(text: &str) -> Result<HostHeader, String> {
    match text {
        "backend" => Ok(HostHeader::Backend),
        "preserve" => Ok(HostHeader::Preserve),
        _ => address::host_field(text).map(HostHeader::Literal),
    }
}

/// A prefix whose percent-encodings have the form that they have in normal paths.
fn with_right_escapes(prefix: &str) -> String {
    let mut right = Vec::with_capacity(prefix.len());
    path::put_escapes_right(prefix.as_bytes(), &mut right);
    String::from_utf8_lossy(&right).into_owned()
}

/// A path as requests have it after normalisation, without which it would never match.
fn read_prefix(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with \"/\"".to_owned());
    }
    if text.len() > limits::PREFIX_BYTES {
        return Err(format!("must have at most {} bytes", limits::PREFIX_BYTES));
    }
    let is_path = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
    if !text.bytes().all(is_path) {
        return Err(
            "must be a path: no blanks, no \"?\" or \"#\", and other characters written as %XX"
                .to_owned(),
        );
    }
    let mut scratch = Vec::new();
    let right = with_right_escapes(text);
    match path::normalise(text.as_bytes(), &mut scratch) {
        Ok(normal) if normal == right.as_bytes() => match path::only_reading(normal) {
            Some(_) => Ok(right),
            None => Err(
                "has a slash or backslash behind a semicolon, which servers read differently"
                    .to_owned(),
            ),
        },
        Ok(normal) => {
            let normal = String::from_utf8_lossy(normal);
            Err(format!(
                "never matches, as paths are normalised first; write {normal:?}"
            ))
        }
        Err(_) => Err("never matches: requests with such a path are refused".to_owned()),
    }
}
