//! The key of the connections that a request may use: connections that were made as the configuration of the request
//! makes them.

/// Stands for all settings with which a connection to a backend was made: address, protocol, encryption, the TLS
/// settings with the contents of their files, the server name, the PROXY header, and whether a bound counts the
/// connection. Two keys of a backend on one core are equal only if all these settings are equal.
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
