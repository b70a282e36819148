//! The files that palantir itself reads and writes: none that it writes may be another one, and what holds a secret is
//! nobody else's to read.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::document;
use super::notes::{Notes, Place};
use super::settings::Settings;
use super::tls_files;
use crate::base::file;
use crate::snapshot::ListenAddr;

/// A file that the configuration names.
struct OwnFile<'s> {
    path: &'s Path,
    place: Place,
    /// Palantir writes it, so that nothing else may stand there.
    is_written: bool,
    is_secret: bool,
}

/// The identity of a file: its path, or its device and inode.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    Path(PathBuf),
    Inode(u64, u64),
}

/// Notes which files are each other though palantir writes one of them. `path` is the configuration's own; empty if it
/// stands in no file.
pub(super) fn check(path: &Path, settings: &Settings, notes: &Notes<'_>) {
    let mut known: HashMap<Identity, (Place, bool)> = HashMap::new();
    if !path.as_os_str().is_empty() {
        let own = identities(path).into_iter();
        known.extend(own.map(|identity| (identity, (Place::default(), false))));
    }
    let mut files = named(settings, notes);
    files.extend(of_certificates(settings));
    for own in files {
        let identities = identities(own.path);
        match clash(&known, &identities, own.is_written) {
            Some("") => notes.add(&own.place, "is the configuration file itself"),
            Some(key) => notes.add(&own.place, is_same_as(key)),
            None => {
                for identity in identities {
                    let own = (own.place.clone(), own.is_written);
                    known.entry(identity).or_insert(own);
                }
            }
        }
    }
    for (path, place) in sockets(settings, notes) {
        if let Some(key) = clash(&known, &identities(path), true) {
            let key = if key.is_empty() {
                "the configuration"
            } else {
                key
            };
            notes.add(&place, is_same_as(key));
        }
    }
}

/// The key of a file with one of these identities, if that one or this one is written.
fn clash<'k>(
    known: &'k HashMap<Identity, (Place, bool)>,
    identities: &[Identity],
    is_written: bool,
) -> Option<&'k str> {
    let others = identities.iter().filter_map(|identity| known.get(identity));
    let mut clashes = others.filter(|(_, other_is_written)| *other_is_written || is_written);
    clashes.next().map(|(place, _)| place.key.as_str())
}

fn is_same_as(key: &str) -> String {
    format!("is the same file as {key}: one would overwrite the other")
}

/// The files of Unix sockets that are listened on.
fn sockets<'s>(settings: &'s Settings, notes: &Notes<'_>) -> Vec<(&'s Path, Place)> {
    let way: &[&str] = &["admin", "listen_addr"];
    let admin = settings.admin.as_ref().map(|admin| &admin.listen_addr);
    let admin = admin
        .into_iter()
        .zip(document::find(notes, &[way]).into_iter().flatten());
    let listeners = settings.listeners.iter();
    let listeners = listeners.map(|listener| (&*listener.addr, listener.addr.place.clone()));
    let paths = admin
        .chain(listeners)
        .filter_map(|(addr, place)| match addr {
            ListenAddr::Unix(path) => Some((path.as_path(), place)),
            ListenAddr::Tcp(_) => None,
        });
    paths.collect()
}

/// Notes which secrets everybody may read.
pub(super) fn warn(settings: &Settings, notes: &Notes<'_>) {
    let mut files = named(settings, notes);
    files.retain(|own| own.is_secret && file::is_public(own.path));
    for own in files {
        let what = "everybody on this machine may read it; take that right away (chmod 600)";
        notes.add(&own.place, what);
    }
}

/// The files that belong to no certificate.
fn named<'s>(settings: &'s Settings, notes: &Notes<'_>) -> Vec<OwnFile<'s>> {
    const WRITTEN: (bool, bool) = (true, false);
    const SECRET: (bool, bool) = (false, true);
    let admin = settings.admin.as_ref();
    let eab = settings
        .acme
        .as_ref()
        .and_then(|acme| acme.settings.eab.as_ref());
    let log = settings.access_log.as_ref();
    let state = admin.and_then(|admin| admin.state_file.as_deref());
    let token = admin.and_then(|admin| admin.token_file.as_deref());
    let read_token = admin.and_then(|admin| admin.read_token_file.as_deref());
    type Row<'s> = (&'static [&'static str], Option<&'s Path>, (bool, bool));
    let rows: [Row<'s>; 6] = [
        (
            &["access_log", "path"],
            log.map(|log| log.path.as_path()),
            WRITTEN,
        ),
        (
            &["tls", "ticket_key_file"],
            settings.ticket_key_file.as_deref(),
            (true, true),
        ),
        (&["admin", "state_file"], state, WRITTEN),
        (&["admin", "token_file"], token, SECRET),
        (&["admin", "read_token_file"], read_token, SECRET),
        (
            &["acme", "eab", "hmac_key_file"],
            eab.map(|eab| eab.hmac_key_file.as_path()),
            SECRET,
        ),
    ];
    let places = document::find(notes, &rows.map(|(way, _, _)| way));
    let rows = rows.into_iter().zip(places);
    rows.filter_map(|((_, path, (is_written, is_secret)), place)| {
        Some(OwnFile {
            path: path?,
            place: place?,
            is_written,
            is_secret,
        })
    })
    .collect()
}

fn of_certificates(settings: &Settings) -> impl Iterator<Item = OwnFile<'_>> {
    tls_files::named(settings).map(|(path, place)| OwnFile {
        path,
        place: place.clone(),
        is_written: false,
        is_secret: true,
    })
}

/// A file that is not there yet has none but its path; one of a folder that is not there, the path as it is written.
fn identities(path: &Path) -> Vec<Identity> {
    let path = env::current_dir().unwrap_or_default().join(path);
    let whole = fs::canonicalize(&path).ok().or_else(|| {
        let folder = fs::canonicalize(path.parent()?).ok()?;
        Some(folder.join(path.file_name()?))
    });
    let path = Identity::Path(whole.unwrap_or(path));
    let found = match &path {
        Identity::Path(path) => fs::metadata(path).ok(),
        Identity::Inode(..) => None,
    };
    let inode = found.map(|found| Identity::Inode(found.dev(), found.ino()));
    std::iter::once(path).chain(inode).collect()
}
