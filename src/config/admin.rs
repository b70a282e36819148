//! `[admin]`: where palantir itself is talked to.

use super::address;
use super::document::Table;
use crate::base::limits::default;
use crate::snapshot::{Admin, ListenAddr};

/// Reads the section; `None` if its address was mistaken.
pub(super) fn read(table: &mut Table<'_>) -> Option<Admin> {
    let has_token = table.has("token_file");
    let addr = |text: &str| {
        let addr = address::listen_addr(text)?;
        match may_be_open(&addr) || has_token {
            true => Ok(addr),
            false => Err(
                "is not a loopback address: others may reach it, so it needs a token_file"
                    .to_owned(),
            ),
        }
    };
    let listen_addr = table
        .get("listen_addr", |item| Some(item.parsed(addr)))
        .unwrap_or_else(|| address::listen_addr(default::ADMIN_ADDR).ok());
    if !has_token && table.has("read_token_file") {
        table.lacks("has a read_token_file, so it needs a token_file: changing must not take less than reading");
    }
    Some(Admin {
        token_file: table.get("token_file", address::file_path),
        read_token_file: table.get("read_token_file", address::file_path),
        state_file: table.get("state_file", address::file_path),
        listen_addr: listen_addr?,
    })
}

/// Whether the address can be reached from this machine alone.
fn may_be_open(addr: &ListenAddr) -> bool {
    match addr {
        ListenAddr::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
        ListenAddr::Unix(_) => true,
    }
}
