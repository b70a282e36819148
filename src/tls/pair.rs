//! A certificate with its chain and its key, loaded and checked as one.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::{certificate, pem, provider};
use crate::base::{file, limits};

/// Where a pair is, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairFiles {
    /// The certificate, then those of its issuers.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// An OCSP response (DER) to staple.
    pub ocsp: Option<PathBuf>,
    /// What it is for, in lower case, `*.example.com` too; empty: what the certificate says.
    pub names: Vec<String>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// Names that it is chosen for.
    pub names: Vec<String>,
    /// Addresses that it is for. (It is never chosen for them, as nobody asks for an address.)
    pub addresses: Vec<IpAddr>,
    /// Whom it is about (RFC 4514).
    pub subject: String,
    /// When the first certificate of the chain to end does, in seconds since 1970.
    pub not_after: i64,
    /// When the last of them to begin does.
    pub not_before: i64,
    key_is_public: bool,
}

/// The file of a pair that something is said about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Cert,
    Key,
    Ocsp,
}

/// Why a pair cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFault {
    pub part: Part,
    pub path: PathBuf,
    /// What is wrong with the file.
    pub text: String,
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.text)
    }
}

impl PairFiles {
    /// The file of this part.
    pub fn path(&self, part: Part) -> PathBuf {
        match part {
            Part::Cert => self.cert.clone(),
            Part::Key => self.key.clone(),
            Part::Ocsp => self.ocsp.clone().unwrap_or_default(),
        }
    }

    /// One file with the key and the chain, for the names that the certificate says: written at once, it is always a pair.
    pub fn in_one(path: PathBuf) -> PairFiles {
        PairFiles {
            cert: path.clone(),
            key: path,
            ocsp: None,
            names: Vec::new(),
        }
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        let paths = [Some(&self.cert), Some(&self.key), self.ocsp.as_ref()];
        paths.into_iter().flatten().cloned().collect()
    }
}

impl Pair {
    /// Loads and checks. Errors: the first file that cannot be used, and why.
    pub fn load(files: &PairFiles) -> Result<Pair, PairFault> {
        let fault = |part: Part| {
            move |text: String| PairFault {
                part,
                path: files.path(part),
                text,
            }
        };
        let chain = pem::certificates(&files.cert).map_err(fault(Part::Cert))?;
        let read = read_chain(&chain).map_err(fault(Part::Cert))?;
        let key = pem::private_key(&files.key).map_err(fault(Part::Key))?;
        let mut certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    fault(Part::Key)("is not the key of the certificate".to_owned())
                }
                Error::InvalidCertificate(why) => {
                    fault(Part::Cert)(format!("cannot be used: {why}"))
                }
                error => fault(Part::Key)(format!("cannot be used: {error}")),
            })?;
        if let Some(path) = &files.ocsp {
            let response = pem::read(path).and_then(check_ocsp);
            certified.ocsp = Some(response.map_err(fault(Part::Ocsp))?);
        }
        let names = match files.names.is_empty() {
            true => read.names,
            false => files.names.clone(),
        };
        Ok(Pair {
            certified: Arc::new(certified),
            names,
            addresses: read.addresses,
            subject: read.subject,
            not_after: read.not_after,
            not_before: read.not_before,
            key_is_public: file::is_public(&files.key),
        })
    }

    /// What it is called where one name must do.
    pub fn name(&self) -> &str {
        self.names.first().unwrap_or(&self.subject)
    }

    /// Whether this is what a client was shown.
    pub fn is_shown_as(&self, certified: &CertifiedKey) -> bool {
        std::ptr::eq(&*self.certified, certified)
    }

    /// Whether it is for this host: a name in any case and without a dot at its end, or an address, IPv6 in brackets.
    pub fn is_for(&self, host: &str) -> bool {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let labels = host.split_once('.');
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => labels.is_some_and(|(_, host)| host.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// What may make trouble, at this time in seconds since 1970.
    pub fn warnings(&self, now: i64) -> Vec<(Part, String)> {
        let days = |from: i64, to: i64| (to - from) / 86_400;
        let mut warnings = Vec::new();
        if self.not_before > now {
            let left = days(now, self.not_before) + 1;
            warnings.push((
                Part::Cert,
                format!("is not valid yet; its time begins within {left} days"),
            ));
        }
        if self.not_after <= now {
            let ago = days(self.not_after, now);
            warnings.push((Part::Cert, format!("has expired {ago} days ago")));
        } else if days(now, self.not_after) < limits::EXPIRY_WARNING_DAYS as i64 {
            let left = days(now, self.not_after);
            warnings.push((Part::Cert, format!("expires in {left} days")));
        }
        if self.key_is_public {
            let text = "everybody on this machine may read it; take that right away (chmod 600)";
            warnings.push((Part::Key, text.to_owned()));
        }
        warnings
    }
}

/// What the first certificate says, with the validity of the whole chain. Errors: one cannot be read, or has not issued
/// the one before it.
fn read_chain(chain: &[CertificateDer<'static>]) -> Result<certificate::Said, String> {
    if chain.len() > limits::CHAIN_CERTIFICATES {
        let (count, most) = (chain.len(), limits::CHAIN_CERTIFICATES);
        return Err(format!(
            "holds {count} certificates; a chain has at most {most}"
        ));
    }
    let read: Result<Vec<_>, String> = chain.iter().map(|der| certificate::read(der)).collect();
    let mut read = read?;
    for (index, two) in read.windows(2).enumerate() {
        if two[0].raw_issuer != two[1].raw_subject {
            let (before, after) = (index + 1, index + 2);
            return Err(format!(
                "is no chain: certificate {after} in it has not issued certificate {before}"
            ));
        }
    }
    // A root at the end is nobody's business: clients go by their own copy.
    let is_root = |said: &certificate::Said| said.raw_issuer == said.raw_subject;
    let issuers = read[1..].iter().filter(|said| !is_root(said));
    let (mut from, mut to) = (read[0].not_before, read[0].not_after);
    for said in issuers {
        from = from.max(said.not_before);
        to = to.min(said.not_after);
    }
    let mut first = read.swap_remove(0);
    (first.not_before, first.not_after) = (from, to);
    Ok(first)
}

/// An OCSPResponse (RFC 6960 section 4.2.1) whose status is "successful". Whether it is about the certificate is for
/// clients to see: they do without a response that is not.
fn check_ocsp(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    const SUCCESSFUL: [u8; 3] = [0x0a, 0x01, 0x00];
    let length_bytes = match bytes.get(..2) {
        Some(&[0x30, short]) if short < 0x80 => 0,
        Some(&[0x30, long]) => usize::from(long & 0x7f),
        _ => return Err("is no OCSP response (DER)".to_owned()),
    };
    match bytes.get(2 + length_bytes..5 + length_bytes) {
        Some(status) if status == SUCCESSFUL => Ok(bytes),
        Some([0x0a, 0x01, status]) => Err(format!("is an OCSP response without success: {status}")),
        _ => Err("is no OCSP response (DER)".to_owned()),
    }
}
