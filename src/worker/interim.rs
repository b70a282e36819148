//! Interim (1xx) heads before an answer. Their bytes and their time are bounded, not their number.

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
    /// Whether one of the interim heads announced a body. The connection then takes no other request.
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
        match self.bytes <= limits::INTERIM_BYTES {
            true if now <= due => Ok(()),
            true => Err(exchange.expired(Failure::ResponseTimeout)),
            false => Err(Failure::TooManyInterim),
        }
    }
}
