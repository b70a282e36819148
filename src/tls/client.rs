//! TLS with backends: rustls' settings for one pool.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error, version};

use super::server_trust::{AnyServer, Roots, ServerTrust};
use super::{Alpn, Pair, PairFiles, provider};
use crate::base::limits;

/// TLS of one pool, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsClientSettings {
    /// Whom to believe; `None`: the authorities of this machine.
    pub ca: Option<PathBuf>,
    /// The certificate and key that palantir shows to a backend that asks for them.
    pub pair: Option<PairFiles>,
    /// Whether a backend must prove who it is.
    pub verify: bool,
    /// The application protocol that is offered to backends.
    pub alpn: Alpn,
}

/// Builds them; without `roots`, backends are not verified. Errors: rustls does not take them together.
pub(super) fn build(
    settings: &TlsClientSettings,
    pair: Option<&Pair>,
    roots: Option<Arc<Roots>>,
) -> Result<ClientConfig, Error> {
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Some(roots) => Arc::new(ServerTrust::new(roots)?),
        None => Arc::new(AnyServer(provider())),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match pair {
        Some(pair) => {
            let certified = SingleCertAndKey::from(pair.certified.clone());
            builder.with_client_cert_resolver(Arc::new(certified))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![settings.alpn.wire().to_vec()];
    config.resumption = Resumption::in_memory_sessions(limits::RESUMABLE_BACKENDS);
    Ok(config)
}
