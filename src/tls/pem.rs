//! Certificates and keys as files hold them (PEM, RFC 7468). Each error is a sentence about the file.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::{file, limits};

/// What the file holds. Errors: it cannot be read, or is too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, limits::TLS_FILE_BYTES).map_err(|error| format!("cannot be read: {error}"))
}

/// All certificates of a file, at least one, in their order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err("holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")".to_owned())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    if bytes
        .windows(encrypted.len())
        .any(|window| window == encrypted)
    {
        return Err("holds an encrypted key; palantir asks nobody for its passphrase".to_owned());
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err("holds no private key (PEM: PKCS#8, PKCS#1 or SEC1)".to_owned())
        }
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}
