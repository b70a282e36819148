//! The settings `cookie_domain` and `cookie_path` of a route, which replace attributes of cookies.

use super::address;
use super::document::DocumentTable;
use crate::base::limits;

/// Reads `{ "from" = "to" }`. The function `right` checks both texts and is told whether a text is the `from`.
pub(super) fn read(
    table: &mut DocumentTable<'_>,
    key: &'static str,
    right: fn(&str, bool) -> Result<String, String>,
) -> Vec<(String, String)> {
    let entries = table.get(key, |item| item.entries());
    let mut edits = Vec::new();
    for (from, item) in entries.unwrap_or_default() {
        let from = match right(&from, true) {
            Ok(from) => Some(from),
            Err(wrong) => item.wrong(format!("{from:?} {wrong}")),
        };
        edits.extend(from.zip(item.parsed(|to| right(to, false))));
    }
    edits
}

/// A domain, with or without a dot in front. An empty text in the place of another domain takes the attribute out.
pub(super) fn domain(text: &str, is_from: bool) -> Result<String, String> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    match bare {
        "" if !is_from => Ok(String::new()),
        _ => address::host_pattern(bare)
            .ok()
            .filter(|name| !name.starts_with('*'))
            .ok_or_else(|| "must be a host name such as \"example.com\"".to_owned()),
    }
}

/// A path in the form that the attribute `Path` has.
pub(super) fn path(text: &str, _is_from: bool) -> Result<String, String> {
    let is_path = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    let is_right = text.starts_with('/') && text.bytes().all(is_path);
    if is_right && text.len() <= limits::PREFIX_BYTES {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be a path of at most {} bytes, without blanks and semicolons",
        limits::PREFIX_BYTES
    ))
}
