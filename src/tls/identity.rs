//! The client that a certificate names, in the words in which backends are told.

use std::fmt::Write;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::name_text;
use crate::base::limits;

/// A property of a client's certificate that backends can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The name of the certificate's subject, as RFC 4514 writes it.
    Subject,
    /// Under which other names (RFC 5280 section 4.2.1.6): `DNS:a.example, URI:spiffe://example/a`.
    AlternativeNames,
    /// The name of the authority that issued the certificate, as RFC 4514 writes it.
    Issuer,
    /// SHA-256 of the whole certificate, in hexadecimal digits.
    Fingerprint,
}

/// Why backends cannot be told who a client is, although it has a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unidentified {
    /// Backends are to be told the certificate's subject, and the subject is empty: all clients with such
    /// certificates would look like one client.
    NoSubject,
    /// The certificate cannot be read, or the property is longer than a field may be.
    Unusable,
}

/// The fields for what is `wanted`, each a name and a fact. What the certificate does not say has no field.
pub fn identify(
    der: &[u8],
    wanted: &[(String, Fact)],
) -> Result<Vec<(String, String)>, Unidentified> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Unidentified::Unusable)?;
    let mut fields = Vec::new();
    for (name, fact) in wanted {
        let text = match fact {
            Fact::Subject if is_nobody(&certificate) => return Err(Unidentified::NoSubject),
            Fact::Subject => name_text(certificate.subject()),
            Fact::AlternativeNames => alternative_names(&certificate)?,
            Fact::Issuer => name_text(certificate.issuer()),
            Fact::Fingerprint => fingerprint(der),
        };
        match text.len() {
            0 => {}
            1..=limits::IDENTITY_BYTES => fields.push((name.clone(), text)),
            _ => return Err(Unidentified::Unusable),
        }
    }
    Ok(fields)
}

/// Whether no part of the subject says anything.
fn is_nobody(certificate: &X509Certificate<'_>) -> bool {
    let mut values = certificate.subject().iter_attributes();
    values.all(|attribute| attribute.as_slice().is_empty())
}

/// The names of the kinds that tell who somebody is, in the order of the certificate, with `, ` between them. As
/// neither a comma nor a blank stands in any of them, they can be told apart.
fn alternative_names(certificate: &X509Certificate<'_>) -> Result<String, Unidentified> {
    let extension = certificate.subject_alternative_name();
    let extension = extension.map_err(|_| Unidentified::Unusable)?;
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    let mut text = String::new();
    for name in names {
        let (kind, value) = match name {
            GeneralName::DNSName(name) => ("DNS:", escaped(name.as_bytes())),
            GeneralName::URI(name) => ("URI:", escaped(name.as_bytes())),
            GeneralName::RFC822Name(name) => ("email:", escaped(name.as_bytes())),
            GeneralName::IPAddress(octets) => ("IP:", address(octets)?),
            _ => continue,
        };
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(kind);
        text.push_str(&value);
    }
    Ok(text)
}

fn address(octets: &[u8]) -> Result<String, Unidentified> {
    let address = match octets.len() {
        4 => <[u8; 4]>::try_from(octets).map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).map(IpAddr::from),
    };
    let address = address.map_err(|_| Unidentified::Unusable)?;
    Ok(address.to_string())
}

/// The text in visible ASCII; each other byte, and each comma and backslash, as two hexadecimal digits behind a
/// backslash.
fn escaped(text: &[u8]) -> String {
    let mut escaped = String::new();
    for &byte in text {
        match byte {
            b',' | b'\\' => write_hex(&mut escaped, "\\", byte),
            b'!'..=b'~' => escaped.push(byte.into()),
            _ => write_hex(&mut escaped, "\\", byte),
        }
    }
    escaped
}

fn write_hex(text: &mut String, before: &str, byte: u8) {
    write!(text, "{before}{byte:02x}").expect("a string takes everything");
}

fn fingerprint(der: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, der).as_ref() {
        write_hex(&mut text, "", *byte);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    const ALL: [(&str, Fact); 4] = [
        ("s", Fact::Subject),
        ("a", Fact::AlternativeNames),
        ("i", Fact::Issuer),
        ("f", Fact::Fingerprint),
    ];

    fn wanted(facts: &[(&str, Fact)]) -> Vec<(String, Fact)> {
        let facts = facts.iter();
        facts
            .map(|(name, fact)| (name.to_string(), *fact))
            .collect()
    }

    fn certificate(subject: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn every_fact_has_its_field() {
        let names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI(
                "spiffe://example/a, URI:spiffe://example/root\\"
                    .try_into()
                    .unwrap(),
            ),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name("a b@example".try_into().unwrap()),
        ];
        let der = certificate(&[(DnType::CommonName, "a, b")], names);
        let fields = identify(&der, &wanted(&ALL)).unwrap();
        let fingerprint = fields[3].1.clone();
        let expected = [
            ("s", "CN=a\\, b"),
            (
                "a",
                "DNS:a.example, URI:spiffe://example/a\\2c\\20URI:spiffe://example/root\\5c, IP:192.0.2.1, IP:2001:db8::1, email:a\\20b@example",
            ),
            ("i", "CN=a\\, b"),
            ("f", &fingerprint),
        ];
        assert_eq!(
            fields,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
        assert!(
            fingerprint.len() == 64
                && fingerprint
                    .bytes()
                    .all(|byte| b"0123456789abcdef".contains(&byte))
        );
    }

    #[test]
    fn who_cannot_be_told_apart_is_nobody() {
        let uri = || vec![SanType::URI("spiffe://example/a".try_into().unwrap())];
        let long = "u".repeat(limits::IDENTITY_BYTES);
        let rows = [
            (
                certificate(&[], uri()),
                &ALL[..],
                Some(Unidentified::NoSubject),
            ),
            (
                certificate(&[(DnType::CommonName, "")], uri()),
                &ALL,
                Some(Unidentified::NoSubject),
            ),
            (certificate(&[], uri()), &ALL[1..], None),
            (certificate(&[], uri()), &[], None),
            (
                certificate(&[], vec![SanType::URI(long[..].try_into().unwrap())]),
                &ALL[1..],
                Some(Unidentified::Unusable),
            ),
            (
                b"no certificate".to_vec(),
                &ALL[3..],
                Some(Unidentified::Unusable),
            ),
        ];
        for (at, (der, facts, expected)) in rows.into_iter().enumerate() {
            assert_eq!(identify(&der, &wanted(facts)).err(), expected, "row {at}");
        }
    }

    #[test]
    fn what_is_not_said_has_no_field() {
        let der = certificate(&[(DnType::CommonName, "a")], Vec::new());
        let fields = identify(&der, &wanted(&ALL)).unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s", "i", "f"]);
    }
}
