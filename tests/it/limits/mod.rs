//! Tests of bounds: on time, descriptors, memory, and the clients of a listener.

mod bounds;
mod client_deadlines;
mod descriptors;
mod memory;
mod removals;
