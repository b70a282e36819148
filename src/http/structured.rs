//! Structured fields (RFC 9651), as far as the cache reads them: dictionaries of simple items, and lists of strings.

use std::borrow::Cow;
use std::convert::Infallible;

use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};

/// The value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// An integer of at most fifteen digits.
    Integer(i64),
    /// A Boolean; a key without a value is true.
    Boolean(bool),
    /// A string, without its quotes and escapes.
    Text(&'v str),
    /// Anything else: a token, a decimal, a date, bytes, an inner list.
    Other,
}

/// The field is no structured field of the wanted type, and must be ignored as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the dictionary in all lines of a field, and calls `each` with every member in order. Returns the number of
/// members. Of equal keys the last one counts; the caller lets later calls replace earlier ones. `each` may have been
/// called when the field turns out to be malformed.
pub fn dictionary<'v>(
    lines: impl Iterator<Item = &'v [u8]>,
    each: impl FnMut(&str, Value<'_>),
) -> Result<usize, Malformed> {
    let text = combine(lines);
    let members = Members { each, count: 0 };
    Parser::new(&text)
        .parse_dictionary_with_visitor(members)
        .map_err(|_| Malformed)
}

/// Reads the list of strings in all lines of a field, and calls `each` with every string in order. A member of another
/// type makes the field malformed. `each` may have been called when the field turns out to be malformed.
pub fn strings<'v>(
    lines: impl Iterator<Item = &'v [u8]>,
    each: impl FnMut(&str),
) -> Result<(), Malformed> {
    let text = combine(lines);
    let strings = Strings {
        each,
        is_malformed: false,
    };
    let is_malformed = Parser::new(&text)
        .parse_list_with_visitor(strings)
        .map_err(|_| Malformed)?;
    if is_malformed { Err(Malformed) } else { Ok(()) }
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

struct Members<F> {
    each: F,
    count: usize,
}

impl<'v, F: FnMut(&str, Value<'_>)> DictionaryVisitor<'v> for Members<F> {
    type Out = usize;
    type Error = Infallible;

    fn entry(&mut self, key: &'v KeyRef) -> Result<impl EntryVisitor<'v>, Infallible> {
        self.count += 1;
        let each = &mut self.each;
        let key = key.as_str();
        Ok(Member(move |value: Value<'_>| each(key, value)))
    }

    fn finish(self) -> Result<usize, Infallible> {
        Ok(self.count)
    }
}

struct Strings<F> {
    each: F,
    is_malformed: bool,
}

impl<'v, F: FnMut(&str)> ListVisitor<'v> for Strings<F> {
    type Out = bool;
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'v>, Infallible> {
        Ok(Member(|value: Value<'_>| match value {
            Value::Text(text) => (self.each)(text),
            _ => self.is_malformed = true,
        }))
    }

    fn finish(self) -> Result<bool, Infallible> {
        Ok(self.is_malformed)
    }
}

/// Calls a function with the value of one member; parameters are read and left out.
struct Member<F>(F);

impl<'v, F: FnMut(Value<'_>)> ItemVisitor<'v> for Member<F> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        mut self,
        item: BareItemFromInput<'v>,
    ) -> Result<impl ParameterVisitor<'v, Out = ()>, Infallible> {
        match &item {
            BareItemFromInput::Integer(number) => (self.0)(Value::Integer((*number).into())),
            BareItemFromInput::Boolean(is_true) => (self.0)(Value::Boolean(*is_true)),
            BareItemFromInput::String(text) => (self.0)(Value::Text(text.as_str())),
            _ => (self.0)(Value::Other),
        }
        Ok(sfv::visitor::Ignored)
    }
}

impl<'v, F: FnMut(Value<'_>)> EntryVisitor<'v> for Member<F> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'v>, Infallible> {
        Ok(self)
    }

    fn inner_list(mut self) -> Result<impl InnerListVisitor<'v>, Infallible> {
        (self.0)(Value::Other);
        Ok(sfv::visitor::Ignored)
    }
}
