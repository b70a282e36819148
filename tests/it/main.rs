//! What a user sees: the built binary, spoken to over real sockets. One module per feature, one folder per subject, and
//! one program for all, so that it is linked once.

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
