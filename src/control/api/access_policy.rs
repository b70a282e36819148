//! The checks that every request must pass first: a `Host` that is ours (so that no foreign name can be bound to our
//! address), no foreign `Origin`, a token, and a content type that no form of another site can send.
//!
//! A form can only send three content types, and a script of another site can send others, or DELETE, only after a
//! preflight that is never answered here. So POST, PUT and PATCH must say `application/json`, with or without a body;
//! DELETE needs nothing more. The one exception is `POST /servers` from this machine by a client that is no browser.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiProblem;
use super::send_request::ApiClient;
use super::tokens::{Right, Tokens};
use crate::base::addresses::ListenAddr;
use crate::http::host;

/// The paths that may be read without a token: their content is the same in every palantir, or a single word.
const OPEN_PATHS: [&str; 5] = ["/", "/docs", "/openapi.json", "/health", "/ready"];
/// The path to which a text may be posted that changes nothing.
const TEXT_PATH: &str = "/config/check";
/// The path where JSON may come without its content type, from the command line of this machine.
const COMMAND_LINE_PATH: &str = "/servers";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const TEXT_TYPES: [&str; 2] = ["text/plain", "application/toml"];

/// Whether a path may be read without a token.
pub fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path)
}

/// The checks that every request to the management API must pass.
#[derive(Debug)]
pub struct AccessPolicy {
    /// The address that the API listens on.
    pub listen_addr: ListenAddr,
    /// The tokens in force.
    pub tokens: Tokens,
    /// Whether TLS is spoken.
    pub is_tls: bool,
    /// Whether no client is served without a certificate.
    pub wants_certificate: bool,
}

/// Lets a request pass, or answers it.
pub async fn pass(
    State(access_policy): State<Arc<AccessPolicy>>,
    mut request: Request,
    next: Next,
) -> Response {
    match access_policy.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(access_policy.identified());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Lets a request pass that says what it brings, or answers it. Only for paths and methods that there are: the content
/// type of others does not matter.
pub async fn pass_content(request: Request, next: Next) -> Response {
    let says_what = match *request.method() {
        Method::POST if is_from_command_line(&request) => Ok(()),
        Method::POST | Method::PUT | Method::PATCH => {
            check_content_type(request.uri().path(), request.headers())
        }
        _ => Ok(()),
    };
    match says_what {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether callers that may change things are identified by a token or a certificate. Otherwise any user of this
/// machine may be the caller, who must not learn what only this process may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identified(pub bool);

impl AccessPolicy {
    fn identified(&self) -> Identified {
        Identified(self.tokens.are_needed() || self.wants_certificate)
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiProblem> {
        let asked_host = self.check_host(uri, headers)?;
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if changes {
            self.check_origin(&asked_host, headers)?;
        }
        if changes || !is_open(uri.path()) {
            self.check_token(changes, headers)?;
        }
        Ok(())
    }

    /// The host with its port, as the client names it. No browser gets to a Unix socket, so there any will do; nor to
    /// TLS by a name that the certificate is not for. The port may be another one, as of a forwarded connection.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, ApiProblem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (first, second) = (hosts.next(), hosts.next());
        let asked = match (uri.authority(), first, second) {
            (_, _, Some(_)) => None,
            (Some(authority), _, None) => Some(authority.as_str()),
            (None, Some(host), None) => host.to_str().ok(),
            (None, None, None) => None,
        };
        let is_ours = |asked: &str| match &self.listen_addr {
            _ if self.is_tls => true,
            ListenAddr::Unix(_) => true,
            ListenAddr::Tcp(addr) => {
                host::split(asked.as_bytes()).is_some_and(|(name, _)| names(name, *addr))
            }
        };
        match asked {
            Some(asked) if is_ours(asked) => Ok(asked.to_owned()),
            _ => Err(ApiProblem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "Host must be localhost, a loopback address or the address that the API listens on",
            )),
        }
    }

    /// A browser names the page's origin with every request that could change something.
    fn check_origin(&self, asked_host: &str, headers: &HeaderMap) -> Result<(), ApiProblem> {
        let scheme: &[u8] = if self.is_tls { b"https://" } else { b"http://" };
        let own = |origin: &[u8]| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|host| host.eq_ignore_ascii_case(asked_host.as_bytes()))
        };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if origins.all(|origin| own(origin.as_bytes())) {
            Ok(())
        } else {
            Err(ApiProblem::new(
                StatusCode::FORBIDDEN,
                "a page of another origin may not change anything",
            ))
        }
    }

    fn check_token(&self, changes: bool, headers: &HeaderMap) -> Result<(), ApiProblem> {
        let authorization = headers.get(header::AUTHORIZATION);
        match self
            .tokens
            .right_of(authorization.map(|value| value.as_bytes()))
        {
            Right::Change => Ok(()),
            Right::Read if !changes => Ok(()),
            Right::Read => Err(ApiProblem::new(
                StatusCode::FORBIDDEN,
                "the token may only read",
            )),
            Right::Nothing => Err(ApiProblem::new(
                StatusCode::UNAUTHORIZED,
                "needs Authorization: Bearer with the token of the configured token_file",
            )),
        }
    }
}

/// Whether a host can only mean this machine's listener: a name that no other site can have.
fn names(name: &[u8], addr: SocketAddr) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let literal = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    match literal.parse::<IpAddr>() {
        // An address as host was not looked up, so nobody can have bound it to another one.
        Ok(ip) => ip.to_canonical().is_loopback() || addr.ip().is_unspecified() || ip == addr.ip(),
        Err(_) => false,
    }
}

/// Whether a request to add a server may come with curl's default content type, which is that of a form. The request
/// must come from this machine and from no browser: every browser sends the origin of a POST, and newer ones also send
/// fetch metadata.
fn is_from_command_line(request: &Request) -> bool {
    let peer = request.extensions().get::<ApiClient>();
    let is_local = peer.is_some_and(|peer| peer.is_local);
    let names_page = |name: &HeaderName| *name == header::ORIGIN || is_fetch_metadata(name);
    let headers = request.headers();
    let kind = media_type(headers);
    request.uri().path() == COMMAND_LINE_PATH
        && is_local
        && !headers.keys().any(names_page)
        && (kind.is_empty() || kind == FORM_TYPE)
}

/// Fetch Metadata Request Headers (W3C): `Sec-Fetch-Site`, `Sec-Fetch-Mode`, `Sec-Fetch-Dest`, `Sec-Fetch-User`.
fn is_fetch_metadata(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-fetch-")
}

fn check_content_type(path: &str, headers: &HeaderMap) -> Result<(), ApiProblem> {
    let kind = media_type(headers);
    let is_text = || path == TEXT_PATH && TEXT_TYPES.contains(&kind.as_str());
    if kind == "application/json" || is_text() {
        return Ok(());
    }
    Err(ApiProblem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Content-Type must be application/json, also where there is no body",
    ))
}

/// The content type in lower case, without its parameters; empty if there is none.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text.split(';').next().unwrap_or("");
    kind.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(listen: &str, tokens: Tokens, line: &str, fields: &[(&'static str, &str)]) -> u16 {
        let listen_addr = match listen.strip_prefix("unix:") {
            Some(path) => ListenAddr::Unix(path.into()),
            None => ListenAddr::Tcp(listen.parse().unwrap()),
        };
        let access_policy = AccessPolicy {
            listen_addr,
            tokens,
            is_tls: false,
            wants_certificate: false,
        };
        let (method, path) = line.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let outcome =
            access_policy.check(&method.parse().unwrap(), &path.parse().unwrap(), &headers);
        outcome.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn hosts_table() {
        let rows = [
            ("127.0.0.1:8687", "127.0.0.1:8687", 200),
            ("127.0.0.1:8687", "LocalHost", 200),
            ("127.0.0.1:8687", "localhost:9999", 200),
            ("127.0.0.1:8687", "[::1]:8687", 200),
            ("127.0.0.1:8687", "evil.example", 421),
            ("127.0.0.1:8687", "127.0.0.1.evil.example:8687", 421),
            ("127.0.0.1:8687", "192.0.2.7:8687", 421),
            ("127.0.0.1:8687", "", 421),
            ("192.0.2.7:8687", "192.0.2.7:8687", 200),
            ("192.0.2.7:8687", "192.0.2.8:8687", 421),
            ("0.0.0.0:8687", "192.0.2.8:8687", 200),
            ("0.0.0.0:8687", "evil.example:8687", 421),
            ("unix:/run/admin.sock", "whatever", 200),
        ];
        for (listen, host, status) in rows {
            let fields = [("host", host)];
            assert_eq!(
                check(listen, Tokens::default(), "GET /pools", &fields),
                status,
                "{host} at {listen}"
            );
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(
            check("127.0.0.1:8687", Tokens::default(), "GET /pools", &twice),
            421
        );
        assert_eq!(
            check("127.0.0.1:8687", Tokens::default(), "GET /pools", &[]),
            421
        );
    }

    #[test]
    fn origins_table() {
        const OWN: (&str, &str) = ("origin", "http://localhost:8687");
        type Fields = [(&'static str, &'static str)];
        let rows: [(&str, &Fields, u16); 10] = [
            ("POST /reload", &[], 200),
            ("POST /reload", &[OWN], 200),
            ("POST /reload", &[("origin", "http://evil.example")], 403),
            ("POST /reload", &[("origin", "http://localhost:8080")], 403),
            ("POST /reload", &[("origin", "https://localhost:8687")], 403),
            ("POST /reload", &[("origin", "null")], 403),
            ("POST /reload", &[OWN, ("origin", "null")], 403),
            ("GET /pools", &[("origin", "http://evil.example")], 200),
            ("DELETE /servers/a/1", &[], 200),
            ("DELETE /servers/a/1", &[("origin", "null")], 403),
        ];
        for (line, fields, status) in rows {
            let fields = [&[("host", "localhost:8687")], fields].concat();
            assert_eq!(
                check("127.0.0.1:8687", Tokens::default(), line, &fields),
                status,
                "{line} {fields:?}"
            );
        }
    }

    #[test]
    fn tls_proves_the_name_and_changes_the_origin() {
        let access_policy = AccessPolicy {
            listen_addr: ListenAddr::Tcp(([127, 0, 0, 1], 8687).into()),
            tokens: Tokens::default(),
            is_tls: true,
            wants_certificate: false,
        };
        let rows = [
            ("https://admin.example", true),
            ("http://admin.example", false),
            ("https://evil.example", false),
        ];
        for (origin, passes) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("admin.example"));
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            let outcome =
                access_policy.check(&Method::POST, &Uri::from_static("/reload"), &headers);
            assert_eq!(outcome.is_ok(), passes, "{origin}");
        }
    }

    #[test]
    fn content_types_table() {
        let rows = [
            ("/reload", "application/json", true),
            ("/reload", "Application/JSON; charset=utf-8", true),
            ("/reload", "", false),
            ("/reload", "text/plain", false),
            ("/reload", "application/x-www-form-urlencoded", false),
            (
                "/reload",
                "multipart/form-data; boundary=application/json",
                false,
            ),
            ("/config/check", "text/plain", true),
            ("/config/check", "application/toml", true),
            ("/config/check", "application/json", true),
            ("/config/check", "multipart/form-data", false),
            ("/config/check", "", false),
        ];
        for (path, kind, passes) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            let checked = check_content_type(path, &headers);
            assert_eq!(checked.is_ok(), passes, "{kind} at {path}");
        }
        assert!(check_content_type("/reload", &HeaderMap::new()).is_err());
    }

    #[test]
    fn forms_table() {
        type Fields = [(&'static str, &'static str)];
        const FORM: (&str, &str) = ("content-type", FORM_TYPE);
        let rows: [(&str, Option<bool>, &Fields, bool); 9] = [
            ("/servers", Some(true), &[FORM], true),
            ("/servers", Some(true), &[], true),
            (
                "/servers",
                Some(true),
                &[("content-type", "text/plain")],
                false,
            ),
            ("/servers", Some(false), &[FORM], false),
            ("/servers", None, &[FORM], false),
            (
                "/servers",
                Some(true),
                &[FORM, ("origin", "http://localhost:8687")],
                false,
            ),
            ("/servers", Some(true), &[FORM, ("origin", "null")], false),
            (
                "/servers",
                Some(true),
                &[FORM, ("sec-fetch-site", "none")],
                false,
            ),
            ("/reload", Some(true), &[FORM], false),
        ];
        for (path, is_local, fields, passes) in rows {
            let mut request = Request::post(path);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            if let Some(is_local) = is_local {
                let name = "test".to_owned();
                request
                    .extensions_mut()
                    .insert(ApiClient { name, is_local });
            }
            assert_eq!(
                is_from_command_line(&request),
                passes,
                "{path} {is_local:?} {fields:?}"
            );
        }
    }

    #[test]
    fn tokens_table() {
        let rows = [
            ("GET /pools", "", 401),
            ("GET /pools", "Bearer reads-reads", 200),
            ("GET /pools", "Bearer changes-changes", 200),
            ("DELETE /pools/a", "", 401),
            ("DELETE /pools/a", "Bearer reads-reads", 403),
            ("DELETE /pools/a", "Bearer changes-changes", 200),
            ("GET /health", "", 200),
            ("GET /", "", 200),
            ("POST /health", "", 401),
            ("GET /metrics", "", 401),
            ("GET /events", "Bearer wrong", 401),
        ];
        for (line, authorization, status) in rows {
            let tokens = Tokens::of(Some("changes-changes"), Some("reads-reads"));
            let fields = [("host", "localhost"), ("authorization", authorization)];
            let got = check("127.0.0.1:8687", tokens, line, &fields);
            assert_eq!(got, status, "{line} {authorization}");
        }
    }
}
