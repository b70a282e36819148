//! The decisions of a shared cache (RFC 9111): what is stored, for how long it is fresh, and which request it answers.
//! Plain functions of plain values: no I/O, no clock.

pub mod bypass;
pub mod conditions;
pub mod content_location;
pub mod extent;
pub mod facts;
pub mod freshness;
pub mod invalidation;
pub mod key;
pub mod named_url;
pub mod negotiated;
pub mod normal_form;
pub mod not_stored;
pub mod omitted;
pub mod partial;
pub mod pattern;
pub mod policy;
pub mod purge_request;
pub mod ranges;
pub mod request;
pub mod response;
pub mod reuse;
#[cfg(test)]
pub mod sample;
pub mod selection;
pub mod slices;
pub mod status;
pub mod statuses;
pub mod storable;
pub mod stored_head;
pub mod tags;
pub mod targeted;
pub mod unkeyed;
pub mod update;
pub mod validation;
pub mod validators;
pub mod vary;
pub mod weighted;
