//! Small integers that name things, so that the way of a request compares numbers and never strings.

use std::fmt;

/// A backend's row in the [`crate::shared::backend_table::BackendTable`]s, the same on every core and stable for as
/// long as any snapshot names the backend. Range: `0..limits::BACKENDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u32);

/// A pool's index in [`crate::snapshot::Snapshot::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u32);

/// A route's index in [`crate::snapshot::Snapshot::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// A worker's number, counted from 0 in the order of its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// A request's number, unique in this process. Shown to clients and in logs as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl BackendId {
    /// The row's index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl PoolId {
    /// The pool's index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RouteId {
    /// The route's index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl WorkerId {
    /// The worker's index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
