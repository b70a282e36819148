//! The product as a user sees it: the built binary, spoken to over real sockets. One module per feature, one folder per
//! subject, and one program for all, so that the tests are linked once.

#![expect(
    unsafe_code,
    reason = "the tests do what strangers do: signals, raw descriptors, system calls without a wrapper"
)]

mod cache;
mod cache_disk;
mod cache_parts;
mod cache_ring;
mod cache_slices;
mod documentation;
mod http2;
mod limits;
mod management;
mod operation;
mod real_world;
mod support;
mod tls;
mod upstream;
mod wire;
