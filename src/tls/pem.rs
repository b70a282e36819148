//! Certificates and keys as files hold them (PEM, RFC 7468). Each error is a sentence about the file.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::{file, limits};

/// The reason why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileFault {
    pub path: PathBuf,
    /// The fault of the file.
    pub text: String,
    /// Whether reading the file failed, which may pass. Otherwise the content is wrong, and stays so until the file is
    /// rewritten.
    pub is_of_reading: bool,
    /// Whether the failure may pass even if nobody changes the file.
    pub may_pass: bool,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FileFault {
    /// The fault of a file whose content is wrong.
    pub fn of_content(path: &Path, text: String) -> FileFault {
        FileFault {
            path: path.to_owned(),
            text,
            is_of_reading: false,
            may_pass: false,
        }
    }
}

/// The content of the file. Errors: the file cannot be read, or is too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileFault> {
    file::read(path, limits::TLS_FILE_BYTES).map_err(|error| FileFault {
        path: path.to_owned(),
        text: format!("cannot be read: {error}"),
        is_of_reading: error.kind() != std::io::ErrorKind::FileTooLarge,
        may_pass: file::may_pass(&error),
    })
}

/// All certificates of a file, at least one, in their order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    certificates_in(&read(path)?).map_err(|text| FileFault::of_content(path, text))
}

/// All certificates in a text, at least one, in their order. Errors: the fault of the text.
pub(super) fn certificates_in(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err("holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")".to_owned())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

/// The first private key in a text: PKCS#8, PKCS#1 or SEC1. Errors: the fault of the text.
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    if bytes
        .windows(encrypted.len())
        .any(|window| window == encrypted)
    {
        return Err("holds an encrypted key; palantir asks nobody for its passphrase".to_owned());
    }
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err("holds no private key (PEM: PKCS#8, PKCS#1 or SEC1)".to_owned())
        }
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}
