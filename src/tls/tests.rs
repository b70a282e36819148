//! Handshakes in memory, with certificates made for the occasion.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use super::*;
use crate::base::limits;

/// A folder of its own for one test, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("palantir-tls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A pair for these names, issued by `issuer`.
    pub(super) fn pair(&self, name: &str, names: &[&str], issuer: &Authority) -> PairFiles {
        let (cert, key) = issuer.issue(names, |_| {});
        PairFiles {
            cert: self.write(&format!("{name}.crt"), &cert),
            key: self.write(&format!("{name}.key"), &key),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Authority(pub(super) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Certificate and key as PEM.
    fn issue(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        let subject = names.first().map_or("nobody", String::as_str);
        params.distinguished_name = Default::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Palantir, Inc.");
        params.distinguished_name.push(DnType::CommonName, subject);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A pair for these names.
pub(super) fn pair(names: &[&str]) -> Arc<Pair> {
    let folder = Folder::new(&format!("{:?}", std::thread::current().id()));
    let files = folder.pair("a", names, &Authority::new("authority"));
    Arc::new(Pair::load(&files).unwrap())
}

pub(super) fn server_settings(pairs: &[PairFiles]) -> TlsServerSettings {
    TlsServerSettings {
        pairs: pairs.to_vec(),
        automatic: Vec::new(),
        answers_challenges: false,
        min_version: MinVersion::Tls12,
        alpn: vec![Alpn::H2, Alpn::Http1],
        client_ca: None,
        tickets: true,
        refuse_unknown: false,
    }
}

pub(super) fn client_settings(ca: &Path) -> TlsClientSettings {
    TlsClientSettings {
        ca: Some(ca.to_owned()),
        pair: None,
        verify: true,
        alpn: Alpn::Http1,
    }
}

pub(super) fn tls_store() -> TlsStore {
    TlsStore::new(TicketKeys::open(None, SystemTime::now()).unwrap())
}

/// Both ends of a connection after their handshake. Errors: why there is none, as the end says that found out.
pub(super) fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<rustls::ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server
            .process_new_packets()
            .map_err(|error| format!("server: {error}"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client
            .process_new_packets()
            .map_err(|error| format!("client: {error}"))?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((server, client))
}

#[test]
fn a_verified_connection_with_the_protocol_that_both_speak() {
    let folder = Folder::new("verified");
    let authority = Authority::new("authority");
    let ca = folder.write("ca.pem", &authority.0.pem());
    let files = folder.pair("a", &["a.example", "*.b.example"], &authority);
    let mut tls_store = tls_store();
    let server = tls_store.server(&server_settings(&[files])).unwrap().config;
    let client = tls_store.client("api", &client_settings(&ca)).unwrap();
    let (one, _) = shake(&server, &client, "x.b.example").unwrap();
    assert_eq!(one.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(
        one.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let error = shake(&server, &client, "c.example").unwrap_err();
    assert!(
        error.contains("NotValidForName") || error.contains("not valid for name"),
        "{error}"
    );
    let other = folder.write("other.pem", &Authority::new("other").0.pem());
    let stranger = tls_store.client("api", &client_settings(&other)).unwrap();
    let error = shake(&server, &stranger, "a.example").unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let lax = TlsClientSettings {
        verify: false,
        alpn: Alpn::H2,
        ca: None,
        pair: None,
    };
    let lax = tls_store.client("api", &lax).unwrap();
    let (one, _) = shake(&server, &lax, "c.example").unwrap();
    assert_eq!(one.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn an_unknown_name_is_refused_where_the_settings_say_so() {
    let folder = Folder::new("unknown");
    let authority = Authority::new("authority");
    let files = folder.pair("a", &["a.example"], &authority);
    let mut settings = server_settings(&[files]);
    settings.refuse_unknown = true;
    let mut tls_store = tls_store();
    let server = tls_store.server(&settings).unwrap().config;
    let ca = folder.write("ca.pem", &authority.0.pem());
    let client = tls_store.client("api", &client_settings(&ca)).unwrap();
    assert!(shake(&server, &client, "a.example").is_ok());
    for name in ["b.example", "127.0.0.1"] {
        let error = shake(&server, &client, name).unwrap_err();
        assert!(error.contains("no server certificate"), "{error}");
    }
}

#[test]
fn an_authority_that_asks_for_a_name_is_shown_what_was_made_for_it() {
    let folder = Folder::new("challenge");
    let authority = Authority::new("authority");
    let files = folder.pair("a", &["a.example"], &authority);
    let mut settings = server_settings(&[files]);
    let mut tls_store = tls_store();
    let without = tls_store.server(&settings).unwrap().config;
    settings.answers_challenges = true;
    let server = tls_store.server(&settings).unwrap().config;
    let offering = |tls_store: &mut TlsStore, alpn: &[&[u8]]| {
        let lax = TlsClientSettings {
            verify: false,
            alpn: Alpn::H2,
            ca: None,
            pair: None,
        };
        let mut client = tls_store.client("api", &lax).unwrap();
        let protocols = alpn.iter().map(|name| name.to_vec());
        Arc::make_mut(&mut client).alpn_protocols = protocols.collect();
        client
    };
    let asking = offering(&mut tls_store, &[ACME_TLS]);
    let shown = |server, client, name| {
        let (_, client) = shake(server, client, name)?;
        let shown = client.peer_certificates().unwrap()[0].clone();
        let alpn = client.alpn_protocol().map(<[u8]>::to_vec);
        Ok::<_, String>((certificate::read(&shown).unwrap().subject, alpn))
    };
    assert!(shown(&without, &asking, "a.example").is_err());
    assert!(
        shown(&server, &asking, "a.example").is_err(),
        "nobody waits for it"
    );
    let open = tls_store.challenges().show("a.example", &[1; 32]).unwrap();
    // The extension is critical: only an authority knows what it means, and a client that does not ends the handshake.
    let error = shown(&server, &asking, "a.example").unwrap_err();
    assert!(error.contains("UnsupportedCriticalExtension"), "{error}");
    for name in ["b.example", "127.0.0.1"] {
        let error = shown(&server, &asking, name).unwrap_err();
        assert!(error.contains("no server certificate"), "{error}");
    }
    // Everybody else is shown what they always were.
    let both = offering(&mut tls_store, &[ACME_TLS, b"http/1.1"]);
    let none = offering(&mut tls_store, &[]);
    let (subject, alpn) = shown(&server, &both, "a.example").unwrap();
    assert!(!subject.is_empty());
    assert_eq!(alpn, Some(b"http/1.1".to_vec()));
    assert_eq!(shown(&server, &none, "a.example"), Ok((subject, None)));
    drop(open);
    assert!(shown(&server, &asking, "a.example").is_err());
}

#[test]
fn a_connection_is_resumed_by_another_process_but_not_where_clients_are_vouched_for() {
    let folder = Folder::new("resumed");
    let authority = Authority::new("authority");
    let ca = folder.write("ca.pem", &authority.0.pem());
    let files = folder.pair("a", &["a.example"], &authority);
    for min_version in [MinVersion::Tls13, MinVersion::Tls12] {
        let keys = folder.0.join(format!("keys-{min_version:?}"));
        let keys = || TicketKeys::open(Some(keys.clone()), SystemTime::now()).unwrap();
        let settings = server_settings(std::slice::from_ref(&files));
        let mut tls_store = TlsStore::new(keys());
        let first = tls_store.server(&settings).unwrap().config;
        let mut client = tls_store.client("api", &client_settings(&ca)).unwrap();
        if min_version == MinVersion::Tls12 {
            client = Arc::new(only_tls12(&client, &ca));
        }
        let kind = |server: &Arc<ServerConfig>| {
            let (server, _) = shake(server, &client, "a.example").unwrap();
            server.handshake_kind().unwrap()
        };
        assert_ne!(kind(&first), HandshakeKind::Resumed);
        assert_eq!(kind(&first), HandshakeKind::Resumed);
        let second = TlsStore::new(keys()).server(&settings).unwrap().config;
        assert_eq!(kind(&second), HandshakeKind::Resumed, "{min_version:?}");
        let mut vouched = settings.clone();
        vouched.client_ca = Some(ClientCa {
            file: ca.clone(),
            required: false,
        });
        let vouched = TlsStore::new(keys()).server(&vouched).unwrap().config;
        assert_ne!(kind(&vouched), HandshakeKind::Resumed, "{min_version:?}");
        let mut without = settings.clone();
        without.tickets = false;
        let without = TlsStore::new(keys()).server(&without).unwrap().config;
        assert_ne!(kind(&without), HandshakeKind::Resumed, "{min_version:?}");
        assert_ne!(kind(&without), HandshakeKind::Resumed, "{min_version:?}");
    }
}

/// A copy of `config` that speaks TLS 1.2 alone.
pub(super) fn only_tls12(config: &rustls::ClientConfig, ca: &Path) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in pem::certificates(ca).unwrap() {
        roots.add(certificate).unwrap();
    }
    let mut tls12 = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls12.alpn_protocols.clone_from(&config.alpn_protocols);
    tls12
}

#[test]
fn clients_are_known_by_their_certificates() {
    let folder = Folder::new("mutual");
    let authority = Authority::new("authority");
    let ca = folder.write("ca.pem", &authority.0.pem());
    let server_files = folder.pair("server", &["a.example"], &authority);
    let client_files = folder.pair("client", &["client"], &authority);
    let mut settings = server_settings(&[server_files]);
    let mut anonymous = client_settings(&ca);
    anonymous.pair = None;
    let mut known = client_settings(&ca);
    known.pair = Some(client_files);
    let mut tls_store = tls_store();
    let anonymous = tls_store.client("api", &anonymous).unwrap();
    let known = tls_store.client("api", &known).unwrap();
    for required in [true, false] {
        settings.client_ca = Some(ClientCa {
            file: ca.clone(),
            required,
        });
        let server = tls_store.server(&settings).unwrap().config;
        let (server_end, _) = shake(&server, &known, "a.example").unwrap();
        let certificates: &[CertificateDer<'_>] = server_end.peer_certificates().unwrap();
        let subject = subject(&certificates[0]).unwrap();
        assert_eq!(subject, "CN=client,O=Palantir\\, Inc.");
        assert_eq!(shake(&server, &anonymous, "a.example").is_ok(), !required);
    }
}

#[test]
fn what_did_not_change_is_the_same_thing_and_what_broke_stays() {
    let folder = Folder::new("kept");
    let authority = Authority::new("authority");
    let ca = folder.write("ca.pem", &authority.0.pem());
    let files = folder.pair("a", &["a.example"], &authority);
    let settings = server_settings(std::slice::from_ref(&files));
    let mut tls_store = tls_store();
    let client = tls_store.client("api", &client_settings(&ca)).unwrap();
    let first = tls_store.server(&settings).unwrap();
    tls_store.begin(1, 1);
    assert!(Arc::ptr_eq(
        &tls_store.server(&settings).unwrap().config,
        &first.config
    ));
    let again = tls_store.client("api", &client_settings(&ca)).unwrap();
    assert!(Arc::ptr_eq(&again, &client));
    // The certificate is there already, its key is not yet.
    let (cert, key) = authority.issue(&["a.example", "b.example"], |_| {});
    fs::write(&files.cert, cert).unwrap();
    let same = tls_store.server(&settings).unwrap();
    assert!(Arc::ptr_eq(&same.config, &first.config));
    assert_eq!(same.pairs[0].names, ["a.example"]);
    fs::write(&files.key, key).unwrap();
    let renewed = tls_store.server(&settings).unwrap();
    assert!(!Arc::ptr_eq(&renewed.config, &first.config));
    assert_eq!(renewed.pairs[0].names, ["a.example", "b.example"]);
    fs::remove_file(&files.key).unwrap();
    assert!(tls_store.server(&settings).is_ok());
    let revisions = limits::REVISIONS as u64;
    tls_store.begin(2, 1 + revisions);
    tls_store.begin(3, 1 + 2 * revisions);
    let error = tls_store.server(&settings).unwrap_err();
    assert!(
        error.text.contains("a.key cannot be read: No such file"),
        "{error}"
    );
}

/// A revision in force and those that can be gone back to keep their certificates, whatever becomes of later changes. A
/// change that was refused leaves nothing behind.
#[test]
fn a_refused_change_takes_nothing_away_and_leaves_nothing_behind() {
    let folder = Folder::new("refused");
    let authority = Authority::new("authority");
    let files = ["old", "new"].map(|name| folder.pair(name, &["a.example"], &authority));
    let settings = files
        .each_ref()
        .map(|files| server_settings(std::slice::from_ref(files)));
    let [old, new] = &settings;
    let mut tls_store = tls_store();
    tls_store.begin(1, 1);
    let in_force = tls_store.server(old).unwrap().config;
    let remove = |files: &PairFiles| fs::remove_file(&files.cert).unwrap();
    remove(&files[0]);
    // Generation 2 is compiled, refused, and compiled again.
    tls_store.begin(2, 1);
    assert!(tls_store.server(new).is_ok());
    assert!(!tls_store.files().have_changed());
    tls_store.begin(2, 1);
    assert!(Arc::ptr_eq(
        &tls_store.server(old).unwrap().config,
        &in_force
    ));
    tls_store.begin(2, 1);
    assert!(tls_store.server(new).is_ok());
    // Generation 2 is in force as revision 2. Revision 1 can be gone back to.
    tls_store.begin(3, 2);
    assert!(tls_store.server(old).is_ok());
    remove(&files[1]);
    tls_store.begin(3, 2);
    assert!(tls_store.server(new).is_ok());
    // No revision that is left has needed the old pair.
    tls_store.begin(4, 3);
    assert!(tls_store.server(new).is_ok());
    tls_store.begin(5, 1 + limits::REVISIONS as u64);
    assert!(tls_store.server(old).is_err());
    assert!(tls_store.server(new).is_ok());
}

#[test]
fn a_pair_of_a_refused_change_is_forgotten() {
    let folder = Folder::new("forgotten");
    let authority = Authority::new("authority");
    let files = folder.pair("a", &["a.example"], &authority);
    let settings = server_settings(std::slice::from_ref(&files));
    let mut tls_store = tls_store();
    tls_store.begin(1, 1);
    tls_store.begin(2, 1);
    assert!(tls_store.server(&settings).is_ok());
    fs::remove_file(&files.cert).unwrap();
    tls_store.begin(2, 1);
    assert!(tls_store.server(&settings).is_err());
}

#[test]
fn pairs_that_cannot_work_table() {
    let folder = Folder::new("broken");
    let authority = Authority::new("authority");
    let (cert, key) = authority.issue(&["a.example"], |_| {});
    let (other_cert, other_key) = authority.issue(&["b.example"], |_| {});
    let ca = authority.0.pem();
    let both = |one: &str, two: &str| format!("{one}{two}");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let bad_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let rows: [(String, &str, Part, &str); 10] = [
        (String::new(), &key, Part::Cert, "holds no certificate"),
        (key.clone(), &key, Part::Cert, "holds no certificate"),
        (bad_der.to_owned(), &key, Part::Cert, "is no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAA".to_owned(),
            &key,
            Part::Cert,
            "is not PEM",
        ),
        (
            both(&cert, &other_cert),
            &key,
            Part::Cert,
            "is no chain: certificate 2",
        ),
        (ca.repeat(11), &key, Part::Cert, "holds 11 certificates"),
        (
            cert.clone(),
            &other_key,
            Part::Key,
            "is not the key of the certificate",
        ),
        (cert.clone(), "", Part::Key, "holds no private key"),
        (cert.clone(), encrypted, Part::Key, "holds an encrypted key"),
        (cert.clone(), bad_key, Part::Key, "cannot be used"),
    ];
    for (cert, key, part, expected) in rows {
        let files = PairFiles {
            cert: folder.write("x.crt", &cert),
            key: folder.write("x.key", key),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        };
        let fault = Pair::load(&files).unwrap_err();
        assert_eq!(fault.part, part, "{fault}");
        assert!(fault.text.starts_with(expected), "{fault}");
    }
    let mut files = PairFiles {
        cert: folder.write("x.crt", &both(&cert, &ca)),
        key: folder.write("x.key", &both(&ca, &key)),
        ocsp: Some(folder.write("x.ocsp", "no")),
        names: vec!["c.example".to_owned()],
        must_be_for: None,
    };
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(
        (fault.part, fault.text.as_str()),
        (Part::Ocsp, "is no OCSP response (DER)")
    );
    let response = folder.0.join("x.ocsp");
    fs::write(&response, [0x30, 0x03, 0x0a, 0x01, 0x06]).unwrap();
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(fault.text, "is an OCSP response with the error status 6");
    let whole = ocsp::tests::response(&[Some("20300101000000Z")], false);
    fs::write(&response, &whole).unwrap();
    let pair = Pair::load(&files).unwrap();
    assert_eq!(pair.names, ["c.example"]);
    assert_eq!(pair.certified.ocsp, Some(whole));
    let end = 1_893_456_000;
    assert_eq!(pair.shown_at(end - 1).ocsp, pair.certified.ocsp);
    assert_eq!(pair.shown_at(end).ocsp, None, "it is superseded");
    assert!(pair.is_shown_as(pair.shown_at(end)) && pair.is_shown_as(pair.shown_at(0)));
    let told = pair.warnings(end);
    assert!(
        told.iter()
            .any(|(part, text)| *part == Part::Ocsp && text.contains("superseded"))
    );
    files.must_be_for = Some("c.example".to_owned());
    assert!(Pair::load(&files).is_ok());
    files.must_be_for = Some("d.example".to_owned());
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(fault.text, "is for other names: c.example");
    files.must_be_for = None;
    files.ocsp = Some(PathBuf::from("/nowhere"));
    let text = Pair::load(&files).unwrap_err().to_string();
    assert!(
        text.starts_with("/nowhere cannot be read: No such file"),
        "{text}"
    );
}

#[test]
fn warnings_table() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("warnings");
    let authority = Authority::new("authority");
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let rows: [(SystemTime, SystemTime, &[&str]); 5] = [
        (now - day, now + 15 * day, &[]),
        (now - day, now + 14 * day - day / 2, &["expires in 13 days"]),
        (now - day, now + day / 2, &["expires in 0 days"]),
        (now - 9 * day, now - 2 * day, &["has expired 2 days ago"]),
        (
            now + day / 2,
            now + 90 * day,
            &["is not valid yet; its time begins within 1 days"],
        ),
    ];
    for (from, to, expected) in rows {
        let (cert, key) = authority.issue(&["a.example"], |params| {
            params.not_before = from.into();
            params.not_after = to.into();
        });
        let files = PairFiles {
            cert: folder.write("a.crt", &cert),
            key: folder.write("a.key", &key),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        };
        let set_mode = |mode| {
            fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        };
        set_mode(0o600);
        let warned = || Pair::load(&files).unwrap().warnings(unix_secs(now));
        let texts: Vec<String> = warned().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
        set_mode(0o644);
        assert_eq!(warned().last().map(|(part, _)| *part), Some(Part::Key));
    }
}

#[test]
fn keys_of_every_form_are_read() {
    use base64::Engine;
    // A PKCS#8 key is another form's with a header in front.
    let rows = [
        ("PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256, 0),
        ("EC PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256, 29),
        ("RSA PRIVATE KEY", &rcgen::PKCS_RSA_SHA256, 26),
    ];
    for (label, kind, header) in rows {
        let der = KeyPair::generate_for(kind).unwrap().serialize_der();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der[header..]);
        let text = format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n");
        let key = pem::private_key(text.as_bytes()).unwrap();
        let loaded = provider().key_provider.load_private_key(key);
        assert!(loaded.is_ok(), "{label}: {loaded:?}");
    }
}
