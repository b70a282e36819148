//! The router against a loop that answers in the place of the real one.
