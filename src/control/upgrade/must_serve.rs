//! Whether the next process must have something to serve: an upgrade refuses a file without any route or listener, as a
//! reload does.

use std::path::Path;

use crate::config::Config;
use crate::net::Blob;

const NAME: &str = "must-serve";
/// No bytes: that it is told says all.
const VERSION: u32 = 1;

/// What the next process is told if it must.
pub fn must_serve() -> Blob {
    Blob {
        name: NAME.to_owned(),
        version: VERSION,
        bytes: Vec::new(),
    }
}

/// Whether the configuration may be taken over from a process that has told this. Errors: it serves nothing.
pub fn may_take_over(config: &Config, told: &[Blob]) -> Result<(), String> {
    let must_serve = told
        .iter()
        .any(|blob| blob.name == NAME && blob.version == VERSION);
    match must_serve && config.is_empty() {
        true => Err(is_empty(&config.path)),
        false => Ok(()),
    }
}

fn is_empty(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path}: there is no route or no listener, so that nothing would be served; to take it over nevertheless, \
         upgrade with allow_empty"
    )
}
