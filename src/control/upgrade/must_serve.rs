//! The rule that the next process must have something to serve: like a reload, an upgrade refuses a file without any
//! route or listener.

use std::path::Path;

use crate::config::Config;
use crate::net::{Blob, BlobKind};

/// The message has no bytes: its presence says all.
pub const MUST_SERVE: BlobKind = BlobKind {
    name: "must-serve",
    version: 1,
};

/// The message to a next process that must have something to serve.
pub fn must_serve() -> Blob {
    MUST_SERVE.blob(Vec::new())
}

/// Checks that the configuration may be taken over from a process that sent these messages. Errors: the configuration
/// serves nothing and must.
pub fn may_take_over(config: &Config, told: &[Blob]) -> Result<(), String> {
    let must_serve = MUST_SERVE.find(told).is_some();
    if must_serve && config.is_empty() {
        return Err(is_empty(&config.path));
    }
    Ok(())
}

fn is_empty(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path}: there is no route or no listener, so that nothing would be served; to take it over nevertheless, \
         upgrade with allow_empty"
    )
}
