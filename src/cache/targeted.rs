//! The field of a response that speaks to this cache: a targeted one (RFC 9213), or `Cache-Control`.

use httparse::Header;

use crate::cache::policy::Policy;
use crate::http::cache_control::{CacheControl, Name, directives};
use crate::http::fields::{list, values};
use crate::http::structured::{MalformedField, MemberValue, dictionary};

/// The directives of a response for this cache.
#[derive(Clone, Copy, Debug)]
pub struct Control<'p> {
    /// The directives.
    pub directives: CacheControl,
    /// The name of the targeted field with the directives; `None`: they are those of `Cache-Control`.
    pub targeted: Option<&'p str>,
}

/// Reads what the fields of a response say to this cache.
pub fn control_of<'p>(policy: &'p Policy, fields: &[Header<'_>]) -> Control<'p> {
    // RFC 9213 section 2.2 (MUST): the first field of the list whose value is valid and not empty counts alone.
    let mut targeted = policy.targeted.iter();
    let found = targeted.find_map(|name| Some((name, read(fields, name).ok()?)));
    match found {
        Some((name, directives)) => Control {
            directives,
            targeted: Some(name),
        },
        None => Control {
            directives: CacheControl::of_response(values(fields, "cache-control")),
            targeted: None,
        },
    }
}

/// The directives of a targeted field, if it is there, valid and not empty.
fn read(fields: &[Header<'_>], name: &str) -> Result<CacheControl, MalformedField> {
    let mut control = CacheControl::default();
    let mut is_right = true;
    let count = dictionary(values(fields, name), |key, value| {
        is_right &= control.note_typed(key, value);
    })?;
    if count > 0 && is_right {
        Ok(control)
    } else {
        Err(MalformedField)
    }
}

impl Control<'_> {
    /// Whether `no-cache` or `private` names a field of the response: an entry is stored without that field, so that it
    /// may be reused without a validation.
    pub fn names_field(&self, fields: &[Header<'_>], name: &[u8]) -> bool {
        let is_same = |member: &[u8]| member.eq_ignore_ascii_case(name);
        let Some(targeted) = self.targeted else {
            let mut directives = values(fields, "cache-control").flat_map(directives);
            return directives.any(|directive| {
                may_name_fields(directive.name) && directive.field_names().any(is_same)
            });
        };
        let mut is_named = false;
        let read = dictionary(values(fields, targeted), |key, value| {
            if let (true, MemberValue::Text(names)) = (may_name_fields(key.as_bytes()), value) {
                is_named |= list(names.as_bytes()).any(is_same);
            }
        });
        read.is_ok() && is_named
    }
}

fn may_name_fields(directive: &[u8]) -> bool {
    matches!(
        Name::recognise(directive),
        Some(Name::NoCache | Name::Private)
    )
}
