//! `palantir check`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::config::{self, Machine};
use crate::control::start_files;

/// The checks that `palantir check` leaves out: the addresses may be those of a running palantir, and names may resolve
/// later.
const NOT_LOOKED_AT: &str = "not looked at: whether other programs listen on the addresses, names resolve and \
backends answer, and whether another user than this one may open the files";

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
    for warning in start_files::warnings(&config) {
        output::complain(&format!("warning: {warning}"));
    }
    let mut complaints = start_files::complaints(&config);
    complaints.extend(start_files::obstacles(&config));
    if !complaints.is_empty() {
        output::complain(&complaints.join("\n"));
        return ExitCode::FAILURE;
    }
    let (routes, pools, backends) = config.counts();
    output::print(&format!(
        "ok: {routes} routes, {pools} pools, {backends} backends\n{NOT_LOOKED_AT}\n"
    ))
}
