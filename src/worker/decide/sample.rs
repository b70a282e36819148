//! Parsed heads for tests of the steps.

use crate::http::h1::{FieldSlots, HeadLimits, RequestHead, parse_request};

/// Looks at the head of this request, whose lines end in LF here.
pub fn with_head<T>(text: &str, look: impl FnOnce(&RequestHead<'_, '_>) -> T) -> T {
    let text = text.replace('\n', "\r\n") + "\r\n";
    let limits = HeadLimits {
        head_bytes: 32_768,
        fields: 100,
        target_bytes: 8_192,
    };
    let mut slots = FieldSlots::new();
    let head = parse_request(text.as_bytes(), &mut slots, &limits);
    look(&head.unwrap().unwrap())
}
