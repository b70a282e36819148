//! The wishes of a client in its first message (RFC 8446 section 4.1.2). rustls tells them to the code that chooses the
//! certificate, once per message and to nobody else; so each handshake has the choice made through a [`Hearing`] of its
//! own, which remembers it. There is no second reader of the message who could read another name.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Alpn;

/// Stands between rustls and the resolver of a configuration, for one handshake.
#[derive(Debug)]
pub struct Hearing {
    resolver: Arc<dyn ResolvesServerCert>,
    /// Whether HTTP/1.1 is not spoken, which is what a client without ALPN would speak.
    needs_alpn: bool,
    heard: Mutex<Heard>,
}

/// The wishes of a client in its first message, and the certificate that was chosen for them.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The server name that was asked for (RFC 6066 section 3).
    pub server_name: Option<Box<str>>,
    /// The certificate that is shown to the client; `None`: the handshake ends instead.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// Whether there is no certificate because the client offers no protocol where it must.
    pub lacks_alpn: bool,
}

impl Hearing {
    /// The configuration for one handshake, and what will be heard in it.
    pub fn of(config: &ServerConfig) -> (Arc<ServerConfig>, Arc<Hearing>) {
        let spoken = &config.alpn_protocols;
        let hearing = Arc::new(Hearing {
            resolver: config.cert_resolver.clone(),
            needs_alpn: !spoken.is_empty() && !spoken.iter().any(|name| name == Alpn::Http1.wire()),
            heard: Mutex::default(),
        });
        let mut config = config.clone();
        config.cert_resolver = hearing.clone();
        (Arc::new(config), hearing)
    }

    /// The wishes of the client, as far as its first message was read.
    pub fn heard(&self) -> Heard {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Hearing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let server_name = hello.server_name().map(Box::from);
        let lacks_alpn = self.needs_alpn && hello.alpn().is_none();
        let certificate = if lacks_alpn {
            None
        } else {
            self.resolver.resolve(hello)
        };
        let heard = Heard {
            server_name,
            certificate: certificate.clone(),
            lacks_alpn,
        };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        certificate
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }
}
