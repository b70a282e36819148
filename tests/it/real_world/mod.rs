//! What users of other proxies have reported, kind by kind.

mod backend_answers;
mod both_versions;
mod client_bound;
mod client_requests;
mod early_answers;
mod empty_lines;
mod forwarding;
mod half_close;
mod hanging_backends;
mod late_uploads;
mod named_checks;
mod panic_threshold;
mod paths;
mod rare_http2;
mod redirecting_listeners;
mod references;
mod request_grammar;
mod slow_clients;
mod stalled_streams;
mod tls_refusals;
mod two_way_silence;
mod upgrades;
mod websockets_to_h2;
