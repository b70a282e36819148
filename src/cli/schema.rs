//! `palantir schema`

use std::process::ExitCode;

use super::output;
use crate::config::{reference, schema};

/// Prints the JSON Schema of the configuration file, or the reference in Markdown.
pub fn schema(as_reference: bool) -> ExitCode {
    if as_reference {
        return output::print(&reference::markdown());
    }
    let schema = schema::of_file();
    output::print(&format!("{schema:#}\n"))
}
