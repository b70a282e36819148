//! Finds the route of a request.

/// The compiled routes.
#[derive(Debug, Default)]
pub struct RouteTable;
