//! Interim answers of backends: their bytes and their time are bounded, not their number.

use std::sync::mpsc;

use super::backend_answers::config;
use crate::support::h2::frame::get as h2_get;
use crate::support::origin::ok;
use crate::support::{Origin, Proxy, get};

#[test]
fn many_interim_answers_pass_and_endless_ones_do_not() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line() == "GET /many HTTP/1.1" {
                link.send(interim.repeat(500) + &ok("done"));
                continue;
            }
            while link.try_send(interim.repeat(100)) {}
        }
    });
    let proxy = Proxy::start(&config(&origin, ""));
    let answer = proxy.ask(get("/many"));
    assert_eq!(
        (answer.interim.len(), answer.text().as_str()),
        (500, "done")
    );
    let answer = proxy.h2().ask(&h2_get("/many", &[]));
    assert_eq!(answer.text(), "done");
    assert_eq!(proxy.ask(get("/endless")).status(), 502);
    proxy.wait_for_log(&["too_many_interim"]);
}

/// Interim answers give a backend more time, and not for ever.
#[test]
fn interim_answers_are_bounded_in_time() {
    let (sent, come) = mpsc::channel();
    let sent = std::sync::Mutex::new(sent);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let mut count = 0;
            while link.try_send("HTTP/1.1 102 Processing\r\n\r\n") {
                count += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            let _ = sent.lock().unwrap().send(count);
        }
    });
    let config = "[timeouts]\nupstream_response = 0.2\n".to_owned() + &config(&origin, "");
    let proxy = Proxy::start(&config.replace("workers = 1\n", ""));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status(), 504);
    assert!(come.recv_timeout(crate::support::PATIENCE).unwrap() > 1);
}
