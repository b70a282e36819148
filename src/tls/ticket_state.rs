//! The client's certificates in the session tickets of rustls: by these certificates rustls takes a resumed client for
//! the one of the first handshake, and verifies nothing again.
//!
//! rustls keeps the form of this state to itself, so a state that does not look as expected in every byte is taken for
//! none: its ticket is worth nothing, and a full handshake is made.

use rustls::pki_types::CertificateDer;

/// The chain that a client showed in the handshake of this state, its own certificate first; empty: none. `None`: the
/// state has another form.
pub(super) fn client_chain(state: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut rest = Rest(state);
    if rest.flag()? {
        rest.counted(1)?; // The server name.
    }
    rest.bytes(4)?; // Version and cipher suite.
    rest.counted(1)?; // The secret.
    rest.flag()?; // Whether it is an extended one.
    let mut chain = Vec::new();
    if rest.flag()? {
        let mut certificates = Rest(rest.counted(3)?);
        while !certificates.0.is_empty() {
            chain.push(CertificateDer::from(certificates.counted(3)?));
        }
    }
    if rest.flag()? {
        rest.counted(1)?; // The protocol of ALPN.
    }
    rest.counted(2)?; // Nothing of ours.
    rest.bytes(8 + 4)?; // When the ticket was made, and what hides its age.
    rest.0.is_empty().then_some(chain)
}

/// The bytes of a ticket's state that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// As many bytes as the `width` bytes before them say.
    fn counted(&mut self, width: usize) -> Option<&'a [u8]> {
        let count = self.bytes(width)?.iter();
        self.bytes(count.fold(0, |count, byte| count << 8 | usize::from(*byte)))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.bytes(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rustls::server::ProducesTickets;
    use rustls::{ServerConfig, SupportedProtocolVersion, version};

    use super::super::tests::{Authority, Folder, server_settings, shake, tls_store};
    use super::super::{ClientCa, Pair, PairFiles, provider, roots};
    use super::*;

    /// Keeps what rustls puts into tickets.
    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<Vec<u8>>>);

    impl ProducesTickets for Recorder {
        fn enabled(&self) -> bool {
            true
        }

        fn lifetime(&self) -> u32 {
            60
        }

        fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
            self.0.lock().unwrap().push(plain.to_vec());
            Some(vec![1])
        }

        fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    fn client(
        versions: &[&'static SupportedProtocolVersion],
        ca: &std::path::Path,
        pair: Option<&Pair>,
        alpn: &[&str],
    ) -> Arc<rustls::ClientConfig> {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots::of_file(ca).unwrap().store);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(
                rustls::sign::SingleCertAndKey::from((*pair.certified).clone()),
            )),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A server that asks for certificates, and what it puts into tickets.
    fn server(ca: &std::path::Path, files: &PairFiles) -> (Arc<ServerConfig>, Arc<Recorder>) {
        let mut settings = server_settings(std::slice::from_ref(files));
        let (file, required) = (ca.to_owned(), false);
        settings.client_ca = Some(ClientCa { file, required });
        let mut config = (*tls_store().server(&settings).unwrap().config).clone();
        let recorder = Arc::<Recorder>::default();
        config.ticketer = recorder.clone();
        (Arc::new(config), recorder)
    }

    #[test]
    fn the_chain_is_found_in_what_rustls_writes() {
        let folder = Folder::new("state");
        let authority = Authority::new("authority");
        let ca = folder.write("ca.pem", &authority.0.pem());
        let names = ["a.example", "127.0.0.1"];
        let files = folder.pair("a", &names, &authority);
        let pair = Pair::load(&files).unwrap();
        let (server, recorder) = server(&ca, &files);
        for versions in [&[&version::TLS12], &[&version::TLS13]] {
            for pair in [None, Some(&pair)] {
                for (name, alpn) in [(names[0], &["h2"][..]), (names[1], &[])] {
                    let client = client(versions, &ca, pair, alpn);
                    shake(&server, &client, name).unwrap();
                    let states = std::mem::take(&mut *recorder.0.lock().unwrap());
                    assert!(!states.is_empty());
                    let expected = pair.map_or(&[][..], |pair| &pair.certified.cert);
                    for state in states {
                        let chain = client_chain(&state);
                        assert_eq!(chain.as_deref(), Some(expected), "{versions:?} {name}");
                        for length in 0..state.len() {
                            assert_eq!(client_chain(&state[..length]), None, "{length}");
                        }
                        assert_eq!(client_chain(&[&state[..], &[0]].concat()), None);
                    }
                }
            }
        }
    }
}
