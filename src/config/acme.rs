//! `[acme]`: the authority that certificates are ordered from (RFC 8555), and where they are kept.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;

use super::address;
use super::declared::ChallengeKind;
use super::document::{DocumentTable, Item};
use super::notes::{Notes, Position};
use crate::base::file;
use crate::base::limits;
use crate::tls::{PairFiles, TlsFault, TlsStore};

/// `[acme]` as written.
#[derive(Clone, Debug)]
pub struct Acme {
    pub(super) position: Position,
    /// The settings of the section.
    pub settings: AcmeSettings,
    pub(super) positions: Positions,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Positions {
    state_dir: Position,
    pub(super) challenge: Position,
    ca: Position,
    hmac_key_file: Position,
}

/// The settings of `[acme]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The folder of the account and the certificates, those of each authority in a folder of their own.
    pub state_dir: PathBuf,
    /// The URL under which the authority says what it offers.
    pub directory: String,
    /// Addresses that the authority may write to: `mailto:` URLs.
    pub contacts: Vec<String>,
    /// The file of the authorities that vouch for the directory's own certificate; `None`: those of this machine.
    pub ca: Option<PathBuf>,
    /// The proof to the authority that a name belongs to this server.
    pub challenge: ChallengeKind,
    /// The external account; `None`: the authority wants none.
    pub eab: Option<ExternalAccount>,
}

/// The binding of the account to a customer of the authority (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Identifier of the key, as the authority gave it.
    pub key_id: String,
    /// Holds the key, in base64url.
    pub hmac_key_file: PathBuf,
}

impl AcmeSettings {
    /// The folder of everything that this authority gave.
    pub fn folder(&self) -> PathBuf {
        let (_, rest) = self.directory.split_once("://").unwrap_or_default();
        let is_plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-');
        let chars = rest
            .chars()
            .map(|char| if is_plain(&char) { char } else { '-' });
        self.state_dir.join(chars.collect::<String>())
    }

    /// The file with the key and the certificate for a name; perhaps not there yet.
    pub fn pair(&self, name: &str) -> PairFiles {
        PairFiles::in_one_for(self.folder().join(format!("{name}.pem")), name)
    }
}

impl ExternalAccount {
    /// The key. Errors: what is wrong with the file.
    pub fn hmac_key(&self) -> Result<Vec<u8>, TlsFault> {
        let bytes = file::read(&self.hmac_key_file, limits::TLS_FILE_BYTES);
        let bytes = bytes.map_err(|error| TlsFault {
            text: format!("cannot be read: {error}"),
            may_pass: file::may_pass(&error),
        })?;
        let text = String::from_utf8_lossy(&bytes);
        // Padding says nothing, and some authorities write it.
        match URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')) {
            Ok(key) if !key.is_empty() => Ok(key),
            _ => Err(TlsFault::lasting("holds no key in base64url")),
        }
    }
}

/// Reads the section.
pub(super) fn read(table: &mut DocumentTable<'_>) -> Acme {
    let mut positions = Positions::default();
    table.must("terms_of_service_agreed", |item| {
        if item.flag()? {
            return Some(());
        }
        item.wrong("must be true: the authority gives nothing to whoever does not agree")
    });
    let challenge = table.positioned_word("challenge");
    positions.challenge = challenge.position;
    let challenge = challenge.value;
    let settings = AcmeSettings {
        // A missing key was noted as a mistake already.
        state_dir: table
            .must("state_dir", |item| {
                read_file(item, &mut positions.state_dir)
            })
            .unwrap_or_default(),
        directory: table.parsed("directory", directory),
        contacts: table.list("contacts", |item| item.parsed(contact)),
        ca: table.get("ca", |item| read_file(item, &mut positions.ca)),
        challenge,
        eab: table
            .get("eab", |item| {
                item.table(|table| read_eab(table, &mut positions.hmac_key_file))
            })
            .flatten(),
    };
    let position = table.position().clone();
    Acme {
        position,
        settings,
        positions,
    }
}

fn read_eab(table: &mut DocumentTable<'_>, position: &mut Position) -> Option<ExternalAccount> {
    let key_id = table.must("key_id", |item| match item.text()? {
        "" => item.wrong("must not be empty"),
        text => Some(text.to_owned()),
    });
    let hmac_key_file = table.must("hmac_key_file", |item| read_file(item, position));
    Some(ExternalAccount {
        key_id: key_id?,
        hmac_key_file: hmac_key_file?,
    })
}

fn read_file(item: &Item<'_>, position: &mut Position) -> Option<PathBuf> {
    *position = item.positioned(()).position;
    address::file_path(item)
}

/// RFC 8555 section 6.1 wants HTTPS.
fn directory(text: &str) -> Result<String, String> {
    match text.parse::<Uri>() {
        Ok(uri)
            if uri
                .authority()
                .is_some_and(|host| host.as_str().contains('@')) =>
        {
            Err("must be a URL without a user".to_owned())
        }
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(text.to_owned()),
        _ => Err("must be a URL that begins with https://".to_owned()),
    }
}

fn contact(text: &str) -> Result<String, String> {
    let address = text
        .strip_prefix("mailto:")
        .and_then(|rest| rest.split_once('@'));
    match address {
        Some((who, at)) if !who.is_empty() && !at.is_empty() && text.is_ascii() => {
            Ok(text.to_owned())
        }
        _ => Err("must be an address such as \"mailto:ops@example.com\"".to_owned()),
    }
}

/// Notes which of its files cannot be used.
pub(super) fn check_files(acme: &Acme, tls_store: &mut TlsStore, notes: &Notes<'_>) {
    let Acme {
        settings,
        positions,
        ..
    } = acme;
    if let Some(ca) = &settings.ca
        && let Err(why) = tls_store.roots(ca)
    {
        notes.add_fault(&positions.ca, why);
    }
    if let Some(eab) = &settings.eab
        && let Err(why) = eab.hmac_key()
    {
        notes.add_fault(&positions.hmac_key_file, why);
    }
    if is_something_else(&settings.state_dir) {
        notes.add(&positions.state_dir, "is no folder");
    }
}

/// Whether something other than a folder is there. A folder that is missing is made when it is needed.
fn is_something_else(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|metadata| !metadata.is_dir())
}
