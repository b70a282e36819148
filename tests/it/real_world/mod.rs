//! What users of other proxies have reported, kind by kind.

mod backend_answers;
mod request_grammar;
