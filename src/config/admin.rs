//! `[admin]`: the address of the management API, and who may use it.

use super::address;
use super::document::DocumentTable;
use super::socket_access;
use super::tls::{self, ServerTlsSettings};
use crate::base::addresses::ListenAddr;
use crate::snapshot::{Admin, ClientCertificate};

/// Reads the section, and the TLS that is spoken there; `None` if its address was mistaken.
pub(super) fn read(table: &mut DocumentTable<'_>) -> Option<(Admin, Option<ServerTlsSettings>)> {
    let has_token = table.has("token_file");
    let tls = table.get("tls", |item| {
        let tls = tls::read_server(item, false)?;
        if let Some((_, fact)) = tls.identity.first() {
            let mut keys = tls::IDENTITY_KEYS.iter();
            let key = keys.find(|(_, known)| known == fact).map_or("", |(key, _)| key);
            return item.wrong(format!("{key} means nothing here: the log names the client"));
        }
        if !tls.automatic.is_empty() {
            return item.wrong("certificates are ordered for listeners alone, which can be asked for proof: name files");
        }
        Some(tls)
    });
    let wants_certificate = tls
        .as_ref()
        .is_some_and(|tls| tls.client_certificate() == ClientCertificate::Required);
    let addr = |text: &str| {
        let addr = address::listen_addr(text)?;
        if may_be_open(&addr) || has_token || wants_certificate {
            return Ok(addr);
        }
        Err(
            "is not a loopback address: others may reach it, so it needs a token_file, or tls with a client_ca"
                .to_owned(),
        )
    };
    let listen_addr = table
        .get("listen_addr", |item| Some(item.parsed(addr)))
        .unwrap_or_else(|| address::listen_addr(table.default_text("listen_addr")).ok());
    let access = socket_access::read(table, listen_addr.as_ref());
    if !has_token && table.has("read_token_file") {
        table.lacks("has a read_token_file, so it needs a token_file: changing must not take less than reading");
    }
    let admin = Admin {
        token_file: table.get("token_file", address::file_path),
        read_token_file: table.get("read_token_file", address::file_path),
        state_file: table.get("state_file", address::file_path),
        listen_addr: listen_addr?,
        access,
        tls: tls.as_ref().map(|tls| tls.settings.clone()),
    };
    Some((admin, tls))
}

/// Whether the address can be reached from this machine alone.
fn may_be_open(addr: &ListenAddr) -> bool {
    match addr {
        ListenAddr::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
        ListenAddr::Unix(_) => true,
    }
}
