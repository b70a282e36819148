//! An exchange with a backend that has not come to its end.

use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// An exchange with a backend that is not finished. If the process ends meanwhile, the connection is reset: over TLS,
/// an orderly close would tell the backend that it has all of a tunnel or of a body.
pub struct Unfinished<'a> {
    /// The core of the exchange.
    pub shard: &'a Shard,
    /// The connection.
    pub stream: &'a Stream,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.shard.is_cut() {
            self.stream.reset_on_close();
        }
    }
}
