//! The content of a certificate (X.509, RFC 5280).

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The useful content of one certificate.
pub(super) struct CertificateFacts {
    /// As of [`subject`].
    pub subject: String,
    /// DNS names it is for, in lower case, some with `*.` in front.
    pub names: Vec<String>,
    /// Addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// The common name, if there is no alternative name at all: the name that such old certificates are for.
    pub common_name: Option<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// The encoded names, which tell who issued whom.
    pub raw_subject: Vec<u8>,
    pub raw_issuer: Vec<u8>,
}

/// Reads a certificate. Errors: what is wrong with it.
pub(super) fn read(der: &[u8]) -> Result<CertificateFacts, String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("is no certificate: {error}"))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| format!("has names that cannot be read: {error}"))?;
    let alternatives = names.iter().flat_map(|names| &names.value.general_names);
    let names = alternatives.clone().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let has_others = alternatives.clone().next().is_some();
    let addresses = alternatives.filter_map(|name| match name {
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    });
    let validity = certificate.validity();
    let common_names = certificate.subject().iter_common_name();
    let mut common_names = common_names.filter_map(|name| name.as_str().ok());
    let common_name = common_names.next().filter(|_| !has_others);
    Ok(CertificateFacts {
        common_name: common_name.map(str::to_ascii_lowercase),
        subject: name_text(certificate.subject()),
        names: names.collect(),
        addresses: addresses.collect(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        raw_subject: certificate.subject().as_raw().to_vec(),
        raw_issuer: certificate.issuer().as_raw().to_vec(),
    })
}

impl CertificateFacts {
    /// Whether the certificate is for this host.
    pub fn is_for(&self, name: &ServerName<'_>) -> bool {
        let name = match name {
            ServerName::DnsName(name) => name.as_ref().to_ascii_lowercase(),
            ServerName::IpAddress(address) => {
                let address = IpAddr::from(*address);
                let is_common = self.common_name.as_deref() == Some(&*address.to_string());
                return self.addresses.contains(&address) || is_common;
            }
            _ => return false,
        };
        let mut names = self.names.iter().chain(&self.common_name);
        names.any(|own| match own.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => *own == name,
        })
    }

    /// All hosts that the certificate is for.
    pub fn all_names(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        let names = self.names.iter().chain(&self.common_name).cloned();
        names.chain(addresses).collect()
    }
}

/// Four or sixteen bytes (RFC 5280 section 4.2.1.6).
fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
    }
}

/// Whom a certificate is about, as RFC 4514 writes it, in visible ASCII: `CN=client,O=Example`. `None`: it is no
/// certificate.
pub fn subject(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(name_text(certificate.subject()))
}

/// Seconds since 1970.
pub fn unix_secs(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// The last part first (RFC 4514 section 2.1); `+` within one.
pub(super) fn name_text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let values: Vec<String> = part.iter().map(attribute_text).collect();
            values.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let mut text = match oid2abbrev(oid, oid_registry()) {
        Ok(short) => short.to_owned(),
        Err(_) => oid.to_id_string(),
    };
    text.push('=');
    let value = attribute.as_slice();
    for (index, &byte) in value.iter().enumerate() {
        let is_edge = index == 0 || index + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(byte.into());
            }
            b' ' if is_edge => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(byte.into()),
            // Nothing but visible ASCII goes into a header field.
            _ => write!(text, "\\{byte:02X}").expect("a string takes everything"),
        }
    }
    text
}
