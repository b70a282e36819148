//! Workers with a cache, between clients and an origin that knows of everything that it has ever answered, while an
//! operator purges at any instant.
//!
//! A `scenario` is made of a seed (`generate`), run (`run`), and made smaller while it fails (`shrink`). The `origin`
//! numbers its answers, each client's answer names the number, and `rules` says whether the client may have it.

mod generate;
mod origin;
mod origin_one;
mod origin_two;
mod records;
mod regressions;
mod rules;
mod run;
mod scenario;
mod scene;
mod settings;
mod shrink;
mod tests;
mod visit;
mod visitor_one;
mod visitor_two;
