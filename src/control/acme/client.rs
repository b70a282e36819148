//! The HTTPS client for an authority: one connection for each request. A certificate needs a dozen requests, and is
//! renewed after weeks.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::base::limits;
use crate::base::quantity::show_time;

type AnyError = Box<dyn StdError + Send + Sync>;

/// Speaks to authorities that these settings believe.
pub struct AcmeClient(pub Arc<ClientConfig>);

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = TlsConnector::from(self.0.clone());
        Box::pin(async move {
            let most = Duration::from_secs(limits::ACME_REQUEST_SECS);
            let host = request.uri().host().unwrap_or_default().to_owned();
            match timeout(most, exchange(tls, request)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(why)) => Err(Error::Other(format!("{host}: {why}").into())),
                Err(_) => Err(Error::Other(
                    format!("{host}: no answer within {}", show_time(most)).into(),
                )),
            }
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, AnyError> {
    let uri = std::mem::take(request.uri_mut());
    let authority = uri
        .authority()
        .filter(|_| uri.scheme_str() == Some("https"));
    let authority = authority.ok_or("the URL is not one of HTTPS (RFC 8555 section 6.1)")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TokioIo::new(tls.connect(name, stream).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path.parse::<Uri>()?;
    let field = HeaderValue::from_str(authority.as_str())?;
    request.headers_mut().insert(HOST, field);
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, limits::ACME_ANSWER_BYTES)
            .collect()
            .await?;
        let body = Box::new(body.to_bytes());
        Ok(BytesResponse { parts, body })
    };
    tokio::pin!(answer);
    // The connection ends by itself at the earliest with the answer, and is dropped with it at the latest.
    tokio::select! {
        answer = &mut answer => answer,
        _ended = connection => answer.await,
    }
}
