//! Whom to believe: certificates of authorities.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use rustls::RootCertStore;
use rustls_native_certs::ErrorKind as NativeErrorKind;

use super::pem::{self, FileFault};
use super::server_trust::Roots;
use crate::base::file;

/// The authorities of a file. Errors: there is none in it, or one cannot be used.
pub(super) fn of_file(path: &Path) -> Result<Roots, FileFault> {
    let mut store = RootCertStore::empty();
    let pins = pem::certificates(path)?;
    for (certificate, number) in pins.iter().zip(1..) {
        store.add(certificate.clone()).map_err(|error| {
            let text = format!("certificate {number} in it cannot be used: {error}");
            FileFault::of_content(path, text)
        })?;
    }
    let store = Arc::new(store);
    Ok(Roots { store, pins })
}

/// The authorities of this machine. Errors: there are none, or not all of them can be read at the moment.
pub(super) fn of_system() -> Result<Roots, FileFault> {
    if let Some(path) = named("SSL_CERT_FILE").map(PathBuf::from)
        && path.metadata().is_ok_and(|metadata| !metadata.is_file())
        && let Err(error) = file::open_regular(&path)
    {
        // The library that loads the authorities would wait for the writer of a pipe.
        let text = format!("{} (SSL_CERT_FILE) is {error}", path.display());
        return Err(FileFault {
            may_pass: file::may_pass(&error),
            ..FileFault::of_content(&path, text)
        });
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        if let NativeErrorKind::Io { inner, path } = &error.kind
            && file::may_pass(inner)
        {
            return Err(FileFault {
                path: path.clone(),
                text: format!("the authorities of this machine cannot be read: {error}"),
                is_of_reading: true,
                may_pass: true,
            });
        }
    }
    let mut roots = RootCertStore::empty();
    // Among hundreds there may be old ones that nobody can use any more.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        let text = format!(
            "the machine names no authorities to verify backends by; name them with ca = \"/…\"{why}"
        );
        return Err(FileFault::of_content(Path::new(""), text));
    }
    Ok(Roots {
        store: Arc::new(roots),
        pins: Vec::new(),
    })
}

/// The value of an environment variable, if it is set and not empty.
fn named(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// The paths of this machine's authorities: the file and the folders that the environment names, or else those of the
/// distribution, and every file in these folders.
pub(super) fn system_paths() -> Vec<PathBuf> {
    let (file, folders) = match (named("SSL_CERT_FILE"), named("SSL_CERT_DIR")) {
        (None, None) => {
            let found = openssl_probe::probe();
            (found.cert_file, found.cert_dir)
        }
        (file, folders) => {
            let folders = folders.map(|folders| env::split_paths(&folders).collect());
            (file.map(PathBuf::from), folders.unwrap_or_default())
        }
    };
    let mut paths: Vec<PathBuf> = file.into_iter().collect();
    for folder in folders {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path()));
        paths.push(folder);
    }
    paths
}
