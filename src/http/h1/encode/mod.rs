//! Writing a head for the other side: what is passed on is copied as it stands, in runs of lines as long as possible.

mod forwarding;
mod head_writer;
mod lines;
mod request;
mod request_edits;
mod response;
mod rewriting;
#[cfg(test)]
mod tests;

pub use lines::ComputedField;
pub use request::{Encoded, encode_request};
pub use request_edits::{Forwarding, ReplacedFields, RequestEdits};
pub use response::{ResponseEdits, encode_response};
pub use rewriting::Rewriting;
