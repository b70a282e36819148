//! HTTP/2 towards clients: frames, field sections, streams, floods, and gRPC.

pub mod curl_h2;
mod grpc;
mod h2_exchange;
mod h2_fairness;
mod h2_floods;
pub mod h2_frames;
mod h2_sections;
mod h2_streams;
mod h2_strict;
