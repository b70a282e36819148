//! An answer that depends on something of one request is never stored for the request of a stranger.

use super::*;
use crate::support::Link;

/// Sends a request of these bytes on a connection of its own, and returns the body and whether it came from the store.
#[track_caller]
fn ask(proxy: &Proxy, request: &str) -> (String, bool) {
    let answer = proxy.ask(request);
    let status = answer.field("cache-status").unwrap_or_default();
    (answer.text(), status.contains("; hit"))
}

/// The body of a GET is no part of the key, so that its answer is for this request alone.
#[test]
fn an_answer_to_a_get_with_a_body_is_nobody_elses() {
    let origin = origin(|request, _| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        ok(&["Cache-Control: max-age=3600"], &format!("[{body}]"))
    });
    let proxy = caching("", &[origin.addr]);
    let fat = "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nevil";
    let chunked =
        "GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    for fat in [fat, chunked] {
        assert_eq!(ask(&proxy, fat), ("[evil]".to_owned(), false));
    }
    assert_eq!(ask(&proxy, plain), ("[]".to_owned(), false));
    assert_eq!(ask(&proxy, plain), ("[]".to_owned(), true));
    assert_eq!(ask(&proxy, fat), ("[evil]".to_owned(), false));
}

/// A backend does not get the fields that `Connection` names (RFC 9110 section 7.6.1), so that they select no answer.
#[test]
fn fields_that_the_backend_does_not_get_select_no_answer() {
    let origin = origin(|request, _| {
        let tenant = request.head.field("x-tenant").unwrap_or("none");
        let language = request.head.field("accept-language").unwrap_or("none");
        let fields = ["Cache-Control: max-age=3600", "Vary: Accept-Language"];
        ok(&fields, &format!("{tenant} {language}"))
    });
    let proxy = caching("key_headers = ['x-tenant']", &[origin.addr]);
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    let named = "Connection: x-tenant, accept-language\r\nX-Tenant: a\r\nAccept-Language: de\r\n";
    assert_eq!(ask(&proxy, &get(named)).0, "none none");
    let fields = "X-Tenant: a\r\nAccept-Language: de\r\n";
    assert_eq!(ask(&proxy, &get(fields)), ("a de".to_owned(), false));
    assert_eq!(ask(&proxy, &get(fields)), ("a de".to_owned(), true));
    assert_eq!(ask(&proxy, &get("")), ("none none".to_owned(), true));
}

/// An answer that makes the proxy ask once more is not received to its end: what comes of it later answers nobody.
#[test]
fn the_body_of_an_answer_that_is_not_used_answers_nobody() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |link: &mut Link| {
        let body: Vec<u8> = bytes(100);
        while let Some(request) = link.request() {
            let is_range = request.head.field("range").is_some();
            if count.fetch_add(1, SeqCst) == 0 {
                let head = "HTTP/1.1 206 Partial\r\nETag: \"a\"\r\nCache-Control: max-age=3600\r\n\
                    Content-Range: bytes 0-49/100\r\nContent-Length: 50\r\n\r\n";
                link.send([head.as_bytes(), &body[..50]].concat());
            } else if is_range {
                let other = ok(&["Cache-Control: max-age=3600"], "other");
                let length = other.len();
                let last = 49 + length;
                link.send(format!(
                    "HTTP/1.1 206 Partial\r\nETag: \"b\"\r\nContent-Length: {length}\r\n\
                     Content-Range: bytes 50-{last}/{}\r\n\r\n",
                    last + 1
                ));
                // The proxy closes the connection or asks on it; either way this is no answer to what it asks.
                link.try_send(other);
            } else {
                link.send(ok(&["Cache-Control: max-age=3600", "ETag: \"b\""], "right"));
            }
        }
    });
    let proxy = caching("", &[origin.addr]);
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    assert_eq!(proxy.ask(get("Range: bytes=0-49\r\n")).status(), 206);
    let answer = proxy.ask(get("Range: bytes=50-99\r\n"));
    assert!(!answer.text().contains("other"), "{answer:?}");
    assert_eq!(ask(&proxy, &get("")).0, "right");
}

/// A 304 that names more fields in `Vary` makes the response one for requests like the one that it answers.
#[test]
fn a_304_with_another_vary_changes_who_gets_the_response() {
    let origin = origin(|request, _| {
        let user = request.head.field("x-user").unwrap_or("none").to_owned();
        let tag = format!("ETag: \"{user}\"");
        match request.head.field("if-none-match") {
            Some(known) if known.contains(&user) => message(
                304,
                &["Cache-Control: max-age=3600", "Vary: X-User", &tag],
                None,
            ),
            Some(_) => ok(
                &["Cache-Control: max-age=3600", "Vary: X-User", &tag],
                &user,
            ),
            None => ok(&["Cache-Control: max-age=0", &tag], &user),
        }
    });
    let proxy = caching("", &[origin.addr]);
    let get = |user: &str| format!("GET / HTTP/1.1\r\nHost: test\r\nX-User: {user}\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, &get("alice")).0, "alice");
    }
    assert_eq!(ask(&proxy, &get("bob")).0, "bob");
    assert_eq!(ask(&proxy, &get("alice")).0, "alice");
}
