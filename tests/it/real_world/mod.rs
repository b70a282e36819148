//! What users of other proxies have reported, kind by kind.

mod backend_answers;
mod both_versions;
mod client_requests;
mod empty_lines;
mod half_close;
mod paths;
mod request_grammar;
