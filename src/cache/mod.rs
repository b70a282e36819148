//! The decisions of a shared cache (RFC 9111): what is stored, for how long it is fresh, and which request it answers.
//! Plain functions of plain values: no I/O, no clock.

pub mod conditions;
pub mod partial;
pub mod pattern;
pub mod policy;
pub mod ranges;
pub mod stored_head;
pub mod validation;
pub mod validators;
