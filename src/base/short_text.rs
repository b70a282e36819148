//! A text that is usually short: a short text is stored in the value itself, without memory of its own.

use super::limits;

/// A sequence of bytes that never changes.
#[derive(Clone, Debug)]
pub struct ShortText {
    bytes: [u8; limits::SHORT_TEXT_BYTES],
    len: usize,
    /// The whole text if it is longer than the array; else empty.
    long: Box<[u8]>,
}

impl ShortText {
    /// Copies these bytes.
    pub fn of(text: &[u8]) -> ShortText {
        let mut bytes = [0; limits::SHORT_TEXT_BYTES];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                ShortText {
                    bytes,
                    len: text.len(),
                    long: Box::default(),
                }
            }
            None => ShortText {
                bytes,
                len: 0,
                long: text.into(),
            },
        }
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        debug_assert!(
            self.long.is_empty() || self.long.len() > self.bytes.len(),
            "a short text needs no memory"
        );
        if self.long.is_empty() {
            &self.bytes[..self.len]
        } else {
            &self.long
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_kept() {
        for length in 0..2 * limits::SHORT_TEXT_BYTES {
            let text: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert_eq!(ShortText::of(&text).as_bytes(), text);
        }
    }
}
