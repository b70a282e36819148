//! The folder where the account and the certificates of one authority are kept. Each is one file, which is replaced as
//! a whole: a kill at any moment leaves the old or the new content. Every function here may wait for a disk, so that
//! the thread of [`super::disk`] calls it.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::outcome::{OrderFailure, OrderOutcome};
use super::schedule;
use crate::base::{file, limits};
use crate::config::AcmeSettings;
use crate::tls::{Pair, Validity};

/// The folder.
#[derive(Clone, Debug)]
pub struct Store {
    settings: AcmeSettings,
}

/// The files that there are for a name.
#[derive(Debug, PartialEq, Eq)]
pub enum StoredCertificate {
    /// There is no file.
    Nothing,
    /// A file that is of no use, and why.
    Useless(String),
    /// The file cannot be read at the moment, with the reason. The file may well hold a good certificate.
    Unread(String),
    /// There is a certificate, which is valid for this time.
    Certificate(Validity),
}

impl Store {
    /// The store in the folder that these settings name.
    pub fn new(settings: AcmeSettings) -> Store {
        Store { settings }
    }

    /// Looks for the certificate of this name.
    pub fn certificate(&self, name: &str) -> StoredCertificate {
        let files = self.settings.pair(name);
        if let Err(error) = files.cert.metadata()
            && error.kind() == ErrorKind::NotFound
        {
            return StoredCertificate::Nothing;
        }
        match Pair::load(&files) {
            Ok(pair) => StoredCertificate::Certificate(pair.own_validity),
            Err(fault) if fault.is_of_reading => StoredCertificate::Unread(fault.to_string()),
            Err(fault) => StoredCertificate::Useless(fault.to_string()),
        }
    }

    /// Stores a key and its certificates, in PEM, at the time `now` in seconds since 1970. Errors: the certificates are
    /// useless or worse than the stored ones, or cannot be written; the stored ones then stay.
    pub fn save_certificate(
        &self,
        name: &str,
        key: &str,
        chain: &str,
        now: i64,
    ) -> Result<Validity, OrderFailure> {
        let files = self.settings.pair(name);
        let text = format!("{}\n{}\n", key.trim(), chain.trim());
        let unusable = |why: String| OrderFailure::new(OrderOutcome::Unusable, why);
        let given = Pair::of_texts(&files, text.as_bytes(), text.as_bytes());
        let given =
            given.map_err(|fault| unusable(format!("the new certificate {}", fault.text)))?;
        let given = given.own_validity;
        match self.certificate(name) {
            StoredCertificate::Certificate(kept) => {
                check_better(given, kept, now).map_err(|why| OrderFailure {
                    contradicts_clock: true,
                    ..unusable(why)
                })?
            }
            // The unread certificate may be better, and is not overwritten before it was compared.
            StoredCertificate::Unread(why) => {
                return Err(OrderFailure::new(OrderOutcome::NotKept, why));
            }
            StoredCertificate::Nothing | StoredCertificate::Useless(_) => {}
        }
        let saved = self.save(&files.cert, text.as_bytes());
        saved.map_err(|why| OrderFailure::new(OrderOutcome::NotKept, why))?;
        Ok(given)
    }

    /// Whether there is room for a certificate, found out before one is ordered. Errors: there is not.
    pub fn check_room(&self) -> Result<(), String> {
        let path = self.settings.folder().join("room");
        self.save(&path, &[0; limits::ACME_ROOM_BYTES])?;
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The account that was stored; `None`: there is none. Errors: the file cannot be read.
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

    /// Deletes the account. Errors: as the file system reports them.
    pub fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(self.account_path())
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

/// Checks that a new certificate may replace the stored one. A certificate that is valid now and need not be renewed at
/// once may, however short a lifetime the authority gives it. Any other must end later than the stored one; if it is
/// not valid now, the stored one must not be valid either, since the clock may be wrong. Errors: the reason why it may
/// not.
fn check_better(given: Validity, kept: Validity, now: i64) -> Result<(), String> {
    let begin = now.saturating_add(limits::ACME_CLOCK_SLACK_SECS);
    let is_good = |one: Validity| one.not_before <= begin && now < one.not_after;
    let is_lasting = now < schedule::renewal(given.not_before, given.not_after, 0.0);
    let is_later = given.not_after > kept.not_after;
    if is_good(given) && (is_lasting || is_later) || !is_good(kept) && is_later {
        return Ok(());
    }
    let (from, to) = (given.not_before - now, given.not_after - now);
    Err(format!(
        "the new certificate is no better than the stored one: it is valid from {from} to {to} seconds from now"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_table() {
        let validity = |(not_before, not_after)| Validity {
            not_before,
            not_after,
        };
        const NOW: i64 = 100_000;
        let rows = [
            // Columns: the new certificate, the stored one, whether the new one replaces the stored one.
            ((NOW, NOW + 900), (NOW - 600, NOW + 300), true),
            ((NOW, NOW + 90), (NOW - 600, NOW + 300), true), // Short, because the authority wants it so.
            ((NOW + 3_600, NOW + 9_000), (NOW - 600, NOW + 300), true), // Our clock is a little behind.
            ((NOW + 3_601, NOW + 9_000), (NOW - 600, NOW + 300), false),
            ((NOW - 900, NOW), (NOW - 600, NOW + 300), false),
            ((NOW - 900, NOW + 10), (NOW - 600, NOW + 300), false), // Due at once, and ends sooner.
            ((NOW - 900, NOW + 301), (NOW - 600, NOW + 300), true),
            ((NOW - 900, NOW - 100), (NOW - 900, NOW - 200), true), // Our clock is far ahead.
            ((NOW - 900, NOW - 200), (NOW - 900, NOW - 200), false),
            ((NOW + 9_000, NOW + 9_900), (NOW + 8_000, NOW + 8_900), true), // Our clock is far behind.
        ];
        for (given, kept, expected) in rows {
            let found = check_better(validity(given), validity(kept), NOW);
            assert_eq!(found.is_ok(), expected, "{given:?} {kept:?}: {found:?}");
        }
    }
}
