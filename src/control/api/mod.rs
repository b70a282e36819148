//! The management API: what operators, the live page and the command line speak to.

mod accept;
mod body;
mod etag;
mod gate;
mod problem;
mod tokens;
