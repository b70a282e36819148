//! Picks the backend of a request.

/// A pool's algorithm as configured.
#[derive(Clone, Debug)]
pub struct AlgorithmPlan;
