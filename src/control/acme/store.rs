//! The folder where the account and the certificates of one authority are kept. Each is one file, replaced whole: a kill at
//! any moment leaves the old one or the new one.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::base::{file, limits};
use crate::config::AcmeSettings;
use crate::tls::Pair;

/// The folder.
#[derive(Debug)]
pub struct Store {
    settings: AcmeSettings,
}

/// What there is for a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A file that is of no use, and why.
    Useless(String),
    Certificate(Validity),
}

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

impl Store {
    /// What these settings name.
    pub fn new(settings: AcmeSettings) -> Store {
        Store { settings }
    }

    /// What there is for this name.
    pub fn certificate(&self, name: &str) -> Found {
        let files = self.settings.pair(name);
        if !files.cert.exists() {
            return Found::Nothing;
        }
        match Pair::load(&files) {
            Ok(pair) if pair.names.iter().any(|known| known == name) => {
                Found::Certificate(Validity {
                    not_before: pair.not_before,
                    not_after: pair.not_after,
                })
            }
            Ok(pair) => {
                let (path, names) = (files.cert.display(), pair.names.join(", "));
                Found::Useless(format!("{path} is for other names: {names}"))
            }
            Err(fault) => Found::Useless(fault.to_string()),
        }
    }

    /// Keeps a key and the certificates that belong to it, in PEM. Errors: that is not possible, or they are of no use;
    /// what was kept before stays.
    pub fn save_certificate(&self, name: &str, key: &str, chain: &str) -> Result<Validity, String> {
        let path = self.settings.pair(name).cert;
        let text = format!("{}\n{}\n", key.trim(), chain.trim());
        self.save(&path, text.as_bytes())?;
        match self.certificate(name) {
            Found::Certificate(validity) => Ok(validity),
            Found::Useless(why) => Err(why),
            Found::Nothing => Err(format!("{} is gone", path.display())),
        }
    }

    /// Whether there is room for a certificate, found out before one is ordered. Errors: there is not.
    pub fn check_room(&self) -> Result<(), String> {
        let path = self.settings.folder().join("room");
        self.save(&path, &[0; limits::ACME_ROOM_BYTES])?;
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What was kept of the account; `None`: nothing. Errors: it cannot be read.
    pub fn account(&self) -> Result<Option<Vec<u8>>, String> {
        let path = self.account_path();
        match file::read(&path, limits::TLS_FILE_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Keeps the account. Errors: that is not possible.
    pub fn save_account(&self, bytes: &[u8]) -> Result<(), String> {
        self.save(&self.account_path(), bytes)
    }

    /// Where the account is kept.
    pub fn account_path(&self) -> PathBuf {
        self.settings.folder().join("account.json")
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let saved = self.make_folder().and_then(|()| file::replace(path, bytes));
        saved.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn make_folder(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(self.settings.folder())
    }
}
