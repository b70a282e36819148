//! A certificate with its chain and its key, loaded and checked as one.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::pem::FileFault;
use super::{certificate, ocsp, pem, provider};
use crate::base::{file, limits};

/// Where a pair is, as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairFiles {
    /// The certificate, then those of its issuers.
    pub cert: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
    /// An OCSP response (DER) to staple.
    pub ocsp: Option<PathBuf>,
    /// The names that the pair is for, in lower case, `*.example.com` too; empty: the names in the certificate.
    pub names: Vec<String>,
    /// A host that the certificate must be for, or else the pair is refused; `None`: any host will do.
    pub must_be_for: Option<String>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The certificate and key without an OCSP response.
    unstapled: Arc<CertifiedKey>,
    /// When the OCSP response is superseded, in seconds since 1970; `None`: there is no response, or it names no time.
    pub staple_ends: Option<i64>,
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
    /// The validity of the certificate itself, without that of its issuers.
    pub own_validity: Validity,
    key_is_public: bool,
}

/// The time in which a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Unix time from which the certificate is valid, in seconds.
    pub not_before: i64,
    /// Unix time until which the certificate is valid, in seconds.
    pub not_after: i64,
}

/// The file of a pair that something is said about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate and its chain.
    Cert,
    /// The private key.
    Key,
    /// The OCSP response.
    Ocsp,
}

/// Why a pair cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFault {
    /// The part of the pair that is at fault.
    pub part: Part,
    /// The file of that part.
    pub path: PathBuf,
    /// The fault of the file.
    pub text: String,
    /// Whether reading the file failed, which may pass. Otherwise the content is wrong, and stays so until the file is
    /// rewritten.
    pub is_of_reading: bool,
    /// Whether the failure may pass even if nobody changes the file.
    pub may_pass: bool,
}

impl PairFault {
    fn new(part: Part, fault: FileFault) -> PairFault {
        PairFault {
            part,
            path: fault.path,
            text: fault.text,
            is_of_reading: fault.is_of_reading,
            may_pass: fault.may_pass,
        }
    }
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.text)
    }
}

impl PairFiles {
    fn wrong(&self, part: Part, text: String) -> PairFault {
        PairFault::new(part, FileFault::of_content(&self.path(part), text))
    }

    /// The file of this part.
    pub fn path(&self, part: Part) -> PathBuf {
        match part {
            Part::Cert => self.cert.clone(),
            Part::Key => self.key.clone(),
            Part::Ocsp => self.ocsp.clone().unwrap_or_default(),
        }
    }

    /// One file with the key and the chain, for the names in the certificate. A file that is replaced at once always
    /// holds a matching pair.
    pub fn in_one(path: PathBuf) -> PairFiles {
        PairFiles {
            cert: path.clone(),
            key: path,
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        }
    }

    /// One file with the certificate and the key, which is refused unless the certificate is for this host.
    pub fn in_one_for(path: PathBuf, host: &str) -> PairFiles {
        PairFiles {
            must_be_for: Some(host.to_owned()),
            ..PairFiles::in_one(path)
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
        let read =
            |part: Part| pem::read(&files.path(part)).map_err(|fault| PairFault::new(part, fault));
        let cert = read(Part::Cert)?;
        let key = if files.key == files.cert {
            cert.clone()
        } else {
            read(Part::Key)?
        };
        let mut pair = Pair::of_texts(files, &cert, &key)?;
        if files.ocsp.is_some() {
            let response = read(Part::Ocsp)?;
            let checked = ocsp::next_update(&response);
            pair.staple_ends = checked.map_err(|text| files.wrong(Part::Ocsp, text))?;
            let mut certified = (*pair.unstapled).clone();
            certified.ocsp = Some(response);
            pair.certified = Arc::new(certified);
        }
        pair.key_is_public = file::is_public(&files.key);
        Ok(pair)
    }

    /// Checks texts that are to be written into these files: a chain and a key, both in PEM, without the OCSP response.
    /// Errors: the first text that cannot be used, and why.
    pub fn of_texts(files: &PairFiles, cert: &[u8], key: &[u8]) -> Result<Pair, PairFault> {
        let fault = |part: Part| move |text: String| files.wrong(part, text);
        let chain = pem::certificates_in(cert).map_err(fault(Part::Cert))?;
        let (read, own_validity) = read_chain(&chain).map_err(fault(Part::Cert))?;
        let key = pem::private_key(key).map_err(fault(Part::Key))?;
        let certified = CertifiedKey::from_der(chain, key, &provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                fault(Part::Key)("is not the key of the certificate".to_owned())
            }
            Error::InvalidCertificate(why) => fault(Part::Cert)(format!("cannot be used: {why}")),
            error => fault(Part::Key)(format!("cannot be used: {error}")),
        })?;
        let certified = Arc::new(certified);
        let names = if files.names.is_empty() {
            read.names
        } else {
            files.names.clone()
        };
        let pair = Pair {
            unstapled: certified.clone(),
            certified,
            staple_ends: None,
            names,
            addresses: read.addresses,
            subject: read.subject,
            not_after: read.not_after,
            not_before: read.not_before,
            own_validity,
            key_is_public: false,
        };
        match &files.must_be_for {
            Some(host) if !pair.is_for(host) => {
                let text = format!("is for other names: {}", pair.names.join(", "));
                Err(files.wrong(Part::Cert, text))
            }
            _ => Ok(pair),
        }
    }

    /// The certificate for a client at this time, in seconds since 1970. The OCSP response is stapled until it is
    /// superseded.
    pub(super) fn shown_at(&self, now: i64) -> &Arc<CertifiedKey> {
        match self.staple_ends {
            Some(end) if end <= now => &self.unstapled,
            _ => &self.certified,
        }
    }

    /// The name of the pair where one name must do.
    pub fn name(&self) -> &str {
        self.names.first().unwrap_or(&self.subject)
    }

    /// Whether this is what a client was shown.
    pub fn is_shown_as(&self, certified: &CertifiedKey) -> bool {
        let shown = [&self.certified, &self.unstapled];
        shown.into_iter().any(|one| std::ptr::eq(&**one, certified))
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

    /// Warnings of trouble to come, at this time in seconds since 1970.
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
        if self.staple_ends.is_some_and(|end| end <= now) {
            let text = "has been superseded (nextUpdate), so it is not stapled; fetch a newer one";
            warnings.push((Part::Ocsp, text.to_owned()));
        }
        if self.key_is_public {
            let text = "everybody on this machine may read it; take that right away (chmod 600)";
            warnings.push((Part::Key, text.to_owned()));
        }
        warnings
    }
}

/// Reads the first certificate, its own validity, and that of the whole chain. Errors: a certificate cannot be read, or
/// has not issued the one before it.
fn read_chain(
    chain: &[CertificateDer<'static>],
) -> Result<(certificate::CertificateFacts, Validity), String> {
    debug_assert!(
        !chain.is_empty(),
        "a file without a certificate has been refused"
    );
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
    let is_root = |said: &certificate::CertificateFacts| said.raw_issuer == said.raw_subject;
    let issuers = read[1..].iter().filter(|said| !is_root(said));
    let (mut from, mut to) = (read[0].not_before, read[0].not_after);
    for said in issuers {
        from = from.max(said.not_before);
        to = to.min(said.not_after);
    }
    let mut first = read.swap_remove(0);
    let own = Validity {
        not_before: first.not_before,
        not_after: first.not_after,
    };
    (first.not_before, first.not_after) = (from, to);
    Ok((first, own))
}
