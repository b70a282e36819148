//! The configuration that is in force, as a text with a history: what the file says, what the API has said since, and
//! the numbered revisions of both. No I/O and no clock.

mod edit;

pub use edit::{Edit, Problem, ProblemKind};
