//! Panics on demand, for tests of what a thread's panic does to the process. Does nothing in a release build.

/// Panics if the file that `PALANTIR_PANIC_FILE` names contains the name of this place, and removes the file.
#[cfg(debug_assertions)]
pub fn panic_on_demand(place: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::{env, fs};
    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| env::var_os("PALANTIR_PANIC_FILE").map(PathBuf::from));
    let Some(file) = &*FILE else {
        return;
    };
    let is_wanted = fs::read_to_string(file).is_ok_and(|wanted| wanted == place);
    // Of several threads, only the one that removes the file panics.
    assert!(
        !is_wanted || fs::remove_file(file).is_err(),
        "a panic was asked for"
    );
}

#[cfg(not(debug_assertions))]
/// Does nothing: only builds with debug assertions panic on demand.
pub fn panic_on_demand(_: &str) {}
