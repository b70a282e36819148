//! The wire, without I/O: what a message must look like to be forwarded, and how it is written.

pub mod h1;
