//! Whom to believe: certificates of authorities.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

use super::pem;

/// The authorities of a file. Errors: there is none in it, or one cannot be used.
pub(super) fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in pem::certificates(path)?.into_iter().enumerate() {
        let number = index + 1;
        roots
            .add(certificate)
            .map_err(|error| format!("certificate {number} in it cannot be used: {error}"))?;
    }
    Ok(roots)
}

/// The authorities of this machine, read once. Errors: there are none.
pub(super) fn of_system() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    ROOTS.get_or_init(read_system).clone()
}

fn read_system() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Among hundreds there may be old ones that nobody can use any more.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        return Err(format!(
            "this machine names no authorities to verify backends by; name them with ca = \"/…\"{why}"
        ));
    }
    Ok(Arc::new(roots))
}
