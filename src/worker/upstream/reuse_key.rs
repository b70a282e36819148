//! The key of the connections that a request may use: those that were made as its configuration would make them.

/// Stands for all that was settled when a connection to a backend was made: address, protocol, whether it is encrypted,
/// the settings of TLS with the contents of their files, the name asked for, the PROXY header, and whether a bound on
/// connections counts it. Two keys of a backend on one core are equal only if nothing of that differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReuseKey(u64);

impl ReuseKey {
    /// A key that was never given out before.
    pub fn advance(&mut self) -> ReuseKey {
        self.0 += 1;
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_given_out_twice() {
        let mut last = ReuseKey::default();
        let keys = [(); 5].map(|()| last.advance());
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key));
        }
        assert!(
            !keys.contains(&ReuseKey::default()),
            "which no connection has"
        );
    }
}
