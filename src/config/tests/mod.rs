//! Tests of whole files: their mistakes word for word, or their snapshot.

mod cache;
mod declared;
mod health_checks;
mod mistakes;
mod names;
mod never_panics;
mod rows;
mod schema;
mod sharing;
mod snapshots;
mod tls;
mod traffic;
mod warnings;

use super::*;

fn parsed(text: &str) -> Result<Config, Mistakes> {
    parse(Path::new("c.toml"), text.to_owned())
}

#[test]
fn the_path_is_the_one_given_then_the_environments_then_the_first_that_exists() {
    let both = |name: &str| Some(OsString::from(name));
    let second = |name: &str| both(name).filter(|_| name == PATH_VARIABLES[1]);
    let empty = |_: &str| Some(OsString::new());
    let given = || Some(PathBuf::from("given.toml"));
    assert_eq!(find(given(), both), Path::new("given.toml"));
    assert_eq!(find(None, both), Path::new("PALANTIR_CONFIG"));
    assert_eq!(find(None, second), Path::new("REVERSE_PROXY_CONFIG_PATH"));
    // The tests run beside the shipped file.
    assert_eq!(find(None, empty), Path::new("config.toml"));
}

#[test]
fn a_file_counts_when_it_was_read_twice_the_same() {
    let rows: [(&[&str], Option<&str>); 4] = [
        (&["a", "a"], Some("a")),
        (&["", "a", "a", "b"], Some("a")),
        (&["", "", "a"], Some("")),
        (&["a", "b"], None),
    ];
    for (readings, expected) in rows {
        let mut readings = readings.iter().cycle();
        let read = || Ok(readings.next().unwrap().as_bytes().to_vec());
        let settled = settled(read, || {}).ok();
        let settled = settled.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(settled.as_deref(), expected);
    }
}
