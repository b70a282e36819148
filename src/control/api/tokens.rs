//! The two bearer tokens (RFC 6750) of the API: one that may change things, one that may only read.

use std::path::Path;

use subtle::ConstantTimeEq;

use crate::base::{file, limits};
use crate::config::is_file_name;
use crate::snapshot::Admin;

/// The right of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// The request is refused.
    Nothing,
    /// The request may read.
    Read,
    /// The request may read and change.
    Change,
}

/// The tokens in force. They are read once, at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    change: Option<String>,
    read: Option<String>,
}

impl Tokens {
    /// Reads the files that the configuration names. Errors: which file is not fit and why.
    pub fn read(admin: &Admin) -> Result<Tokens, String> {
        let read = |path: &Option<_>| path.as_deref().map(read_token).transpose();
        let tokens = Tokens {
            change: read(&admin.token_file)?,
            read: read(&admin.read_token_file)?,
        };
        if tokens.change.is_some() && tokens.change == tokens.read {
            Err("token_file and read_token_file hold the same token".to_owned())
        } else {
            Ok(tokens)
        }
    }

    /// Whether a token is asked for at all.
    pub fn are_needed(&self) -> bool {
        self.change.is_some()
    }

    /// The right that this `Authorization` gives. How long the comparison takes tells nothing of a token but its
    /// length.
    pub fn right_of(&self, authorization: Option<&[u8]>) -> Right {
        debug_assert!(
            self.read.is_none() || self.are_needed(),
            "changing takes no less than reading"
        );
        let Some(change) = &self.change else {
            return Right::Change;
        };
        let Some(offered) = authorization.and_then(bearer) else {
            return Right::Nothing;
        };
        let is = |token: &str| bool::from(token.as_bytes().ct_eq(offered));
        let may_read = self.read.as_deref().is_some_and(is);
        match (is(change), may_read) {
            (true, _) => Right::Change,
            (false, true) => Right::Read,
            (false, false) => Right::Nothing,
        }
    }
}

/// The token behind `Bearer`; the scheme's name is compared without regard to case (RFC 9110, section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn read_token(path: &Path) -> Result<String, String> {
    let cannot = |why: &str| format!("token file {}: {why}", path.display());
    let bytes = file::read(path, limits::TOKEN_FILE_BYTES);
    let bytes = bytes.map_err(|error| match path.to_str() {
        Some(name) if is_file_name(name) => cannot(&error.to_string()),
        // Somebody may have written the token itself, which messages do not repeat.
        _ => format!(
            "the token file cannot be read: {error}; the setting names a file, and is not the token itself"
        ),
    })?;
    // Bytes that are no UTF-8 are no ASCII either, and are refused for that reason.
    let text = String::from_utf8_lossy(&bytes);
    let token = text.trim();
    if !is_token(token) {
        let (least, most) = (limits::TOKEN_BYTES_LEAST, limits::TOKEN_BYTES);
        return Err(cannot(&format!(
            "must hold one token of {least} to {most} visible ASCII characters"
        )));
    }
    Ok(token.to_owned())
}

fn is_token(text: &str) -> bool {
    let bytes = limits::TOKEN_BYTES_LEAST..=limits::TOKEN_BYTES;
    bytes.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
impl Tokens {
    /// Tokens for tests.
    pub fn of(change: Option<&str>, read: Option<&str>) -> Tokens {
        Tokens {
            change: change.map(str::to_owned),
            read: read.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rights_table() {
        let open = Tokens::default();
        let one = Tokens::of(Some("secret-secret-1"), None);
        let both = Tokens::of(Some("secret-secret-1"), Some("secret-secret-2"));
        let rows: [(&Tokens, Option<&str>, Right); 12] = [
            (&open, None, Right::Change),
            (&open, Some("Bearer x"), Right::Change),
            (&one, None, Right::Nothing),
            (&one, Some("Bearer secret-secret-1"), Right::Change),
            (&one, Some("bearer  secret-secret-1 "), Right::Change),
            (&one, Some("Bearer secret-secret-2"), Right::Nothing),
            (&one, Some("Bearer secret-secret-"), Right::Nothing),
            (&one, Some("Bearer "), Right::Nothing),
            (&one, Some("Basic secret-secret-1"), Right::Nothing),
            (&one, Some("secret-secret-1"), Right::Nothing),
            (&both, Some("Bearer secret-secret-2"), Right::Read),
            (&both, Some("Bearer secret-secret-1"), Right::Change),
        ];
        for (tokens, authorization, right) in rows {
            let bytes = authorization.map(str::as_bytes);
            assert_eq!(
                tokens.right_of(bytes),
                right,
                "{authorization:?} for {tokens:?}"
            );
        }
    }

    #[test]
    fn files_must_hold_a_token() {
        let path = std::env::temp_dir().join(format!("palantir-token-{}", std::process::id()));
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert_eq!(
            read("0123456789abcdef\n").as_deref(),
            Ok("0123456789abcdef")
        );
        for text in ["", "\n", "short", "0123456789 abcdef", "0123456789abcdéf"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        let absent = read_token(&path).unwrap_err();
        assert!(absent.contains(path.to_str().unwrap()), "{absent}");
        for token in [
            "0123456789abcdef",
            "/0123456789abcdef",
            &"0123456789abcdef".repeat(20),
        ] {
            let inline = read_token(Path::new(token)).unwrap_err();
            assert!(!inline.contains("0123456789abcdef"), "{inline}");
        }
    }
}
