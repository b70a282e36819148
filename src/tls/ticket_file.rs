//! Ticket keys in a file: one a line, newest first, as `seconds since 1970`, a blank, and the key in base64.

use std::io::ErrorKind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ticket_secret::{SECRET_BYTES, Secret};
use crate::base::{file, limits};

/// The keys of the file; none if there is no file yet. Errors: it cannot be read, or is not what [`save`] wrote.
pub(super) fn load(path: &Path) -> Result<Vec<Secret>, String> {
    let cannot = |why: String| format!("ticket key file {}: {why}", path.display());
    let bytes = match file::read(path, limits::TLS_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error.to_string())),
    };
    let text = String::from_utf8(bytes).map_err(|_| cannot("is no text".to_owned()))?;
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            let number = index + 1;
            read_line(line).ok_or_else(|| cannot(format!("line {number} holds no key")))
        })
        .collect()
}

/// Puts these in the place of what the file says, for its owner alone to read. Errors: it cannot be written.
pub(super) fn save(path: &Path, secrets: &[Secret]) -> Result<(), String> {
    let lines = secrets.iter().map(|secret| {
        let key = STANDARD.encode(secret.bytes);
        format!("{} {key}\n", secret.made)
    });
    let text: String = lines.collect();
    file::replace(path, text.as_bytes())
        .map_err(|error| format!("ticket key file {}: {error}", path.display()))
}

fn read_line(line: &str) -> Option<Secret> {
    let (made, key) = line.split_once(' ')?;
    let bytes: [u8; SECRET_BYTES] = STANDARD.decode(key).ok()?.try_into().ok()?;
    let made = made.parse().ok()?;
    Some(Secret { made, bytes })
}
