//! `palantir check`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::config::{self, Machine};

/// Prints every mistake of the file to stderr, or else one line on what it configures; warnings to stderr too. Fails if
/// there is a mistake.
pub fn check(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(mistakes) => {
            output::complain(&mistakes.to_string());
            return ExitCode::FAILURE;
        }
    };
    for warning in config.warnings(&Machine::of_this_process()) {
        output::complain(&format!("warning: {}:{warning}", path.display()));
    }
    let (routes, pools, backends) = config.counts();
    output::print(&format!(
        "ok: {routes} routes, {pools} pools, {backends} backends\n"
    ))
}
