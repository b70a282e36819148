//! What a start opens besides the configuration and the files of TLS, which the configuration's own check reads: one list
//! for the start and for `palantir check`, so that the one succeeds where the other does. Nothing is made or changed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::access_log;
use super::api::Tokens;
use super::desk::state_file;
use crate::base::limits;
use crate::config::Config;
use crate::snapshot::ListenAddr;
use crate::tls::check_ticket_file;

/// Why a start with this configuration would fail, a sentence for each file; empty if it would not, as far as files can
/// tell. Blocks as long as a disk does.
pub fn complaints(config: &Config) -> Vec<String> {
    let settings = &config.settings;
    let mut found = Vec::new();
    let mut note = |key: &str, looked: Result<(), String>| {
        found.extend(looked.err().map(|why| format!("{key}: {why}")));
    };
    if let Some(admin) = &settings.admin {
        note("admin", Tokens::read(admin).map(drop));
        if let Some(path) = &admin.state_file {
            let loaded = state_file::load(path).map(drop);
            note("admin.state_file", loaded.and_then(|()| may_replace(path)));
        }
    }
    if let Some(path) = &settings.ticket_key_file {
        let loaded = check_ticket_file(path);
        note(
            "tls.ticket_key_file",
            loaded.and_then(|()| may_replace(path)),
        );
    }
    if let Some(log) = &settings.access_log {
        let (path, patience) = (log.path.clone(), limits::ACCESS_LOG_OPEN_MILLIS);
        let looked = access_log::in_time(Duration::from_millis(patience), move || {
            Ok(may_append(&path))
        });
        let looked = looked.map_err(|error| error.to_string());
        note("access log", looked.and_then(|looked| looked));
    }
    if let Some(acme) = &settings.acme {
        note("acme.state_dir", may_fill(&acme.settings.state_dir));
    }
    found
}

/// What may keep a start from listening, unless its sockets are passed to it: folders of Unix sockets, and ports that not
/// everybody may listen on.
pub fn warnings(config: &Config) -> Vec<String> {
    let settings = &config.settings;
    let listeners = settings.listeners.iter();
    let admin = settings.admin.as_ref().map(|admin| &admin.listen_addr);
    let addrs = listeners.map(|listener| &*listener.addr).chain(admin);
    let test_servers = settings.test_servers.iter().map(|addr| addr.port());
    let mut found = Vec::new();
    let (first_port, is_privileged) = (first_open_port(), is_privileged());
    let mut warn_of_port = |port: u16| {
        if port < first_port && !is_privileged {
            let what = "only root and who has CAP_NET_BIND_SERVICE may listen on it";
            found.push(format!("port {port}: {what}"));
        }
    };
    let mut folders = Vec::new();
    for addr in addrs {
        match addr {
            ListenAddr::Tcp(addr) => warn_of_port(addr.port()),
            ListenAddr::Unix(path) => folders.extend(may_make(path).err()),
        }
    }
    test_servers.for_each(warn_of_port);
    found.extend(folders);
    found
}

/// A file is replaced through a new one beside it, behind links.
fn may_replace(path: &Path) -> Result<(), String> {
    let file = fs::canonicalize(path);
    may_make(file.as_deref().unwrap_or(path))
}

fn may_append(path: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => access_log::open(path).map(drop).map_err(cannot),
        Ok(metadata) if metadata.is_dir() => Err(cannot(ErrorKind::IsADirectory.into())),
        // To open a pipe would tell its reader something.
        Ok(_) => may(path, Access::WRITE_OK),
        Err(error) if error.kind() == ErrorKind::NotFound => may_make(path),
        Err(error) => Err(cannot(error)),
    }
}

/// A folder that is not there is made, with those on the way to it.
fn may_fill(folder: &Path) -> Result<(), String> {
    let mut there = folder
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty());
    let there = there.find(|folder| folder.exists());
    may_write_in(there.unwrap_or(Path::new(".")))
}

/// Whether a file can be made at `path`.
fn may_make(path: &Path) -> Result<(), String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    may_write_in(folder.unwrap_or(Path::new(".")))
}

fn may_write_in(folder: &Path) -> Result<(), String> {
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => Err(format!("{} is no folder", folder.display())),
        _ => may(folder, Access::WRITE_OK | Access::EXEC_OK),
    }
}

fn may(path: &Path, access: Access) -> Result<(), String> {
    let looked = accessat(CWD, path, access, AtFlags::EACCESS);
    looked.map_err(|error| format!("{}: {}", path.display(), io::Error::from(error)))
}

/// The lowest port that everybody may listen on.
fn first_open_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let number = text.ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or(1024)
}

/// Whether this process may listen on every port (capabilities(7)).
fn is_privileged() -> bool {
    const NET_BIND_SERVICE: u64 = 1 << 10;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let effective = lines.find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|set| set & NET_BIND_SERVICE != 0)
}
