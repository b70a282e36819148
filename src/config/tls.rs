//! `tls` of a listener and of a pool, and `[tls]`.

use std::path::PathBuf;

use rustls::pki_types::{DnsName, ServerName};

use super::acme::AcmeSettings;
use super::address;
use super::declared::{CLIENT_TLS, ChallengeKind, Demand, UnknownSni};
use super::document::{DocumentTable, Item};
use super::fields;
use super::notes::Position;
use crate::base::limits;
use crate::http::names;
use crate::snapshot::{ClientCertificate, Protocol};
use crate::tls::{Alpn, ClientCa, Fact, PairFiles, Part, TlsClientSettings, TlsServerSettings};

/// `tls` of a listener as written.
#[derive(Clone, Debug)]
pub struct ServerTlsSettings {
    pub(super) position: Position,
    /// Without what `[acme]` makes of it: see [`ServerTlsSettings::complete`].
    pub(super) settings: TlsServerSettings,
    /// Names whose certificates palantir orders, in lower case.
    pub automatic: Vec<String>,
    pub(super) automatic_position: Position,
    /// The fields in which backends are told who the client is: lower-case names, none twice.
    pub identity: Vec<(String, Fact)>,
    /// In the order of the pairs.
    pub(super) pair_positions: Vec<PairPositions>,
    pub(super) ca_position: Option<Position>,
}

/// `tls` of a pool as written.
#[derive(Clone, Debug)]
pub struct ClientTlsSettings {
    pub(super) position: Position,
    /// The file of the authorities that backends are verified by; `None`: the authorities of this machine.
    pub ca: Option<PathBuf>,
    /// The certificate that palantir shows backends, and its key; `None`: none.
    pub pair: Option<PairFiles>,
    /// Whether backends must prove who they are.
    pub verify: bool,
    /// The name that backends are asked for and verified as; `None`: each backend's own.
    pub server_name: Option<ServerName<'static>>,
    pub(super) pair_positions: PairPositions,
    pub(super) ca_position: Option<Position>,
}

/// The places at which the files of a pair are named.
#[derive(Clone, Debug, Default)]
pub(super) struct PairPositions {
    /// The place of `cert`.
    pub cert: Position,
    key: Position,
    ocsp: Position,
}

impl PairPositions {
    pub(super) fn of(&self, part: Part) -> &Position {
        match part {
            Part::Cert => &self.cert,
            Part::Key => &self.key,
            Part::Ocsp => &self.ocsp,
        }
    }
}

impl ServerTlsSettings {
    /// The whole of it. Every listener with TLS answers an authority, whoever wants the certificate: what matters to it
    /// is the port.
    pub fn complete(&self, acme: Option<&AcmeSettings>) -> TlsServerSettings {
        let mut settings = self.settings.clone();
        if let Some(acme) = acme {
            let names = self.automatic.iter();
            settings.automatic = names.map(|name| acme.pair(name)).collect();
            settings.answers_challenges = acme.challenge == ChallengeKind::TlsAlpn01;
        }
        settings
    }

    /// Whether clients are asked for a certificate.
    pub fn client_certificate(&self) -> ClientCertificate {
        match &self.settings.client_ca {
            None => ClientCertificate::NotAsked,
            Some(ca) if ca.required => ClientCertificate::Required,
            Some(_) => ClientCertificate::Optional,
        }
    }
}

impl ClientTlsSettings {
    /// For a pool that speaks this.
    pub(super) fn settings(&self, protocol: Protocol) -> TlsClientSettings {
        TlsClientSettings {
            ca: self.ca.clone(),
            pair: self.pair.clone(),
            verify: self.verify,
            alpn: match protocol {
                Protocol::Http1 => Alpn::Http1,
                Protocol::Http2 => Alpn::H2,
            },
        }
    }
}

/// `tls` of a listener that speaks HTTP/2 or not.
pub(super) fn read_server(item: &Item<'_>, http2: bool) -> Option<ServerTlsSettings> {
    item.table(|table| {
        let min_version = table.word("min_version");
        let alpn = table.get("alpn", |item| read_alpn(item, http2));
        let mut by_default: Vec<Alpn> = table.default_words("alpn");
        by_default.retain(|alpn| http2 || *alpn != Alpn::H2);
        let (client_ca, ca_position) = read_client_ca(table);
        let unknown_sni: UnknownSni = table.word("unknown_sni");
        let tickets = table.flag("session_tickets");
        let identity = read_identity(table);
        let mut automatic_position = Position::default();
        let automatic = table.get("automatic", |item| {
            automatic_position = item.positioned(()).position;
            read_automatic(item)
        });
        if !table.has("automatic") {
            table.require("certificates");
        }
        let certificates = table.get("certificates", read_certificates);
        let ocsp = read_ocsp(table);
        if automatic.is_none() && certificates.is_none() {
            return None;
        }
        let certificates = certificates.unwrap_or_default();
        let (mut pairs, mut pair_positions): (Vec<_>, Vec<_>) = certificates.into_iter().unzip();
        if let Some(ocsp) = ocsp {
            put_ocsp_of_first(table, ocsp, &mut pairs, &mut pair_positions);
        }
        Some(ServerTlsSettings {
            position: table.position().clone(),
            settings: TlsServerSettings {
                pairs,
                automatic: Vec::new(),
                answers_challenges: false,
                min_version,
                alpn: alpn.unwrap_or(by_default),
                client_ca,
                tickets,
                refuse_unknown: unknown_sni == UnknownSni::Refuse,
            },
            automatic: automatic.unwrap_or_default(),
            automatic_position,
            identity,
            pair_positions,
            ca_position,
        })
    })?
}

fn read_alpn(item: &Item<'_>, http2: bool) -> Option<Vec<Alpn>> {
    let items = item.list()?;
    if items.is_empty() {
        return item.wrong("must name at least one");
    }
    let read = items.iter().filter_map(|item| match item.word()? {
        Alpn::H2 if !http2 => item.wrong("the listener has http2 = false"),
        alpn => Some(alpn),
    });
    Some(read.collect())
}

/// `client_ca` and `client_cert`.
fn read_client_ca(table: &mut DocumentTable<'_>) -> (Option<ClientCa>, Option<Position>) {
    if !table.has("client_ca") {
        table.get("client_ca", address::file_path);
        table.refuse("client_cert", "means nothing without client_ca");
        return (None, None);
    }
    let demand: Demand = table.word("client_cert");
    let file = table.get("client_ca", |item| {
        Some(item.positioned(address::file_path(item)?))
    });
    let ca = file.as_ref().map(|file| ClientCa {
        file: file.value.clone(),
        required: demand == Demand::Required,
    });
    (ca, file.map(|file| file.position))
}

/// The keys that name request fields for backends, and the fact of a client's certificate that each field carries.
pub(super) const IDENTITY_KEYS: [(&str, Fact); 4] = [
    ("client_subject_header", Fact::Subject),
    ("client_san_header", Fact::AlternativeNames),
    ("client_issuer_header", Fact::Issuer),
    ("client_fingerprint_header", Fact::Fingerprint),
];

fn read_identity(table: &mut DocumentTable<'_>) -> Vec<(String, Fact)> {
    let mut identity: Vec<(String, Fact)> = Vec::new();
    for (key, fact) in IDENTITY_KEYS {
        if !table.has("client_ca") {
            table.refuse(key, "means nothing without client_ca");
            continue;
        }
        let is_taken = |name: &str| {
            let mut others = identity.iter();
            others.any(|(other, _)| names::same(other.as_bytes(), name.as_bytes()))
        };
        let name = table.get(key, |item| match item.parsed(fields::identity)? {
            name if is_taken(&name) => item.wrong("is the name of another such field"),
            name => Some(name),
        });
        identity.extend(name.map(|name| (name, fact)));
    }
    identity
}

fn read_certificates(item: &Item<'_>) -> Option<Vec<(PairFiles, PairPositions)>> {
    let items = item.list()?;
    if items.is_empty() {
        return item.wrong("must name at least one certificate");
    }
    let read = items
        .iter()
        .filter_map(|item| item.table(read_certificate).flatten());
    Some(read.collect())
}

fn read_automatic(item: &Item<'_>) -> Option<Vec<String>> {
    let items = item.list()?;
    if items.is_empty() {
        return item.wrong("must name at least one host");
    }
    let mut names = Vec::new();
    for item in items {
        match item.parsed(automatic_name) {
            Some(name) if names.contains(&name) => item.wrong("is named already"),
            name => name.map(|name| names.push(name)),
        };
    }
    Some(names)
}

/// A name for which an authority gives a certificate to whoever answers its questions.
fn automatic_name(text: &str) -> Result<String, String> {
    if text.starts_with("*.") {
        return Err("a wildcard is given for the challenge dns-01 alone, which palantir does not know: name each host, or give a certificate".to_owned());
    }
    let name = certificate_name(text)
        .map_err(|_| "must be a host name such as \"example.com\"".to_owned())?;
    match name.len() {
        ..=limits::AUTOMATIC_NAME_BYTES => Ok(name),
        _ => Err(format!(
            "is longer than {} bytes",
            limits::AUTOMATIC_NAME_BYTES
        )),
    }
}

fn read_certificate(table: &mut DocumentTable<'_>) -> Option<(PairFiles, PairPositions)> {
    table.require("cert");
    table.require("key");
    let names = table.list("names", |item| item.parsed(certificate_name));
    let mut ocsp_position = Position::default();
    let ocsp = table.get("ocsp", |item| read_file(item, &mut ocsp_position));
    let (files, positions) = read_pair(table)?;
    let files = PairFiles {
        ocsp,
        names,
        ..files
    };
    let positions = PairPositions {
        ocsp: ocsp_position,
        ..positions
    };
    Some((files, positions))
}

/// `cert` and `key`, if both are there and right.
fn read_pair(table: &mut DocumentTable<'_>) -> Option<(PairFiles, PairPositions)> {
    let mut positions = PairPositions::default();
    let cert = table.get("cert", |item| read_file(item, &mut positions.cert));
    let key = table.get("key", |item| read_file(item, &mut positions.key));
    let files = PairFiles {
        cert: cert?,
        key: key?,
        ocsp: None,
        names: Vec::new(),
        must_be_for: None,
    };
    Some((files, positions))
}

fn read_file(item: &Item<'_>, position: &mut Position) -> Option<PathBuf> {
    let file = item.positioned(address::file_path(item)?);
    *position = file.position;
    Some(file.value)
}

/// The file of `ocsp` beside the list of certificates.
fn read_ocsp(table: &mut DocumentTable<'_>) -> Option<(PathBuf, Position)> {
    let mut position = Position::default();
    let file = table.get("ocsp", |item| read_file(item, &mut position))?;
    Some((file, position))
}

/// Gives the file of `ocsp` beside the list of certificates to the first certificate.
fn put_ocsp_of_first(
    table: &DocumentTable<'_>,
    (ocsp, position): (PathBuf, Position),
    pairs: &mut [PairFiles],
    positions: &mut [PairPositions],
) {
    let (Some(pair), Some(positions)) = (pairs.first_mut(), positions.first_mut()) else {
        return;
    };
    if pair.ocsp.is_some() {
        table.wrong_at(&position, "the first certificate has one of its own");
    }
    pair.ocsp = Some(ocsp);
    positions.ocsp = position;
}

/// A name for which a certificate is chosen: never an address, as nobody asks for one.
fn certificate_name(text: &str) -> Result<String, String> {
    let right = "must be a host name such as \"example.com\" or \"*.example.com\"";
    let name = address::host_pattern(text).map_err(|_| right.to_owned())?;
    match DnsName::try_from(name.trim_start_matches("*.")) {
        Ok(_) => Ok(name),
        Err(_) => Err(right.to_owned()),
    }
}

/// `tls` of a pool: true, false, or a table.
pub(super) fn read_client(item: &Item<'_>) -> Option<ClientTlsSettings> {
    if item.is_table() {
        return item.table(read_client_table);
    }
    let is_spoken = item.flag()?;
    is_spoken.then(|| item.defaults_of(&CLIENT_TLS, read_client_table))
}

fn read_client_table(table: &mut DocumentTable<'_>) -> ClientTlsSettings {
    let verify = table.flag("verify");
    let ca = table.get("ca", |item| {
        if !verify {
            return item.wrong("with verify = false nobody is verified by it");
        }
        Some(item.positioned(address::file_path(item)?))
    });
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if table.has(one) && !table.has(other) {
            table.lacks(format!("has {one:?}, so it needs {other:?}"));
        }
    }
    let (pair, pair_positions) = read_pair(table).unzip();
    ClientTlsSettings {
        position: table.position().clone(),
        verify,
        server_name: table.get("server_name", |item| item.parsed(server_name)),
        pair,
        pair_positions: pair_positions.unwrap_or_default(),
        ca_position: ca.as_ref().map(|ca| ca.position.clone()),
        ca: ca.map(|ca| ca.value),
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_ascii_lowercase())
        .map_err(|_| "must be a host name or an address, without a port".to_owned())
}

/// `[tls]`: the file that ticket keys are kept in.
pub(super) fn read_ticket_key_file(table: &mut DocumentTable<'_>) -> Option<PathBuf> {
    table.get("ticket_key_file", address::file_path)
}
