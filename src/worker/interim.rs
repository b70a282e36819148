//! Interim (1xx) heads before an answer (RFC 9110 section 15.2). Their bytes and their time are bounded, not their
//! number.

use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h1;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;

/// The interim heads of one answer.
#[derive(Default)]
pub struct Interims {
    bytes: u32,
    /// The time at which the final head is due.
    due: Option<Micros>,
    /// Whether one of the interim heads announced a body. The connection takes no other request then.
    pub are_odd: bool,
}

impl Interims {
    /// Notes another interim head. Errors: the interim heads have too many bytes, or have taken too long.
    pub fn note(
        &mut self,
        exchange: &Exchange,
        bytes: usize,
        is_sound: bool,
    ) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(h1::interim_cost(bytes));
        self.are_odd |= !is_sound;
        let now = Micros::now();
        let wait = exchange.route().timeouts.upstream_response;
        let due = *self
            .due
            .get_or_insert_with(|| now.after(wait * limits::INTERIM_WAITS));
        if self.bytes > limits::INTERIM_BYTES {
            Err(Failure::TooManyInterim)
        } else if now > due {
            Err(exchange.expired(Failure::ResponseTimeout))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::routed;

    #[test]
    fn bytes_and_time_of_interim_heads_are_bounded() {
        let exchange = routed(|_| ());
        let most = limits::INTERIM_BYTES as usize;
        let late = Interims {
            due: Some(Micros(1)),
            ..Interims::default()
        };
        let nearly_full = Interims {
            bytes: limits::INTERIM_BYTES - limits::INTERIM_LEAST_BYTES,
            ..Interims::default()
        };
        let rows = [
            (Interims::default(), 30, Ok(())),
            (Interims::default(), most, Ok(())),
            (Interims::default(), most + 1, Err(Failure::TooManyInterim)),
            (
                Interims::default(),
                usize::MAX,
                Err(Failure::TooManyInterim),
            ),
            (nearly_full, 1, Ok(())),
            (late, 30, Err(Failure::ResponseTimeout)),
        ];
        for (mut interims, bytes, expected) in rows {
            assert_eq!(interims.note(&exchange, bytes, true), expected, "{bytes}");
            assert!(!interims.are_odd);
        }
    }

    #[test]
    fn one_head_that_announces_a_body_makes_all_of_them_odd() {
        let exchange = routed(|_| ());
        let mut interims = Interims::default();
        for is_sound in [true, false, true] {
            interims.note(&exchange, 30, is_sound).unwrap();
        }
        assert!(interims.are_odd);
        let mut full = Interims {
            bytes: limits::INTERIM_BYTES,
            ..Interims::default()
        };
        assert_eq!(full.note(&exchange, 1, true), Err(Failure::TooManyInterim));
    }
}
