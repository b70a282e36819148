//! `mode`, `owner` and `group`: who may connect to a Unix socket.

use nix::unistd::{Group, User};

use super::document::DocumentTable;
use crate::base::addresses::{ListenAddr, SocketAccess};

/// Reads the keys, which are valid for a Unix socket only.
pub(super) fn read(table: &mut DocumentTable<'_>, addr: Option<&ListenAddr>) -> SocketAccess {
    if matches!(addr, Some(ListenAddr::Tcp(_))) {
        for key in ["mode", "owner", "group"] {
            table.refuse(
                key,
                "has no meaning for a TCP address: only a Unix socket has a file",
            );
        }
        // No socket file ever has this mode.
        let mode = parse_mode(table.default_text("mode")).unwrap_or_default();
        return SocketAccess::of_mode(mode);
    }
    let mut access = SocketAccess::of_mode(table.parsed("mode", parse_mode));
    access.owner = table.get("owner", |item| item.parsed(parse_user));
    access.group = table.get("group", |item| item.parsed(parse_group));
    access
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err("must be permissions in octal digits, such as \"0660\"".to_owned()),
    }
}

fn parse_user(text: &str) -> Result<u32, String> {
    let found = || User::from_name(text).map(|user| user.map(|user| user.uid.as_raw()));
    parse_id(text, "user", found)
}

fn parse_group(text: &str) -> Result<u32, String> {
    let found = || Group::from_name(text).map(|group| group.map(|group| group.gid.as_raw()));
    parse_id(text, "group", found)
}

/// Reads a number, or a name that the system knows.
fn parse_id(
    text: &str,
    what: &str,
    find: impl FnOnce() -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    // The largest number means no user or group to chown(2).
    if let Ok(number) = text.parse::<u32>()
        && number != u32::MAX
    {
        return Ok(number);
    }
    match find() {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(format!("must be a {what} of this machine, or its number")),
        Err(error) => Err(format!("cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_names_as_written() {
        let rows = [
            ("0660", Some(0o660)),
            ("600", Some(0o600)),
            ("0777", Some(0o777)),
            ("1777", None),
            ("0668", None),
            ("66", None),
            ("00660", None),
            ("+66", None),
            ("", None),
        ];
        for (text, mode) in rows {
            assert_eq!(parse_mode(text).ok(), mode, "{text:?}");
        }
        assert_eq!(parse_user("root"), Ok(0));
        assert_eq!(parse_group("root"), Ok(0));
        assert_eq!(parse_user("1234"), Ok(1234));
        assert!(parse_user("4294967295").is_err());
        assert!(
            parse_group("no such group")
                .unwrap_err()
                .contains("a group of this machine")
        );
    }
}
