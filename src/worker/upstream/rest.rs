//! The backends that rest because they cannot be connected to: how long they rest, and how they return. Plain data;
//! time is an argument, in milliseconds on the core's coarse clock.
//!
//! A backend that refuses connections fails faster than other backends answer, so that it would get the more requests
//! the fewer it can serve. So a backend rests from the first connection that fails. After the rest this core connects
//! to the backend without a request. Only when that succeeds does the backend get requests again, few at first. Each
//! further rest is twice as long, up to a bound, until the backend has been usable for some time.

use crate::base::ids::BackendId;
use crate::base::limits;

/// The backends of one core that rest, or have rested recently.
#[derive(Debug, Default)]
pub struct Rests(Vec<Rest>);

#[derive(Debug)]
struct Rest {
    id: BackendId,
    phase: Phase,
    /// The length of the latest rest, in milliseconds.
    length: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Resting {
        until: u64,
    },
    /// The core connects to the backend without a request.
    Trying,
    /// The backend can be connected to, and gets a growing share of requests.
    Starting {
        since: u64,
    },
    /// The backend gets its whole share of requests.
    Usable {
        since: u64,
    },
}

/// An act that is due for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The core must connect to the backend.
    Try(BackendId),
    /// The backend gets this share of its usual requests, of `limits::WHOLE_SHARE`.
    Share(BackendId, u8),
}

impl Rests {
    /// Notes that a backend could not be connected to. The result is the length of the rest that begins, in
    /// milliseconds; `None`: the backend rests already.
    pub fn failed(&mut self, id: BackendId, now: u64) -> Option<u64> {
        let Some(rest) = self.find(id) else {
            self.0.push(Rest {
                id,
                phase: Phase::Resting {
                    until: now + limits::REST_MILLIS,
                },
                length: limits::REST_MILLIS,
            });
            return Some(limits::REST_MILLIS);
        };
        if let Phase::Resting { .. } = rest.phase {
            return None;
        }
        rest.length = (2 * rest.length).min(limits::REST_MILLIS_MOST);
        rest.phase = Phase::Resting {
            until: now + rest.length,
        };
        Some(rest.length)
    }

    /// Notes that a backend was connected to. The result says whether that ends its rest.
    pub fn connected(&mut self, id: BackendId, now: u64) -> bool {
        let Some(rest) = self.find(id) else {
            return false;
        };
        let is_new = matches!(rest.phase, Phase::Resting { .. } | Phase::Trying);
        if is_new {
            rest.phase = Phase::Starting { since: now };
        }
        is_new
    }

    /// Notes that a backend could not be tried after its rest, for a reason outside of the backend: it rests again for
    /// as long.
    pub fn postpone(&mut self, id: BackendId, now: u64) {
        if let Some(rest) = self
            .find(id)
            .filter(|rest| matches!(rest.phase, Phase::Trying))
        {
            rest.phase = Phase::Resting {
                until: now + rest.length,
            };
        }
    }

    /// The acts that are due at `now`.
    pub fn due(&mut self, now: u64) -> Vec<Due> {
        self.0.retain(|rest| !rest.is_forgotten(now));
        self.0
            .iter_mut()
            .filter_map(|rest| rest.advance(now))
            .collect()
    }

    /// Forgets the backends for which `stays` is false. The result names them.
    pub fn forget_unless(&mut self, stays: impl Fn(BackendId) -> bool) -> Vec<BackendId> {
        let gone = self.0.extract_if(.., |rest| !stays(rest.id));
        gone.map(|rest| rest.id).collect()
    }

    fn find(&mut self, id: BackendId) -> Option<&mut Rest> {
        self.0.iter_mut().find(|rest| rest.id == id)
    }
}

impl Rest {
    fn advance(&mut self, now: u64) -> Option<Due> {
        match self.phase {
            Phase::Resting { until } if until <= now => {
                self.phase = Phase::Trying;
                Some(Due::Try(self.id))
            }
            Phase::Starting { since } => {
                let share = self.share_after(now.saturating_sub(since));
                if share == limits::WHOLE_SHARE {
                    self.phase = Phase::Usable { since: now };
                }
                Some(Due::Share(self.id, share))
            }
            Phase::Resting { .. } | Phase::Trying | Phase::Usable { .. } => None,
        }
    }

    /// The share of a backend that returned so many milliseconds ago. The share is whole after as long as the backend
    /// rested.
    fn share_after(&self, millis: u64) -> u8 {
        debug_assert!(
            (limits::REST_MILLIS..=limits::REST_MILLIS_MOST).contains(&self.length),
            "a rest has a length within its bounds"
        );
        let length = self.length.min(limits::SLOW_START_MILLIS_MOST);
        let whole = u64::from(limits::WHOLE_SHARE);
        (1 + millis * (whole - 1) / length).min(whole) as u8
    }

    /// Whether the backend has been usable for so long that its next rest is a first one.
    fn is_forgotten(&self, now: u64) -> bool {
        let memory = (2 * self.length).max(limits::REST_MEMORY_MILLIS);
        matches!(self.phase, Phase::Usable { since } if since + memory <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BackendId = BackendId(1);
    const B: BackendId = BackendId(2);
    const FIRST: u64 = limits::REST_MILLIS;

    /// Ends the rest of a backend that rests since `since` for `length`; when it is tried.
    fn tried_after(rests: &mut Rests, id: BackendId, since: u64, length: u64) -> u64 {
        assert_eq!(rests.due(since + length - 1), []);
        assert_eq!(rests.due(since + length), [Due::Try(id)]);
        since + length
    }

    #[test]
    fn rests_grow_while_the_backend_cannot_be_connected_to() {
        let mut rests = Rests::default();
        let (mut now, mut length) = (500, FIRST);
        assert_eq!(rests.failed(A, now), Some(length));
        assert_eq!(rests.failed(A, now + 1), None, "of the same outage");
        for _ in 0..20 {
            now = tried_after(&mut rests, A, now, length);
            length = (2 * length).min(limits::REST_MILLIS_MOST);
            assert_eq!(rests.failed(A, now), Some(length));
        }
        assert_eq!(length, limits::REST_MILLIS_MOST);
        assert_eq!(rests.failed(B, now), Some(FIRST));
    }

    #[test]
    fn a_backend_that_comes_back_gets_more_and_more() {
        let mut rests = Rests::default();
        rests.failed(A, 0);
        let back = tried_after(&mut rests, A, 0, FIRST);
        assert!(rests.connected(A, back));
        assert!(!rests.connected(A, back), "known already");
        let mut last = 0;
        for now in back..=back + FIRST {
            let [Due::Share(A, share)] = rests.due(now)[..] else {
                panic!("no share at {now}");
            };
            assert!(share >= last.max(1));
            assert_eq!(share == limits::WHOLE_SHARE, now == back + FIRST);
            last = share;
        }
        assert_eq!(rests.due(back + FIRST + 1), []);
        assert!(!rests.connected(A, back + FIRST + 1));
    }

    #[test]
    fn a_request_that_connects_ends_the_rest_before_its_time() {
        let mut rests = Rests::default();
        rests.failed(A, 0);
        assert!(rests.connected(A, 10));
        assert_eq!(rests.due(10), [Due::Share(A, 1)]);
    }

    #[test]
    fn rests_are_forgotten_after_a_while_of_use() {
        let mut rests = Rests::default();
        rests.failed(A, 0);
        rests.connected(A, 10);
        let whole = 10 + FIRST;
        assert_eq!(rests.due(whole), [Due::Share(A, limits::WHOLE_SHARE)]);
        let forgotten = whole + limits::REST_MEMORY_MILLIS;
        rests.due(forgotten - 1);
        assert_eq!(rests.0.len(), 1);
        rests.due(forgotten);
        assert_eq!(rests.failed(A, forgotten), Some(FIRST));
    }

    #[test]
    fn who_could_not_be_tried_is_tried_later() {
        let mut rests = Rests::default();
        rests.failed(A, 0);
        rests.postpone(A, 1);
        let now = tried_after(&mut rests, A, 0, FIRST);
        rests.postpone(A, now);
        let now = tried_after(&mut rests, A, now, FIRST);
        assert_eq!(rests.failed(A, now), Some(2 * FIRST));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut rests = Rests::default();
        rests.failed(A, 0);
        rests.failed(B, 0);
        assert_eq!(rests.forget_unless(|id| id == A), [B]);
        assert_eq!(rests.due(FIRST), [Due::Try(A)]);
    }
}
