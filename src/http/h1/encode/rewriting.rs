//! What of an answer's fields is written anew for the client, because the backend wrote it for itself.

use httparse::Header;

use super::pen::Pen;
use crate::http::cookies::{CookieEdits, NO_COOKIE_EDITS};
use crate::http::fields::Known;
use crate::http::references::{References, in_refresh};

/// What changes in references and cookies.
#[derive(Clone, Copy, Debug)]
pub struct Rewriting<'a> {
    /// `None`: references stay as they are.
    pub references: Option<References<'a>>,
    pub cookies: &'a CookieEdits,
}

impl Rewriting<'static> {
    /// Nothing.
    pub const NONE: Rewriting<'static> = Rewriting {
        references: None,
        cookies: &NO_COOKIE_EDITS,
    };
}

impl Rewriting<'_> {
    /// Writes a field of one of these kinds.
    pub(super) fn write(&self, pen: &mut Pen<'_>, field: &Header<'_>, known: Known) {
        let value = field.value;
        let place = match (known, &self.references) {
            (Known::SetCookie, _) if !self.cookies.is_empty() => {
                pen.texts([field.name.as_bytes(), b": "]);
                self.cookies.write(value, |piece| pen.text(piece));
                return pen.text(b"\r\n");
            }
            (Known::Location, Some(_)) => Some(0..value.len()),
            (Known::Refresh, Some(_)) => in_refresh(value),
            _ => None,
        };
        let parts = |place: &std::ops::Range<usize>| {
            let references = self.references.as_ref()?;
            references.rewrite(&value[place.clone()])
        };
        match place.and_then(|place| Some((parts(&place)?, place))) {
            None => pen.field(field.name, value),
            Some((parts, place)) => {
                pen.texts([field.name.as_bytes(), b": ", &value[..place.start]]);
                pen.texts(parts);
                pen.texts([&value[place.end..], b"\r\n"]);
            }
        }
    }
}
