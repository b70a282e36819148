//! Checks of the files and sockets that a start opens, besides the configuration and the files of TLS, which the check
//! of the configuration reads. The start and `palantir check` use the same list, so that one succeeds where the other
//! does. The checks create and change nothing.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat};

use super::access_log;
use super::api::Tokens;
use super::config_store::state_file;
use super::config_store::state_lock::StateLock;
use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::{file, limits};
use crate::config::Config;
use crate::net::check_address;
use crate::tls::check_ticket_file;

/// The reasons why a start with this configuration would fail, a sentence for each file; empty if files give no reason.
/// Blocks as long as a disk does.
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
            let looked = loaded.and_then(|()| may_replace(path));
            note(
                "admin.state_file",
                looked.and_then(|()| StateLock::check(path)),
            );
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

/// Reasons that may keep a start by another user from listening, unless sockets are passed to the process: ports that
/// not everybody may listen on.
pub fn warnings(config: &Config) -> Vec<String> {
    let (first_port, is_privileged) = (first_open_port(), has_capability(NET_BIND_SERVICE));
    let places = listen_places(config);
    let ports = places.iter().filter_map(|(addr, _)| match addr {
        ListenAddr::Tcp(addr) => Some(addr.port()),
        ListenAddr::Unix(_) => None,
    });
    let closed = ports.filter(|port| *port < first_port && !is_privileged);
    let what = "only root and processes with CAP_NET_BIND_SERVICE may listen on it";
    closed.map(|port| format!("port {port}: {what}")).collect()
}

/// Reasons that keep a start from listening, unless sockets are passed to the process: an address that this machine
/// does not have, a file in the place of a Unix socket, and owners that this user may not give to the socket.
pub fn obstacles(config: &Config) -> Vec<String> {
    let places = listen_places(config).into_iter();
    let looked = places.map(|(addr, access)| {
        let looked = match &addr {
            ListenAddr::Tcp(addr) => check_address(*addr).map_err(|error| error.to_string()),
            ListenAddr::Unix(path) => may_listen(path, access),
        };
        looked.map_err(|why| format!("cannot listen on {addr}: {why}"))
    });
    looked.filter_map(Result::err).collect()
}

/// Every address that a start listens on.
fn listen_places(config: &Config) -> Vec<(ListenAddr, SocketAccess)> {
    let settings = &config.settings;
    let listeners = settings.listeners.iter();
    let listeners = listeners.map(|listener| ((*listener.addr).clone(), listener.access));
    let admin = settings.admin.iter();
    let admin = admin.map(|admin| (admin.listen_addr.clone(), admin.access));
    let of_all = SocketAccess::of_mode(0);
    let test_servers = settings.test_servers.iter();
    let test_servers = test_servers.map(|addr| (ListenAddr::Tcp(**addr), of_all));
    listeners.chain(admin).chain(test_servers).collect()
}

/// Another process's socket may be gone by the start; any other file will not be.
fn may_listen(path: &Path, access: SocketAccess) -> Result<(), String> {
    may_make(path)?;
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            return Err("address in use: the file there is no socket".to_owned());
        }
        _ => {}
    }
    let groups = rustix::process::getgroups().unwrap_or_default();
    let (own, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let has_group = |group: u32| {
        let mut groups = groups.iter().chain([&own_group]);
        groups.any(|one| one.as_raw() == group)
    };
    let is_own = access.owner.is_none_or(|owner| owner == own.as_raw());
    if has_capability(CHOWN) || is_own && access.group.is_none_or(has_group) {
        Ok(())
    } else {
        Err(format!(
            "owner and group cannot be set: {}",
            io::Error::from_raw_os_error(libc::EPERM)
        ))
    }
}

/// A file is replaced through a new one beside it, in the folder where links lead.
fn may_replace(path: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    let path = file::behind_links(path).map_err(cannot)?;
    let new = file::beside(&path);
    if new.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        let is_folder = io::Error::from_raw_os_error(libc::EISDIR);
        return Err(format!("{}: {is_folder}", new.display()));
    }
    may_make(&path)
}

fn may_append(path: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    match access_log::look(path) {
        Ok(Some(FileType::RegularFile)) => access_log::open(path).map(drop).map_err(cannot),
        // Opening a pipe would be noticed by its reader.
        Ok(Some(_)) => may(path, Access::WRITE_OK),
        Ok(None) => Ok(()),
        Err(error) => {
            // The message names the folder itself if it is missing or not readable.
            let is_open = fs::metadata(path).is_ok();
            let folder = may_make(path).err().filter(|_| !is_open);
            Err(folder.unwrap_or_else(|| cannot(error)))
        }
    }
}

/// A start creates a missing folder, with those on the way to it.
fn may_fill(folder: &Path) -> Result<(), String> {
    let mut there = folder
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty());
    let there = there.find(|folder| folder.exists());
    may_write_in(there.unwrap_or(Path::new(".")))
}

/// Whether a file can be created at `path`.
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

/// Numbers of capabilities (capabilities(7)).
const CHOWN: u64 = 1;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Whether this process has the capability of this number.
fn has_capability(bit: u64) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let effective = lines.find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|set| set & bit != 0)
}
