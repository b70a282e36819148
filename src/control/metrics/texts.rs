//! The texts of `/metrics` that scrapers are reading: one for all who ask within a second, and few at a time, so that
//! memory does not depend on how many ask and how slowly they read.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;

/// The latest texts, newest last. Nobody else holds one.
#[derive(Debug, Default)]
pub struct Texts(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The content type.
    kind: &'static str,
    made: Micros,
    text: Arc<String>,
}

/// A text, for one who reads it.
#[derive(Clone, Debug)]
pub struct SharedText {
    text: Weak<String>,
    pub len: usize,
}

impl SharedText {
    /// A part of it, as much as there is of that; `None`: newer texts have taken its place.
    pub fn part(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let text = self.text.upgrade()?;
        let end = range.end.min(text.len());
        Some(text.as_bytes()[range.start.min(end)..end].to_vec())
    }
}

impl Texts {
    /// The text of this content type: the one that was made within the last second, else the one that `make` makes.
    pub fn get(
        &self,
        kind: &'static str,
        now: Micros,
        make: impl FnOnce() -> String,
    ) -> SharedText {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_millis(limits::METRICS_AGE_MILLIS);
        let is_fresh = |kept: &&Kept| kept.kind == kind && now <= kept.made.after(age);
        if let Some(kept) = texts.iter().rev().find(is_fresh) {
            return share(&kept.text);
        }
        let text = Arc::new(make());
        let shared = share(&text);
        if texts.len() == limits::METRICS_TEXTS {
            texts.pop_front();
        }
        texts.push_back(Kept {
            kind,
            made: now,
            text,
        });
        shared
    }

    /// Forgets the texts that nobody can be reading any more.
    pub fn forget_old(&self, now: Micros) {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_secs(limits::METRICS_READ_SECS);
        texts.retain(|kept| now <= kept.made.after(age));
    }
}

fn share(text: &Arc<String>) -> SharedText {
    SharedText {
        len: text.len(),
        text: Arc::downgrade(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Micros {
        Micros(millis * 1_000)
    }

    #[test]
    fn who_asks_within_a_second_gets_the_same_text() {
        let texts = Texts::default();
        let rows = [
            (0, "plain", "first"),
            (1_000, "plain", "first"),
            (1_000, "open", "third"),
            (1_001, "plain", "fourth"),
            (2_000, "open", "third"),
        ];
        for (number, (millis, kind, expected)) in rows.into_iter().enumerate() {
            let made = ["first", "second", "third", "fourth", "fifth"][number];
            let text = texts.get(kind, at(millis), || made.to_owned());
            assert_eq!(text.part(0..99).unwrap(), expected.as_bytes(), "{number}");
        }
    }

    #[test]
    fn the_oldest_text_gives_way_and_all_do_in_time() {
        let texts = Texts::default();
        let get = |number: usize| {
            let now = at(2_000 * number as u64);
            texts.get("plain", now, || format!("text {number}"))
        };
        let all: Vec<SharedText> = (0..=limits::METRICS_TEXTS).map(get).collect();
        assert_eq!(all[0].part(0..4), None);
        assert_eq!(all[1].part(0..4).unwrap(), b"text");
        assert_eq!(all[1].part(5..99).unwrap(), b"1");
        assert_eq!(all[1].part(99..100).unwrap(), b"");
        texts.forget_old(at(1_000_000_000));
        assert_eq!(all[1].part(0..4), None);
    }
}
