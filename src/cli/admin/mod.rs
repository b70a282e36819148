//! A small client of the management API, for the commands that speak to a running palantir.

mod reach;
mod target;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::reach::Reach;
use self::target::AdminTarget;
use crate::base::limits;
use crate::tls::TlsStore;

/// Why a running palantir did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AdminError {
    /// The running palantir does not answer, or its address is not known.
    Unreachable(String),
    /// The running palantir refused: one sentence, or one line per mistake.
    Refused(Vec<String>),
}

impl AdminError {
    /// 3: nobody there; 1: refused. Scripts can tell the one from the other.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            AdminError::Unreachable(_) => ExitCode::from(3),
            AdminError::Refused(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminError::Unreachable(text) => f.write_str(text),
            AdminError::Refused(lines) => f.write_str(&lines.join("\n")),
        }
    }
}

/// Speaks to one palantir; a connection per request.
pub(super) struct AdminClient {
    target: AdminTarget,
}

impl AdminClient {
    /// A client of the palantir that the environment or the configuration names. Errors: neither tells where it is.
    pub fn find(config: &Path) -> Result<AdminClient, AdminError> {
        let target = target::find(config).map_err(AdminError::Unreachable)?;
        Ok(AdminClient { target })
    }

    /// The JSON of `path`.
    pub async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for a change; the JSON of the answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminError> {
        let request = self.request(method, path, body);
        let (status, bytes) = match &self.target.addr {
            Reach::Tcp { host, port } => {
                let stream = self.in_time(TcpStream::connect((&**host, *port))).await?;
                self.speak(Box::new(stream), request).await?
            }
            Reach::Unix(path) => {
                let stream = self.in_time(UnixStream::connect(path)).await?;
                self.speak(Box::new(stream), request).await?
            }
        };
        if status.is_success() {
            let not_json =
                |error| AdminError::Refused(vec![format!("the answer is not JSON: {error}")]);
            return serde_json::from_slice(&bytes).map_err(not_json);
        }
        Err(self.refusal(status, &bytes))
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
        let host = match &self.target.addr {
            Reach::Unix(_) => "localhost".to_owned(),
            addr => addr.to_string(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.target.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(bytes))
            .expect("paths are our own and tokens were checked")
    }

    async fn in_time<S>(
        &self,
        connect: impl Future<Output = std::io::Result<S>>,
    ) -> Result<S, AdminError> {
        let patience = Duration::from_millis(limits::ADMIN_CONNECT_MILLIS);
        match timeout(patience, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&"the management API does not accept connections")),
        }
    }

    /// Asks, over TLS if that is spoken there.
    async fn speak(
        &self,
        stream: Box<dyn Connected>,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let Some(tls) = &self.target.tls else {
            return self.exchange(stream, request).await;
        };
        // A connection per request, so there is nothing to resume.
        let config = TlsStore::default().client("admin", &tls.settings);
        let config = config.map_err(|fault| AdminError::Unreachable(fault.text))?;
        let connector = TlsConnector::from(config);
        let handshake = connector.connect(tls.name.clone(), stream);
        let stream = self.in_time(handshake).await?;
        self.exchange(Box::new(stream), request).await
    }

    async fn exchange(
        &self,
        stream: Box<dyn Connected>,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // The task that drives the connection ends when the sender is dropped.
            tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limits::ADMIN_ANSWER_BYTES);
            let bytes = body.collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, bytes))
        };
        match timeout(Duration::from_secs(limits::ADMIN_ANSWER_SECS), exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&"the management API does not answer")),
        }
    }

    fn unreachable(&self, why: &dyn fmt::Display) -> AdminError {
        let addr = &self.target.addr;
        AdminError::Unreachable(format!("no palantir at {addr}: {why}"))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> AdminError {
        let mut lines =
            lines_of_problem(body).unwrap_or_else(|| vec![format!("palantir answered {status}")]);
        if status == StatusCode::UNAUTHORIZED {
            lines.push(match &self.target.token {
                Some(_) => "the token is not the one that it wants".to_owned(),
                None => "no token was sent: $PALANTIR_TOKEN holds one, or the file that admin.token_file names".to_owned(),
            });
        }
        AdminError::Refused(lines)
    }
}

/// A connection of whatever kind. One type for all kinds has hyper compiled once instead of once for each kind.
trait Connected: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connected for S {}

/// Every mistake that an `application/problem+json` (RFC 9457) lists, else its sentence.
fn lines_of_problem(body: &[u8]) -> Option<Vec<String>> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
    let line = |error: &Value| {
        let detail = text(error, "detail")?;
        // A mistake in a file names its field itself, with line and column.
        match text(error, "field").filter(|field| !detail.contains(field.as_str())) {
            Some(field) => Some(format!("{field}: {detail}")),
            None => Some(detail),
        }
    };
    let errors = problem.get("errors").and_then(Value::as_array);
    let lines: Vec<String> = errors.into_iter().flatten().filter_map(line).collect();
    if !lines.is_empty() {
        return Some(lines);
    }
    let sentence = text(&problem, "detail").or_else(|| text(&problem, "title"))?;
    Some(vec![sentence])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_whole() {
        let rows: [(&str, Option<&[&str]>); 7] = [
            (
                r#"{"title":"Conflict","detail":"in use"}"#,
                Some(&["in use"]),
            ),
            (r#"{"title":"Conflict"}"#, Some(&["Conflict"])),
            (
                r#"{"detail":"two","errors":[{"field":"weight","detail":"too large"},{"field":"","detail":"no"}]}"#,
                Some(&["weight: too large", "no"]),
            ),
            (
                r#"{"detail":"one","errors":[{"field":"a.b","detail":"c.toml:1:2: a.b = 0: too small"}]}"#,
                Some(&["c.toml:1:2: a.b = 0: too small"]),
            ),
            (r#"{"detail":"none","errors":[]}"#, Some(&["none"])),
            ("[]", None),
            ("<html>", None),
        ];
        for (body, expected) in rows {
            let lines = lines_of_problem(body.as_bytes());
            let expected = expected.map(|lines| lines.iter().map(ToString::to_string).collect());
            assert_eq!(lines, expected, "{body}");
        }
    }
}
