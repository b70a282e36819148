//! Fields of a backend's answer that are not written as HTTP/2 wants them and still have one reading: names in
//! capitals, blanks around a value. Fields in their proper form never come here.

use super::field::{classify, is_clean};
use super::hpack::{FieldList, SEPARATOR_BYTES, Span};
use crate::http::fields::trim;

/// Writes every field but the pseudo-fields anew, its name in lower case and its value without blanks around it.
#[cold]
pub(super) fn write_anew(list: &mut FieldList) {
    let text = std::mem::take(&mut list.text);
    list.text.reserve(text.len());
    for span in &mut list.spans {
        let (start, name_len) = (span.start as usize, span.name_len as usize);
        let name = &text[start..start + name_len];
        let value = &text[start + name_len + SEPARATOR_BYTES..][..span.value_len as usize];
        let is_named = name.first().is_some_and(|first| *first != b':');
        let value = if is_named { trim(value) } else { value };
        let start = list.text.len();
        list.text.extend_from_slice(name);
        if is_named {
            list.text[start..].make_ascii_lowercase();
        }
        let class = classify(&list.text[start..]);
        for part in [b": ", value, b"\r\n"] {
            list.text.extend_from_slice(part);
        }
        *span = Span {
            start: start as u32,
            value_len: value.len() as u32,
            class,
            bad_value: !is_clean(value),
            ..*span
        };
    }
}
