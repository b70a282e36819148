//! Writing a head for the other side: what is passed on is copied as it stands, in runs of lines as long as possible.

mod forwarding;
mod lines;
mod pen;
mod request;
mod response;
mod rewriting;
#[cfg(test)]
mod tests;

pub use forwarding::Forwarding;
pub use lines::ComputedField;
pub use request::{Encoded, RequestEdits, encode_request};
pub use response::{ResponseEdits, encode_response};
pub use rewriting::Rewriting;
