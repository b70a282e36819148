//! Where the running palantir is spoken to, and with which token.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::reach::Reach;
use crate::base::limits::default;
use crate::tls::{Alpn, PairFiles, TlsClientSettings};

/// The variable that names the address of the API, in the place of the configuration: see [`Reach::parse`].
const ADDR_VARIABLE: &str = "PALANTIR_ADMIN";
/// Holds the token instead of the file that the configuration names.
const TOKEN_VARIABLE: &str = "PALANTIR_TOKEN";
/// The variable that permits sending the token in clear text to another machine.
const CLEARTEXT_VARIABLE: &str = "PALANTIR_CLEARTEXT_TOKEN";
/// Name the authorities of palantir's certificate (else those of this machine), a certificate of ours with its key, and
/// whose certificate is expected (else that of the address). With any of them TLS is spoken.
const TLS_VARIABLES: [&str; 4] = [
    "PALANTIR_CA",
    "PALANTIR_CERT",
    "PALANTIR_KEY",
    "PALANTIR_NAME",
];

/// An address and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminTarget {
    pub addr: Reach,
    pub token: Option<String>,
    /// `None`: in cleartext.
    pub tls: Option<AdminTls>,
}

/// The needs of a TLS handshake with the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminTls {
    pub settings: TlsClientSettings,
    pub name: ServerName<'static>,
}

/// The place that the environment or the configuration's `[admin]` names. The rest of the file may be full of mistakes:
/// that is when one wants to look at what runs, or go back. Errors: a sentence on what is missing.
pub(super) fn find(config: &Path) -> Result<AdminTarget, String> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let target = find_by(config, variable)?;
    let is_safe =
        target.token.is_none() || target.tls.is_some() || target.addr.is_on_this_machine();
    if is_safe || variable(CLEARTEXT_VARIABLE).is_some() {
        Ok(target)
    } else {
        Err(format!(
            "the token would be sent to {} in clear text: if the API there speaks TLS, say https:// in \
             ${ADDR_VARIABLE}; if it is to be sent all the same, set ${CLEARTEXT_VARIABLE}=1",
            target.addr
        ))
    }
}

fn find_by(
    config: &Path,
    variable: impl Fn(&str) -> Option<String> + Copy,
) -> Result<AdminTarget, String> {
    let token = variable(TOKEN_VARIABLE).map(|token| checked(token, TOKEN_VARIABLE));
    let (addr, token) = (variable(ADDR_VARIABLE), token.transpose()?);
    if let Some(addr) = addr {
        let parsed = Reach::parse(&addr).map_err(|error| format!("${ADDR_VARIABLE}: {error}"))?;
        let (addr, says_tls) = parsed;
        let is_tls = says_tls || TLS_VARIABLES.iter().any(|name| variable(name).is_some());
        let tls = is_tls.then(|| security(&addr, variable)).transpose()?;
        let token = match token {
            Some(token) => Some(token),
            None => token_named_in(config)?,
        };
        return Ok(AdminTarget { addr, token, tls });
    }
    let cannot = |error: &dyn std::fmt::Display| {
        let path = config.display();
        format!(
            "{path} does not tell where palantir is to be reached: {error}; ${ADDR_VARIABLE} may name it too"
        )
    };
    let text = fs::read_to_string(config).map_err(|error| cannot(&error))?;
    let section = read_section(&text).map_err(|error| cannot(&error))?;
    let token = match (token, section.token_file) {
        (Some(token), _) => Some(token),
        (None, Some(path)) => Some(read_token(&path)?),
        (None, None) => None,
    };
    let addr = section.addr;
    let tls = section.has_tls.then(|| security(&addr, variable));
    let tls = tls.transpose()?;
    Ok(AdminTarget { addr, token, tls })
}

/// The token in the file that the configuration names, if there is a configuration and it names a file. Errors: the
/// file has no token.
fn token_named_in(config: &Path) -> Result<Option<String>, String> {
    let section = fs::read_to_string(config).ok();
    let section = section.and_then(|text| read_section(&text).ok());
    let token_file = section.and_then(|section| section.token_file);
    token_file.map(|path| read_token(&path)).transpose()
}

/// The names of authorities, of a certificate of ours, and of palantir, as the environment gives them.
fn security(addr: &Reach, variable: impl Fn(&str) -> Option<String>) -> Result<AdminTls, String> {
    let [ca, cert, key, name] = TLS_VARIABLES.map(variable);
    let pair = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(PairFiles {
            cert: cert.into(),
            key: key.into(),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        }),
        _ => return Err("$PALANTIR_CERT and $PALANTIR_KEY need each other".to_owned()),
    };
    let name = name.unwrap_or_else(|| addr.host().to_owned());
    let cannot = |_| format!("$PALANTIR_NAME: {name:?} is neither a host name nor an address");
    Ok(AdminTls {
        name: ServerName::try_from(name.clone()).map_err(cannot)?,
        settings: TlsClientSettings {
            ca: ca.map(PathBuf::from),
            pair,
            verify: true,
            alpn: Alpn::Http1,
        },
    })
}

/// The part of `[admin]` that matters for finding the management API.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    addr: Reach,
    token_file: Option<PathBuf>,
    has_tls: bool,
}

fn read_section(text: &str) -> Result<Section, String> {
    let document: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("the file is not TOML: {}", error.message()))?;
    let section = document
        .get("admin")
        .and_then(toml::Value::as_table)
        .ok_or("the file has no [admin] section")?;
    let key = |name: &str| section.get(name).and_then(toml::Value::as_str);
    let addr = key("listen_addr").unwrap_or(default::ADMIN_ADDR);
    Ok(Section {
        addr: Reach::parse(addr)
            .map_err(|error| format!("admin.listen_addr: {error}"))?
            .0,
        token_file: key("token_file").map(PathBuf::from),
        has_tls: section.contains_key("tls"),
    })
}

fn read_token(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        format!("the token cannot be read from {path}: {error}; ${TOKEN_VARIABLE} may hold it too")
    })?;
    checked(text.trim().to_owned(), &path.display().to_string())
}

/// A token as it can stand in a field (RFC 6750 section 2.1).
fn checked(token: String, origin: &str) -> Result<String, String> {
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(format!(
            "{origin} holds no token: one word of visible ASCII characters"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_alone_must_be_right() {
        let tcp = |addr: &str| Reach::parse(addr).unwrap().0;
        let rows = [
            ("[admin]", tcp("127.0.0.1:8687"), None, false),
            (
                "workers = 'many'\n[admin]\nlisten_addr = '[::]:9'\ntoken_file = '/t'",
                tcp("[::1]:9"),
                Some("/t"),
                false,
            ),
            (
                "[admin]\nlisten_addr = '0.0.0.0:9'\ntls = {}",
                tcp("127.0.0.1:9"),
                None,
                true,
            ),
            (
                "[admin]\nlisten_addr = 'unix:/run/admin.sock'",
                Reach::Unix("/run/admin.sock".into()),
                None,
                false,
            ),
        ];
        for (text, addr, token_file, has_tls) in rows {
            let section = Section {
                addr,
                token_file: token_file.map(PathBuf::from),
                has_tls,
            };
            assert_eq!(read_section(text), Ok(section), "{text}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        assert!(checked("a-B_9.~+/=".to_owned(), "here").is_ok());
        for text in ["", "a b", "a\nb", "é"] {
            assert!(checked(text.to_owned(), "here").is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let rows = [
            ("", "no [admin]"),
            ("admin = 1", "no [admin]"),
            ("[admin", "not TOML"),
            ("[admin]\nlisten_addr = 'x'", "admin.listen_addr: \"x\""),
        ];
        for (text, words) in rows {
            let error = read_section(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
