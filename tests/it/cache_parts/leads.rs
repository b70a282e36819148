//! A conditional request for what is not stored: the cache asks for the whole, and evaluates the condition itself.

use super::{Object, asked, caching, get_with, origin_of};
use crate::support::get;

#[test]
fn a_condition_on_a_miss_does_not_keep_the_answer_out_of_the_store() {
    for (condition, status) in [
        ("If-None-Match: \"one\"", 304),
        ("If-None-Match: \"other\"", 200),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ] {
        let object = Object::of(1_000);
        let body = object.body.clone();
        let (origin, _) = origin_of(object);
        let proxy = caching(&origin, "");
        let answer = proxy.ask(get_with(condition));
        assert_eq!(answer.status(), status, "{condition}");
        assert_eq!(asked(&origin, "if-none-match"), [None], "{condition}");
        assert_eq!(asked(&origin, "if-modified-since"), [None]);
        let stored = proxy.ask(get("/object"));
        assert_eq!((stored.status(), stored.body), (200, body));
        assert_eq!(origin.count(), 1, "the first fetch has stored the whole");
    }
}

#[test]
fn a_condition_goes_to_the_backend_where_nothing_is_stored() {
    let mut object = Object::of(1_000);
    object.fields = "Cache-Control: private\r\n".to_owned();
    let (origin, _) = origin_of(object);
    let proxy = caching(&origin, "");
    let own = Some("\"one\"".to_owned());
    for expected in [
        vec![None, own.clone()],
        vec![None, own.clone(), own.clone()],
    ] {
        let answer = proxy.ask(get_with("If-None-Match: \"one\""));
        assert_eq!(answer.status(), 304);
        // The key is remembered, so that the whole is not asked for in vain once more.
        assert_eq!(asked(&origin, "if-none-match"), expected);
    }
}
