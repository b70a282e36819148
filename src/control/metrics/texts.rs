//! The texts of `/metrics` that clients are reading. All clients of one second share a text, and few texts exist at a
//! time, so that memory depends neither on the number of clients nor on how slowly they read. A text that a client
//! still reads stays; when all places are taken, new clients get an earlier text.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;

/// The latest texts, the newest last. Nothing else holds one.
#[derive(Debug, Default)]
pub struct LatestTexts(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The content type.
    kind: &'static str,
    made: Micros,
    text: Arc<String>,
    /// When a client last read a part of the text, in microseconds.
    read: Arc<AtomicU64>,
}

impl Kept {
    /// Whether a client is still reading the text.
    fn is_read(&self, now: Micros) -> bool {
        let read = Micros(self.read.load(Relaxed));
        let patience = Duration::from_secs(limits::METRICS_PAUSE_SECS);
        Arc::weak_count(&self.text) > 0 && now <= read.after(patience)
    }

    fn share(&self) -> SharedText {
        SharedText {
            len: self.text.len(),
            text: Arc::downgrade(&self.text),
            read: self.read.clone(),
        }
    }
}

/// A text that one client reads.
#[derive(Clone, Debug)]
pub struct SharedText {
    text: Weak<String>,
    /// The length of the whole text, in bytes.
    pub len: usize,
    read: Arc<AtomicU64>,
}

impl SharedText {
    /// A part of the text, up to the end of the text; `None`: newer texts have taken the text's place.
    pub fn part(&self, range: Range<usize>, now: Micros) -> Option<Vec<u8>> {
        let text = self.text.upgrade()?;
        self.read.store(now.0, Relaxed);
        let end = range.end.min(text.len());
        Some(text.as_bytes()[range.start.min(end)..end].to_vec())
    }
}

impl LatestTexts {
    /// A text of this content type: the one that was made within the last second, or else the one that `make` makes. If
    /// clients still read all texts that are kept, the latest of this type; `None`: there is none.
    pub fn get(
        &self,
        kind: &'static str,
        now: Micros,
        make: impl FnOnce() -> String,
    ) -> Option<SharedText> {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_millis(limits::METRICS_AGE_MILLIS);
        let mut latest = texts.iter().rev().filter(|kept| kept.kind == kind);
        let latest = latest.next();
        let is_fresh = latest.is_some_and(|kept| now <= kept.made.after(age));
        let is_full = texts.len() >= limits::METRICS_TEXTS;
        let unread = texts.iter().position(|kept| !kept.is_read(now));
        if is_fresh || is_full && unread.is_none() {
            return latest.map(Kept::share);
        }
        if let Some(unread) = unread.filter(|_| is_full) {
            texts.remove(unread);
        }
        let kept = Kept {
            kind,
            made: now,
            text: Arc::new(make()),
            read: Arc::new(AtomicU64::new(now.0)),
        };
        let shared = kept.share();
        texts.push_back(kept);
        debug_assert!(texts.len() <= limits::METRICS_TEXTS);
        Some(shared)
    }

    /// Forgets the texts that no client can be reading any more.
    pub fn forget_old(&self, now: Micros) {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_secs(limits::METRICS_READ_SECS);
        texts.retain(|kept| now <= kept.made.after(age));
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
        let texts = LatestTexts::default();
        let rows = [
            (0, "plain", "first"),
            (1_000, "plain", "first"),
            (1_000, "open", "third"),
            (1_001, "plain", "fourth"),
            (2_000, "open", "third"),
        ];
        for (number, (millis, kind, expected)) in rows.into_iter().enumerate() {
            let made = ["first", "second", "third", "fourth", "fifth"][number];
            let text = texts.get(kind, at(millis), || made.to_owned()).unwrap();
            assert_eq!(
                text.part(0..99, at(millis)).unwrap(),
                expected.as_bytes(),
                "{number}"
            );
        }
    }

    #[test]
    fn the_oldest_text_gives_way_and_all_do_in_time() {
        let texts = LatestTexts::default();
        let pause = 1_000 * limits::METRICS_PAUSE_SECS + 1;
        let get = |number: usize| {
            let now = at(pause * number as u64);
            texts
                .get("plain", now, || format!("text {number}"))
                .unwrap()
        };
        let all: Vec<SharedText> = (0..=limits::METRICS_TEXTS).map(get).collect();
        let now = at(pause * all.len() as u64);
        assert_eq!(all[0].part(0..4, now), None, "it was not read on");
        assert_eq!(all[1].part(0..4, now).unwrap(), b"text");
        assert_eq!(all[1].part(5..99, now).unwrap(), b"1");
        assert_eq!(all[1].part(99..100, now).unwrap(), b"");
        texts.forget_old(at(1_000_000_000));
        assert_eq!(all[1].part(0..4, now), None);
    }

    #[test]
    fn who_reads_on_is_not_cut_by_those_who_come() {
        let texts = LatestTexts::default();
        let get = |kind, millis| texts.get(kind, at(millis), || format!("of {millis}"));
        let readers: Vec<SharedText> = (0..limits::METRICS_TEXTS as u64)
            .map(|number| get("plain", 2_000 * number).unwrap())
            .collect();
        let newest = format!("of {}", 2_000 * (readers.len() - 1));
        for millis in (6_000..30_000).step_by(500) {
            for reader in &readers {
                assert!(reader.part(0..1, at(millis)).is_some(), "{millis}");
            }
            let late = get("plain", millis).unwrap();
            assert_eq!(late.part(0..99, at(millis)).unwrap(), newest.as_bytes());
            assert!(
                get("open", millis).is_none(),
                "no text of this type is kept"
            );
        }
        drop(readers);
        let next = get("open", 30_000).unwrap();
        assert_eq!(next.part(0..99, at(30_000)).unwrap(), b"of 30000");
    }
}
