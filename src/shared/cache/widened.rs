//! The fetches of whole representations that clients have caused by asking for less, by the networks of these clients:
//! a client that asks for a byte each of many objects must not make the backends send all of these.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::limits;

/// The widened fetches that run.
#[derive(Debug, Default)]
pub struct WidenedFetches(Mutex<HashMap<u64, u8>>);

/// A widened fetch, counted until it is dropped.
#[derive(Debug)]
pub struct Widened {
    fetches: Arc<WidenedFetches>,
    network: u64,
}

impl WidenedFetches {
    /// Counts a fetch that a client causes; `None`: the network of the client has as many as it may have.
    pub fn begin(self: &Arc<Self>, client: Option<IpAddr>) -> Option<Widened> {
        let network = client.map_or(0, network_of);
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(network).or_insert(0);
        if *count >= limits::WIDENED_FETCHES {
            return None;
        }
        *count += 1;
        drop(running);
        Some(Widened {
            fetches: self.clone(),
            network,
        })
    }
}

impl Drop for Widened {
    fn drop(&mut self) {
        let fetches = &self.fetches.0;
        let mut running = fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.network);
            }
        }
    }
}

/// The network of a client: one client may have all addresses of a /64, and few have more than one of a /24.
fn network_of(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8) | 1 << 63,
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64 & !(1 << 63),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_few_widened_fetches() {
        let fetches = Arc::new(WidenedFetches::default());
        let begin = |text: &str| fetches.begin(Some(text.parse().unwrap()));
        let held: Vec<_> = (1..=limits::WIDENED_FETCHES)
            .map(|host| begin(&format!("10.0.0.{host}")).unwrap())
            .collect();
        assert!(begin("10.0.0.99").is_none() && begin("::ffff:10.0.0.98").is_none());
        assert!(begin("10.0.1.1").is_some() && begin("2001:db8::1").is_some());
        drop(held);
        assert!(begin("10.0.0.99").is_some());
        assert!(
            fetches.0.lock().unwrap().is_empty(),
            "nothing is left behind"
        );
    }
}
