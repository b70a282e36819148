//! Mistakes in the cache, and in the caches of routes.

use super::*;
use crate::config::cache_checks::check_machine;
use crate::config::notes::Notes;

#[test]
fn of_the_section() {
    expect(
        r#"
[cache]
max_bytes = "1GB "
name = "my cache"
disk = { path = "", max_size = 0, sync = true }
size = 1
"#,
        &[
            "2:13: cache.max_bytes = \"1GB \": must be a whole number of bytes from 1048576 to 17179869184, or a text such as \"64KiB\" or \"10MB\"",
            "3:8: cache.name = \"my cache\": must be a letter, and at most 63 further letters, digits, \"-\", \"_\" or \".\"",
            "4:17: cache.disk.path = \"\": must name a file",
            "4:32: cache.disk.max_size = 0: must be a whole number of bytes from 67108864 to 1125899906842624, or a text such as \"64KiB\" or \"10MB\"",
            "4:35: cache.disk.sync = true: unknown key; known: path, max_size",
            "5:1: cache.size = 1: unknown key; did you mean \"max_size\"?",
        ],
    );
    expect(
        "[cache]\nmax_size = 1048576\nmax_bytes = 1048576\ndisk = {}\n[[routes]]\nbackend_addrs = ['a:1']\ncache = true\n",
        &[
            "3:13: cache.max_bytes = 1048576: is another key for \"max_size\", which is set too; leave one of the two out",
            "4:8: cache.disk = {}: \"path\" is missing",
            "4:8: cache.disk = {}: \"max_size\" is missing",
            "7:9: routes[0].cache = true: must be a table",
        ],
    );
}

#[test]
fn of_a_cache_without_the_section() {
    expect(
        "[[routes]]\nbackend_addrs = ['a:1']\ncache = {}\n",
        &[
            "3:9: routes[0].cache = {}: needs a section [cache] with max_size, the size of the cache of all routes",
        ],
    );
    expect("[cache]\n", &["1:1: cache: \"max_size\" is missing"]);
}

/// Each kind of value, and what is said where another stands.
#[test]
fn of_times_and_sizes() {
    expect(
        r#"
[cache]
max_size = "8MiB"
[[routes]]
backend_addrs = ["a:1"]
[routes.cache]
max_object = "8 MiB"
error_ttl_max = "1500ms"
stale_if_unreachable = "366d"
stale_if_error = true
stale_while_revalidate = -1
collapse_timeout = 0
uncacheable_memory = 0.5
stale_after = "on"
slice = "65MiB"
min_uses = 0
max_percent = 101
max_variants = 1025
heuristic = { percent = 101, max = "x", min = 1 }
"#,
        &[
            "6:14: routes[0].cache.max_object = \"8 MiB\": must be a whole number of bytes from 0 to 1099511627776, or a text such as \"64KiB\" or \"10MB\"",
            "7:17: routes[0].cache.error_ttl_max = \"1500ms\": must be a whole number of seconds",
            "8:24: routes[0].cache.stale_if_unreachable = \"366d\": must be a number of seconds from 0 to 31536000, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "9:18: routes[0].cache.stale_if_error = true: must be a number of seconds from 0 to 31536000, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "10:26: routes[0].cache.stale_while_revalidate = -1: must be a number of seconds from 0 to 31536000, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "11:20: routes[0].cache.collapse_timeout = 0: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "12:22: routes[0].cache.uncacheable_memory = 0.5: must be a whole number of seconds",
            "13:15: routes[0].cache.stale_after = \"on\": must be \"off\", or a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "14:9: routes[0].cache.slice = \"65MiB\": must be \"off\", or a whole number of bytes from 65536 to 67108864, or a text such as \"64KiB\" or \"10MB\"",
            "15:12: routes[0].cache.min_uses = 0: must be a whole number from 1 to 100",
            "16:15: routes[0].cache.max_percent = 101: must be a whole number from 1 to 100",
            "17:16: routes[0].cache.max_variants = 1025: must be a whole number from 1 to 1024",
            "18:25: routes[0].cache.heuristic.percent = 101: must be a whole number from 0 to 100",
            "18:36: routes[0].cache.heuristic.max = \"x\": must be a number of seconds from 0 to 31536000, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "18:41: routes[0].cache.heuristic.min = 1: unknown key; known: percent, max",
        ],
    );
}

#[test]
fn of_lifetimes_by_status() {
    expect(
        r#"
[cache]
max_size = "8MiB"
[[routes]]
backend_addrs = ["a:1"]
cache = { ttl = { 200 = "10m", 404 = "1.5s", 99 = 1, 600 = 1, 0200 = 1, 2xx = 1, overide = true, override = "some" } }
[[routes]]
prefix = "/b"
backend_addrs = ["a:1"]
cache = { ttl = "10m" }
[[routes]]
prefix = "/c"
backend_addrs = ["a:1"]
cache = { ttl = { override = 1 }, slice = "16MiB" }
[[routes]]
prefix = "/d"
backend_addrs = ["a:1"]
cache = { tll = {} }
"#,
        &[
            "5:38: routes[0].cache.ttl.404 = \"1.5s\": must be a number of seconds from 0 to 31536000, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "5:51: routes[0].cache.ttl.99 = 1: is for no status: the statuses are from 200 to 599",
            "5:60: routes[0].cache.ttl.600 = 1: is for no status: the statuses are from 200 to 599",
            "5:70: routes[0].cache.ttl.0200 = 1: is for no status: the statuses are from 200 to 599",
            "5:73: routes[0].cache.ttl.2xx = 1: unknown key; known: a status, override",
            "5:82: routes[0].cache.ttl.overide = true: unknown key; did you mean \"override\"?",
            "5:109: routes[0].cache.ttl.override = \"some\": must be true, false or \"all\"",
            "9:17: routes[1].cache.ttl = \"10m\": must be a table",
            "13:30: routes[2].cache.ttl.override = 1: must be true, false or a text in quotes",
            "13:43: routes[2].cache.slice = \"16MiB\": is larger than max_object (8388608 bytes): no slice would be stored",
            "17:11: routes[3].cache.tll = {}: unknown key; did you mean \"ttl\"?",
        ],
    );
}

#[test]
fn of_words_names_and_patterns() {
    expect(
        r#"
[cache]
max_size = "8MiB"
[[routes]]
backend_addrs = ["a:1"]
[routes.cache]
set_cookie = "keep"
authorization = 1
client_directives = "honor"
status = "short"
zone = "a b"
sort_query = "yes"
strip_targeted = 1
forward_tags = 0
ignore_query = ["utm_*", "a*b", "", 1]
key_headers = ["X-A", "x b", "authorization: Bearer a"]
strip_cookies = "_ga*"
targeted = ["CDN-Cache-Control", "Cache-Control", "é"]
vary = { ignore = ["User-Agent", "*"], unkeyed = [] }
bypass = { cookies = ["*a*b"], headers = ["x-p", ":a"], paths = ["cart*", "/a*b"] }
"#,
        &[
            "6:14: routes[0].cache.set_cookie = \"keep\": unknown; known: refuse, strip, store",
            "7:17: routes[0].cache.authorization = 1: must be a text in quotes",
            "8:21: routes[0].cache.client_directives = \"honor\": unknown; did you mean \"honour\"?",
            "9:10: routes[0].cache.status = \"short\": unknown; known: full, brief, off",
            "10:8: routes[0].cache.zone = \"a b\": must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
            "11:14: routes[0].cache.sort_query = \"yes\": must be true or false",
            "12:18: routes[0].cache.strip_targeted = 1: must be true or false",
            "13:16: routes[0].cache.forward_tags = 0: must be true or false",
            "14:26: routes[0].cache.ignore_query[1] = \"a*b\": must be a name, with a \"*\" at either end for any text, or without",
            "14:33: routes[0].cache.ignore_query[2] = \"\": must be a name, with a \"*\" at either end for any text, or without",
            "14:37: routes[0].cache.ignore_query[3] = 1: must be a text in quotes",
            "15:23: routes[0].cache.key_headers[1] = ***: is not a field name",
            "15:30: routes[0].cache.key_headers[2] = ***: is not a field name",
            "16:17: routes[0].cache.strip_cookies = \"_ga*\": must be a list in brackets",
            "17:34: routes[0].cache.targeted[1] = \"Cache-Control\": counts where none of the targeted fields does; leave it out",
            "17:51: routes[0].cache.targeted[2] = \"é\": is not a field name",
            "18:40: routes[0].cache.vary.unkeyed: unknown key; known: ignore, uncacheable",
            "19:23: routes[0].cache.bypass.cookies[0] = \"*a*b\": must be a name, with a \"*\" at either end for any text, or without",
            "19:50: routes[0].cache.bypass.headers[1] = ***: is not a field name",
            "19:66: routes[0].cache.bypass.paths[0] = \"cart*\": never matches: a path begins with \"/\"",
            "19:75: routes[0].cache.bypass.paths[1] = \"/a*b\": must be a name, with a \"*\" at either end for any text, or without",
        ],
    );
}

#[test]
fn of_those_who_may_purge() {
    let text = |value: &str| {
        format!(
            "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache.purge_method = {value}\n"
        )
    };
    for (value, mistake) in [
        (
            "true",
            "5:22: routes[0].cache.purge_method = true: must be \"off\", or a table",
        ),
        (
            "{}",
            "5:22: routes[0].cache.purge_method = {}: \"allow\" is missing",
        ),
        (
            "{ allow = [] }",
            "5:32: routes[0].cache.purge_method.allow: must not be empty: name the networks of those who may purge",
        ),
        (
            "{ allow = ['lan'] }",
            "5:33: routes[0].cache.purge_method.allow[0] = 'lan': \"lan\" is not an IP address",
        ),
    ] {
        expect(&text(value), &[mistake]);
    }
    assert!(parsed(&text("'off'")).is_ok());
}

/// The size is compared with the memory of the machine, which no text can know.
#[test]
fn of_a_cache_that_does_not_fit_into_the_machine() {
    let text = "[cache]\nmax_bytes = 7600\n".replace("7600", &(76 << 20).to_string());
    let config = parsed(&text).unwrap();
    let mistakes = |machine_bytes: u64| {
        let notes = Notes::new(&text);
        check_machine(&config.settings, machine_bytes, &notes);
        let (notes, _) = notes.into_list();
        let notes = notes.iter().map(|note| note.to_string());
        notes.collect::<Vec<_>>()
    };
    let expected = "2:13: cache.max_bytes = 79691776: is more than 75 % of the 104857600 bytes of memory that the process may have: at most 78643200 are possible";
    assert_eq!(mistakes(100 << 20), [expected]);
    assert_eq!(mistakes(102 << 20), Vec::<String>::new());
}
