//! TLS on both sides: certificates, handshakes, resumption, and what the proxy learns from them.

mod acme;
pub mod certificates;
mod client_tickets;
mod curl_tls;
mod misdirected;
mod tls_backends;
mod tls_clients;
mod tls_listeners;
mod tls_resumption;
mod tls_strict;
mod transient_errors;
