//! Rewrites fields of an answer that name the backend's own hosts and paths, so that they hold for the client.

use httparse::Header;

use super::head_writer::HeadWriter;
use crate::http::cookies::{CookieEdits, NO_COOKIE_EDITS};
use crate::http::fields::KnownField;
use crate::http::references::{References, in_refresh};

/// The changes to references and cookies.
#[derive(Clone, Copy, Debug)]
pub struct Rewriting<'a> {
    /// The changes to references; `None`: references stay as they are.
    pub references: Option<References<'a>>,
    /// The route's edits of cookies.
    pub cookies: &'a CookieEdits,
}

impl Rewriting<'static> {
    /// No change.
    pub const NONE: Rewriting<'static> = Rewriting {
        references: None,
        cookies: &NO_COOKIE_EDITS,
    };
}

impl Rewriting<'_> {
    /// Writes a field of one of these kinds with its value changed.
    pub(super) fn write(&self, writer: &mut HeadWriter<'_>, field: &Header<'_>, known: KnownField) {
        let value = field.value;
        let place = match (known, &self.references) {
            (KnownField::SetCookie, _) if !self.cookies.is_empty() => {
                writer.texts([field.name.as_bytes(), b": "]);
                self.cookies.write(value, |piece| writer.text(piece));
                return writer.text(b"\r\n");
            }
            (KnownField::Location, Some(_)) => Some(0..value.len()),
            (KnownField::Refresh, Some(_)) => in_refresh(value),
            _ => None,
        };
        let parts = |place: &std::ops::Range<usize>| {
            let references = self.references.as_ref()?;
            references.rewrite(&value[place.clone()])
        };
        match place.and_then(|place| Some((parts(&place)?, place))) {
            None => writer.field(field.name, value),
            Some((parts, place)) => {
                writer.texts([field.name.as_bytes(), b": ", &value[..place.start]]);
                writer.texts(parts);
                writer.texts([&value[place.end..], b"\r\n"]);
            }
        }
    }
}
