//! TLS with clients: rustls' settings for one listener.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::resolver::Resolver;
use super::{
    ACME_TLS, Alpn, Challenges, ClientTrust, MinVersion, Pair, PairFiles, TicketKeys, provider,
};

/// TLS of one listener, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsServerSettings {
    /// The first is the default.
    pub pairs: Vec<PairFiles>,
    /// The pairs that palantir itself orders, behind the others; each may not be there yet. At least one pair, of
    /// either kind.
    pub automatic: Vec<PairFiles>,
    /// Whether authorities are answered that ask in a handshake whether a name is ours (RFC 8737).
    pub answers_challenges: bool,
    /// The lowest version that is spoken.
    pub min_version: MinVersion,
    /// The protocols that the listener offers by ALPN, the preferred one first.
    pub alpn: Vec<Alpn>,
    /// The authority whose clients are believed; `None`: clients are not asked for a certificate.
    pub client_ca: Option<ClientCa>,
    /// Whether connections can be resumed.
    pub tickets: bool,
    /// Whether a handshake for a name that no certificate is for ends, and one without a name.
    pub refuse_unknown: bool,
}

/// Clients with certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCa {
    /// The authorities.
    pub file: PathBuf,
    /// Whether a handshake without a certificate fails.
    pub required: bool,
}

/// Builds them. Errors: rustls does not take them together.
pub(super) fn build(
    settings: &TlsServerSettings,
    pairs: &[Arc<Pair>],
    trust: Option<&ClientTrust>,
    keys: &Arc<TicketKeys>,
    challenges: &Arc<Challenges>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(settings.min_version))?;
    let builder = match trust {
        Some(trust) => builder.with_client_cert_verifier(trust.verifier()),
        None => builder.with_no_client_auth(),
    };
    let challenges = settings.answers_challenges.then(|| challenges.clone());
    let is_answering = challenges.is_some();
    let resolver = Resolver::new(pairs, settings.refuse_unknown, challenges);
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    let alpn = settings.alpn.iter();
    config.alpn_protocols = alpn.map(|alpn| alpn.wire().to_vec()).collect();
    if is_answering {
        // Last, so that nobody gets it who offers anything else.
        config.alpn_protocols.push(ACME_TLS.to_vec());
    }
    // The state of a connection is in its ticket alone: another core, or the next process, can resume the connection
    // just as well.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if settings.tickets {
        config.ticketer = Arc::new(keys.for_clients(trust))
    } else {
        config.send_tls13_tickets = 0
    }
    Ok(config)
}

fn versions(least: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match least {
        MinVersion::Tls12 => &ALL,
        MinVersion::Tls13 => &ALL[..1],
    }
}
