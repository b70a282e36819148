//! Panics on demand, to show what becomes of the process when a thread panics. Does nothing in a release build.

/// Panics if the file that `PALANTIR_PANIC_FILE` names says this place, and removes the file.
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
    // Of several threads only the one that removes the file does as it says.
    assert!(
        !is_wanted || fs::remove_file(file).is_err(),
        "a panic was asked for"
    );
}

#[cfg(not(debug_assertions))]
#[inline]
pub fn panic_on_demand(_: &str) {}
