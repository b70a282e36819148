//! What users of other proxies have reported, kind by kind.

mod backend_answers;
mod both_versions;
mod paths;
mod request_grammar;
