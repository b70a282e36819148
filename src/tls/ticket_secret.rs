//! The secret that a key of tickets is made of, and the time for which it is in use.

use aws_lc_rs::rand;

use crate::base::limits;

/// The bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// The random bytes that a key is made of.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret {
    /// Unix time at which the secret was made, in seconds.
    pub made: i64,
    /// The random bytes.
    pub bytes: [u8; SECRET_BYTES],
}

impl Secret {
    /// A new secret. Errors: the system gives no random bytes.
    pub(super) fn random(made: i64) -> Result<Secret, String> {
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
        Ok(Secret { made, bytes })
    }

    /// Whether tickets are made with the secret. A secret from a future that is too far away was made by a clock that
    /// was wrong.
    pub(super) fn is_fresh(&self, now: i64) -> bool {
        now.abs_diff(self.made) < limits::TICKET_KEY_SECS
    }

    /// Whether tickets that were made with the secret are still accepted.
    pub(super) fn is_accepted(&self, now: i64) -> bool {
        now.abs_diff(self.made) < 2 * limits::TICKET_KEY_SECS
    }
}
