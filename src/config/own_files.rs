//! The files that palantir itself reads and writes, and the Unix sockets that it listens on. No file that palantir
//! writes may be the same as another one, and only palantir's user may be able to read a file with a secret.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::address::BackendTarget;
use super::checks::OWN_LISTENER;
use super::document;
use super::notes::{Notes, Position};
use super::settings::Settings;
use super::tls_files;
use crate::base::addresses::ListenAddr;
use crate::base::file;

/// A file that the configuration names.
struct OwnFile<'s> {
    path: Cow<'s, Path>,
    position: Position,
    /// Whether palantir writes the file, so that it may be no other file at the same time.
    is_written: bool,
    is_secret: bool,
    role: Role,
}

/// The role of a file for the setting that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The setting names the file.
    Named,
    /// The named file is first written to this one.
    New,
    /// The process that may write the named file holds a lock on this one, and writes its process id into it.
    Lock,
}

/// The identity of a file: its path, or its device and inode.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// The whole path, without links.
    Path(PathBuf),
    /// Device and inode.
    Inode(u64, u64),
}

/// Notes the pairs of settings that name the same file although palantir writes one of them. `path` is the path of the
/// configuration; empty if the configuration is not in a file.
pub(super) fn check(path: &Path, settings: &Settings, notes: &Notes<'_>) {
    check_backends(settings, notes);
    let mut known: HashMap<Identity, Known> = HashMap::new();
    if !path.as_os_str().is_empty() {
        let own = identities(path).into_iter();
        known.extend(own.map(|identity| (identity, Known::default())));
    }
    let folder = settings.acme.as_ref().map(|acme| acme.settings.folder());
    let folder = folder.map(|folder| whole(&folder));
    let mut files = named(settings, notes);
    files.extend(of_certificates(settings));
    files.extend(sockets(settings, notes));
    files.extend(besides(&files));
    for own in files {
        let identities = identities(&own.path);
        let others = identities.iter().filter_map(|identity| known.get(identity));
        let clash = others
            .filter(|other| other.is_written || own.is_written)
            .map(|other| in_words(&own, other))
            .next();
        let is_in_folder = own.is_written
            && own.role == Role::Named
            && folder.is_some()
            && whole(&own.path).parent() == folder.as_deref();
        if let Some(what) = clash {
            notes.add(&own.position, what);
        } else if is_in_folder {
            notes.add(
                &own.position,
                "is in the folder where the certificates of acme.state_dir are kept",
            );
        } else {
            for identity in identities {
                known.entry(identity).or_insert(Known::of(&own));
            }
        }
    }
}

/// A file that was checked already. By default, the configuration file itself.
#[derive(Default)]
struct Known {
    key: String,
    is_written: bool,
}

impl Known {
    fn of(own: &OwnFile<'_>) -> Known {
        Known {
            key: own.position.key.clone(),
            is_written: own.is_written,
        }
    }
}

/// The mistake if both settings name the same file. Files beside others are looked at last.
fn in_words(own: &OwnFile<'_>, other: &Known) -> String {
    let name = own.path.display();
    let key = match other.key.as_str() {
        "" => "the configuration file",
        key => key,
    };
    let what = match own.role {
        Role::Named if other.key.is_empty() => {
            return "is the configuration file itself".to_owned();
        }
        Role::Named => format!("is the same file as {key}"),
        Role::New => format!("is first written to {name}, which is the file of {key}"),
        Role::Lock => format!("has its lock in {name}, which is the file of {key}"),
    };
    format!("{what}: one would overwrite the other")
}

/// Files beside others: those that a file is first written to which is replaced as a whole, and the lock of the state
/// file.
fn besides<'s>(files: &[OwnFile<'s>]) -> Vec<OwnFile<'s>> {
    let beside = |own: &OwnFile<'s>, role: Role| OwnFile {
        path: match role {
            Role::Lock => file::lock_of(&whole(&own.path)).into(),
            Role::Named | Role::New => file::beside(&whole(&own.path)).into(),
        },
        position: own.position.clone(),
        is_written: true,
        is_secret: false,
        role,
    };
    let of_file = |own: &OwnFile<'s>| match own.position.key.as_str() {
        "admin.state_file" => vec![beside(own, Role::New), beside(own, Role::Lock)],
        "tls.ticket_key_file" => vec![beside(own, Role::New)],
        _ => Vec::new(),
    };
    files.iter().flat_map(of_file).collect()
}

/// The files of Unix sockets that palantir listens on, each once: another check notes that two listeners have the same
/// address.
fn sockets<'s>(settings: &'s Settings, notes: &Notes<'_>) -> Vec<OwnFile<'s>> {
    let listeners = settings.listeners.iter();
    let listened = listeners.map(|listener| (&listener.addr.value, listener.addr.position.clone()));
    let admin_position = document::find(notes, &[&["admin", "listen_addr"]])
        .pop()
        .flatten();
    let admin = settings.admin.as_ref().map(|admin| &admin.listen_addr);
    let mut seen = HashSet::new();
    let all = listened.chain(admin.zip(admin_position));
    let paths = all.filter_map(|(addr, position)| match addr {
        ListenAddr::Unix(path) => Some((path.as_path(), position)),
        ListenAddr::Tcp(_) => None,
    });
    let paths = paths.filter(|(path, _)| seen.insert(*path));
    let files = paths.map(|(path, position)| OwnFile {
        path: path.into(),
        position,
        is_written: true,
        is_secret: false,
        role: Role::Named,
    });
    files.collect()
}

/// Notes the secrets that everybody may read.
pub(super) fn warn(settings: &Settings, notes: &Notes<'_>) {
    let mut files = named(settings, notes);
    files.retain(|own| own.is_secret && file::is_public(&own.path));
    for own in files {
        let what = "everybody on this machine may read it; take that right away (chmod 600)";
        notes.add(&own.position, what);
    }
}

/// The files that do not belong to a certificate.
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
    let positions = document::find(notes, &rows.map(|(way, _, _)| way));
    let rows = rows.into_iter().zip(positions);
    rows.filter_map(|((_, path, (is_written, is_secret)), position)| {
        Some(OwnFile {
            path: path?.into(),
            position: position?,
            is_written,
            is_secret,
            role: Role::Named,
        })
    })
    .collect()
}

fn of_certificates(settings: &Settings) -> impl Iterator<Item = OwnFile<'_>> {
    tls_files::named(settings).map(|(path, position)| OwnFile {
        path: path.into(),
        position: position.clone(),
        is_written: false,
        is_secret: true,
        role: Role::Named,
    })
}

/// Refuses backends that are sockets on which palantir itself listens, and whose paths are written in another way.
fn check_backends(settings: &Settings, notes: &Notes<'_>) {
    let listeners = settings.listeners.iter();
    let listened = listeners.filter_map(|listener| match &*listener.addr {
        ListenAddr::Unix(path) => Some((path, whole(path))),
        ListenAddr::Tcp(_) => None,
    });
    let listened: Vec<_> = listened.collect();
    if listened.is_empty() {
        return;
    }
    for backend in settings.all_pools().flat_map(|pool| &pool.backends) {
        if let BackendTarget::Unix(path) = &backend.address.target
            && listened.iter().all(|(as_written, _)| *as_written != path)
            && let place = whole(path)
            && listened.iter().any(|(_, listened)| *listened == place)
        {
            notes.add(&backend.position, OWN_LISTENER);
        }
    }
}

/// The identities of a file: its path, and its device and inode if it exists.
fn identities(path: &Path) -> Vec<Identity> {
    let path = whole(path);
    let found = fs::metadata(&path).ok();
    let inode = found.map(|found| Identity::Inode(found.dev(), found.ino()));
    std::iter::once(Identity::Path(path)).chain(inode).collect()
}

/// The path of a file without links, even if the file does not exist yet. If its folder does not exist, the path as it
/// is written.
fn whole(path: &Path) -> PathBuf {
    let path = env::current_dir().unwrap_or_default().join(path);
    let path = file::behind_links(&path).unwrap_or(path);
    let known = fs::canonicalize(&path).ok().or_else(|| {
        let folder = fs::canonicalize(path.parent()?).ok()?;
        Some(folder.join(path.file_name()?))
    });
    known.unwrap_or(path)
}
