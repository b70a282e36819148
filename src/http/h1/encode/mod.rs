//! Writing a head for the other side: what is passed on is copied as it stands, in runs of lines as long as possible.

mod lines;
mod pen;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use request::{Encoded, RequestEdits, encode_request};
pub use response::{ResponseEdits, encode_response};
