//! Structured fields (RFC 9651), as far as the cache reads them: dictionaries of simple items, and lists of strings.

use std::borrow::Cow;

use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// The value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberValue<'v> {
    /// An integer of at most fifteen digits.
    Integer(i64),
    /// A Boolean; a key without a value is true.
    Boolean(bool),
    /// A string, without its quotes and escapes.
    Text(&'v str),
    /// Anything else: a token, a decimal, a date, bytes, a list.
    Other,
}

/// The field is no structured field of the wanted type, and must be ignored as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedField;

/// Reads the dictionary in all lines of a field, and calls `each` with every member. Returns the number of members. Of
/// equal keys the last one counts.
pub fn dictionary<'v>(
    lines: impl Iterator<Item = &'v [u8]>,
    mut each: impl FnMut(&str, MemberValue<'_>),
) -> Result<usize, MalformedField> {
    let text = combine(lines);
    // Nearly all responses lack the field, which reads as one without a member.
    if text.is_empty() {
        return Ok(0);
    }
    let parsed = Parser::new(&text).parse::<Dictionary>();
    let members = parsed.map_err(|_| MalformedField)?;
    for (key, member) in &members {
        each(key.as_str(), value_of(member));
    }
    Ok(members.len())
}

/// Reads the list of strings in all lines of a field, and calls `each` with every string in order. A member of another
/// type makes the field malformed; `each` may have been called with those before it.
pub fn strings<'v>(
    lines: impl Iterator<Item = &'v [u8]>,
    mut each: impl FnMut(&str),
) -> Result<(), MalformedField> {
    let text = combine(lines);
    if text.is_empty() {
        return Ok(());
    }
    let parsed = Parser::new(&text).parse::<List>();
    for member in &parsed.map_err(|_| MalformedField)? {
        let MemberValue::Text(text) = value_of(member) else {
            return Err(MalformedField);
        };
        each(text);
    }
    Ok(())
}

/// The value of a member; its parameters are left out.
fn value_of(member: &ListEntry) -> MemberValue<'_> {
    let ListEntry::Item(Item { bare_item, .. }) = member else {
        return MemberValue::Other;
    };
    match bare_item {
        BareItem::Integer(number) => MemberValue::Integer((*number).into()),
        BareItem::Boolean(is_true) => MemberValue::Boolean(*is_true),
        BareItem::String(text) => MemberValue::Text(text.as_str()),
        _ => MemberValue::Other,
    }
}

/// The lines of a field as one (RFC 9651 section 4.2).
fn combine<'v>(mut lines: impl Iterator<Item = &'v [u8]>) -> Cow<'v, [u8]> {
    let mut text = Cow::Borrowed(lines.next().unwrap_or_default());
    for line in lines {
        let text = text.to_mut();
        text.extend_from_slice(b", ");
        text.extend_from_slice(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(lines: &[&'static str]) -> Result<String, MalformedField> {
        let mut text = String::new();
        let count = dictionary(lines.iter().map(|line| line.as_bytes()), |key, value| {
            text += &format!("{key}={value:?};");
        })?;
        Ok(format!("{count}:{text}"))
    }

    #[test]
    fn dictionaries_table() {
        let rows: [(&[&'static str], Option<&str>); 14] = [
            (&[], Some("0:")),
            (&[""], Some("0:")),
            (&["max-age=5"], Some("1:max-age=Integer(5);")),
            (&["a, b=?0"], Some("2:a=Boolean(true);b=Boolean(false);")),
            (&["a=1;q=2"], Some("1:a=Integer(1);")),
            // RFC 9651 section 4.2 (MUST): lines are read as one, and the last of equal keys counts.
            (&["a=1", "a=2"], Some("1:a=Integer(2);")),
            (&["a=\"x\\\"y\""], Some("1:a=Text(\"x\\\"y\");")),
            (
                &["a=tok, b=1.5, c=(1 2)"],
                Some("3:a=Other;b=Other;c=Other;"),
            ),
            (&["a=1,"], None),
            (&["A=1"], None),
            (&["a =1"], None),
            (&["a= 1"], None),
            (&["a=1, &&&"], None),
            (&["a=1234567890123456"], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(members(lines).ok().as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn lists_of_strings_table() {
        let rows: [(&[&str], Option<&[&str]>); 7] = [
            (&[], Some(&[])),
            (&["\"a\", \"b c\""], Some(&["a", "b c"])),
            (&["\"a\"", "\"b\";x=1"], Some(&["a", "b"])),
            (&["\"a\", b"], None),
            (&["\"a"], None),
            (&["a"], None),
            (&["(\"a\")"], None),
        ];
        for (lines, expected) in rows {
            let mut read = Vec::new();
            let result = strings(lines.iter().map(|line| line.as_bytes()), |text| {
                read.push(text.to_owned());
            });
            let read = result.is_ok().then_some(read);
            let expected =
                expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(read, expected, "{lines:?}");
        }
    }
}
