//! What users of other proxies have reported, kind by kind.

mod early_answers;
