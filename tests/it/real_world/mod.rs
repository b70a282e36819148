//! Situations of real traffic that users of proxies have reported, by kind.

mod forwarding;
mod redirecting_listeners;
mod references;
mod upgrades;
mod websockets_to_h2;
