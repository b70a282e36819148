//! Requests that wait for the answer to another one (RFC 9211 calls them collapsed): one request to the backend is
//! enough for all of them.

use super::*;

const HOUR: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n";

/// Clients of both versions that ask for the same at the same time, on several connections of each worker.
pub(super) struct Crowd {
    one: Vec<Client>,
    two: Vec<(H2, Vec<u32>)>,
}

impl Crowd {
    /// Sends so many requests of each version, the ones of HTTP/2 five to a connection.
    #[track_caller]
    pub fn ask(proxy: &Proxy, each: usize, fields: &[(&str, &str)]) -> Crowd {
        let mut request = "GET / HTTP/1.1\r\nHost: test\r\n".to_owned();
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        let one = (0..each).map(|_| {
            let mut client = proxy.client();
            client.send(format!("{request}\r\n"));
            client
        });
        let one = one.collect();
        let two = (0..each / 5).map(|_| {
            let mut client = proxy.h2();
            let begin = |_| client.begin(&frame::get("/", fields), true);
            let streams = (0..5).map(begin).collect();
            (client, streams)
        });
        let two = two.collect();
        Crowd { one, two }
    }

    pub fn len(&self) -> usize {
        self.one.len() + self.two.len() * 5
    }

    /// Waits until each of them has these bytes of its body. So many of them were there `before`.
    #[track_caller]
    pub fn have(&mut self, body: &[u8], before: usize) {
        for client in &mut self.one {
            if before == 0 {
                let head = client.head();
                assert_eq!(head.status(), 200, "{head:?}");
                assert!(head.field("content-length").is_some(), "{head:?}");
            }
            assert!(client.bytes(body.len() - before) == body[before..]);
        }
        for (client, streams) in &mut self.two {
            for stream in streams {
                client.pump_until("the body comes", |client| {
                    let answer = client.answers.get(stream);
                    answer.is_some_and(|answer| answer.body.len() >= body.len())
                });
                assert!(client.answers[stream].body.starts_with(body));
            }
        }
    }

    /// The whole answers.
    #[track_caller]
    pub fn answers(mut self) -> Vec<(u16, Vec<u8>, bool)> {
        let mut answers = Vec::new();
        for client in &mut self.one {
            let answer = client.answer();
            answers.push((answer.status(), answer.body, answer.complete));
        }
        for (client, streams) in &mut self.two {
            for stream in streams {
                let answer = client.answer(*stream);
                answers.push((answer.status(), answer.body, answer.complete));
            }
        }
        answers
    }
}

#[test]
fn a_hundred_misses_make_one_request() {
    for (size, framing) in [
        (5, "length"),
        (300_000, "length"),
        (300_000, "chunked"),
        (3_000_000, "length"),
    ] {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = Origin::start(move |link| {
            while link.request().is_some() {
                opened.wait(1);
                let body = bytes(size);
                match framing {
                    "length" => link.send(format!("{HOUR}Content-Length: {size}\r\n\r\n")),
                    _ => link.send(format!(
                        "{HOUR}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n"
                    )),
                }
                link.send(&body);
                if framing == "chunked" {
                    link.send("\r\n0\r\n\r\n");
                }
            }
        });
        let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
        let crowd = Crowd::ask(&watched.proxy, 50, &[]);
        watched.wait_for_requests(crowd.len());
        gate.open();
        for (status, body, complete) in crowd.answers() {
            assert_eq!((status, complete), (200, true), "{size} {framing}");
            assert!(
                body == bytes(size),
                "{size} {framing}: {} bytes",
                body.len()
            );
        }
        assert_eq!(origin.count(), 1, "{size} {framing}");
    }
}

/// Everybody gets each part of the body as it comes, on every worker.
#[test]
fn a_body_that_trickles_reaches_all_as_it_comes() {
    for piece in [10, 1_000, 70_000] {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = Origin::start(move |link| {
            while link.request().is_some() {
                let body = bytes(5 * piece);
                opened.wait(1);
                link.send(format!("{HOUR}Content-Length: {}\r\n\r\n", body.len()));
                for (number, part) in body.chunks(piece).enumerate() {
                    opened.wait(number + 1);
                    link.send(part);
                }
            }
        });
        let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
        let mut crowd = Crowd::ask(&watched.proxy, 20, &[]);
        watched.wait_for_requests(crowd.len());
        let body = bytes(5 * piece);
        for number in 1..=5 {
            gate.open();
            crowd.have(&body[..number * piece], (number - 1) * piece);
            if number == 3 {
                // A client that comes now follows from the first byte on.
                let mut late = watched.proxy.client();
                late.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
                late.head();
                assert!(late.bytes(3 * piece) == body[..3 * piece]);
            }
        }
        assert_eq!(origin.count(), 1);
    }
}

/// Requests that cannot have the answer go out at once, all together, and later ones do not wait at all.
#[test]
fn an_answer_that_is_not_stored_frees_those_who_wait() {
    let (each, gate) = (10, Gate::default());
    let opened = gate.clone();
    // Every answer but the first waits until all the requests of its round have come.
    let origin = origin(move |request, number| {
        opened.wait(match number {
            1 => 1,
            _ => 2 + (number - 1) / (2 * each),
        });
        let field = match request.head.field("x-last") {
            Some(_) => "Cache-Control: max-age=3600",
            None => "Cache-Control: private, max-age=3600",
        };
        ok(&[field], &number.to_string())
    });
    let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
    for round in 1..=2 {
        let crowd = Crowd::ask(&watched.proxy, each, &[]);
        watched.wait_for_requests(2 * each);
        if round == 1 {
            gate.open();
        }
        origin.wait_for_requests(2 * each * round);
        gate.open();
        let mut bodies: Vec<_> = crowd.answers().into_iter().map(|answer| answer.1).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(
            bodies.len(),
            2 * each,
            "nobody got the answer of another one"
        );
    }
    // The first answer that is stored ends this.
    gate.open();
    let mut client = Asker::new(&watched.proxy, Version::One);
    assert!(
        client
            .get("/", &[("x-last", "1")])
            .parameter("stored")
            .is_some()
    );
    assert!(client.get("/", &[]).is_hit());
}

/// One of several variants is no answer to the others.
#[test]
fn each_variant_gets_its_own_answer() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = origin(move |request, _| {
        opened.wait(1);
        let lang = request.head.field("x-lang").unwrap_or("none").to_owned();
        ok(&["Cache-Control: max-age=3600", "Vary: x-lang"], &lang)
    });
    let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
    let crowds = ["de", "en", "fr"].map(|lang| {
        let crowd = Crowd::ask(&watched.proxy, 5, &[("x-lang", lang)]);
        (lang, crowd)
    });
    watched.wait_for_requests(30);
    gate.open();
    for (lang, crowd) in crowds {
        for (status, body, _) in crowd.answers() {
            assert_eq!((status, body), (200, lang.as_bytes().to_vec()));
        }
    }
    // Once it is known what the answers depend on, each variant is asked for once.
    let before = origin.count();
    let crowds =
        ["es", "it"].map(|lang| (lang, Crowd::ask(&watched.proxy, 5, &[("x-lang", lang)])));
    for (lang, crowd) in crowds {
        for (_, body, _) in crowd.answers() {
            assert_eq!(body, lang.as_bytes());
        }
    }
    assert_eq!(origin.count(), before + 2);
}

/// A client that comes while the body of its variant is on its way follows it.
#[test]
fn a_variant_on_its_way_is_followed() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let lang = request.head.field("x-lang").unwrap().to_owned();
            link.send(format!(
                "{HOUR}Vary: x-lang\r\nContent-Length: 10\r\n\r\n{lang}..."
            ));
            if lang == "de" {
                opened.wait(1);
            }
            link.send("12345");
        }
    });
    let proxy = caching("collapse_timeout = '60s'", &[origin.addr]);
    let ask = |lang| format!("GET / HTTP/1.1\r\nHost: test\r\nX-Lang: {lang}\r\n\r\n");
    assert_eq!(proxy.ask(ask("en")).text(), "en...12345");
    let mut leader = proxy.client();
    leader.send(ask("de"));
    leader.head();
    assert_eq!(leader.bytes(5), b"de...");
    let mut crowd = Crowd::ask(&proxy, 10, &[("x-lang", "de")]);
    crowd.have(b"de...", 0);
    assert_eq!(origin.count(), 2);
    gate.open();
    crowd.have(b"de...12345", 5);
    assert_eq!(leader.bytes(5), b"12345");
    assert_eq!(origin.count(), 2);
}

/// A stale answer is validated once for all who want it.
#[test]
fn one_validation_is_enough_for_all() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = origin(
        move |request, number| match request.head.field("if-none-match") {
            None => ok(
                &["Cache-Control: max-age=3600", "Age: 3600", "ETag: \"a\""],
                &number.to_string(),
            ),
            Some(_) => {
                opened.wait(1);
                message(304, &["Cache-Control: max-age=3600", "ETag: \"a\""], None)
            }
        },
    );
    let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
    watched.proxy.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let crowd = Crowd::ask(&watched.proxy, 20, &[]);
    watched.wait_for_requests(crowd.len());
    gate.open();
    for (status, body, _) in crowd.answers() {
        assert_eq!((status, body), (200, b"1".to_vec()));
    }
    assert_eq!(origin.count(), 2);
}

/// A request that cannot have another one's answer does not wait for it.
#[test]
fn some_requests_never_wait() {
    for fields in [
        [("range", "bytes=0-1")],
        [("authorization", "Basic abc")],
        [("accept", "text/event-stream")],
        [("cache-control", "no-store")],
        [("if-match", "\"a\"")],
    ] {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = origin(move |_, _| {
            opened.wait(1);
            ok(&["Cache-Control: max-age=3600"], "hello")
        });
        let proxy = caching("collapse_timeout = '60s'", &[origin.addr]);
        let crowd = Crowd::ask(&proxy, 5, &fields);
        origin.wait_for_requests(crowd.len());
        gate.open();
        for (status, ..) in crowd.answers() {
            assert_eq!(status, 200, "{fields:?}");
        }
    }
}

/// RFC 9211 section 2.5: who got another one's answer is told so.
#[test]
fn cache_status_says_who_waited() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = origin(move |_, _| {
        opened.wait(1);
        ok(&["Cache-Control: max-age=3600"], "hello")
    });
    let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
    let mut clients: Vec<_> = (0..4).map(|_| watched.proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    watched.wait_for_requests(4);
    gate.open();
    let count = |what: &str, answers: &[String]| {
        answers
            .iter()
            .filter(|status| status.contains(what))
            .count()
    };
    let answers = clients.iter_mut().map(|client| client.answer());
    let answers: Vec<_> = answers
        .map(|answer| answer.field("cache-status").unwrap().to_owned())
        .collect();
    assert_eq!(count("collapsed", &answers), 3, "{answers:?}");
    assert_eq!(count("stored", &answers), 1, "{answers:?}");
    assert_eq!(count("fwd=uri-miss", &answers), 4, "{answers:?}");
}

/// An answer that a request got because of its own fields does not keep others from sharing one.
#[test]
fn what_one_request_got_says_nothing_of_others() {
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("range", "bytes=90-"),
        ("if-match", "\"b\""),
        ("authorization", "Basic abc"),
        ("cache-control", "no-store"),
    ] {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = origin(move |request, number| {
            if number > 1 {
                opened.wait(1);
            }
            let head = &request.head;
            let fields = ["Cache-Control: max-age=3600", "ETag: \"a\""];
            match head.field("range") {
                Some("bytes=90-") => message(416, &["Content-Range: bytes */5"], Some("")),
                Some(_) => message(
                    206,
                    &[&fields[..], &["Content-Range: bytes 0-1/5"]].concat(),
                    Some("he"),
                ),
                None if head.field("if-none-match").is_some() => message(304, &fields, None),
                None if head.field("if-match").is_some() => message(412, &[], Some("")),
                None => ok(&fields, "hello"),
            }
        });
        let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
        let mut client = Asker::new(&watched.proxy, Version::One);
        let own = client.get("/", &[(name, value)]);
        assert!(!own.is_hit(), "{name}: {own:?}");
        // A part is stored as such, and answers no request for the whole.
        let is_part = own.status == 206;
        let is_stored = own.parameter("stored").is_some();
        assert_eq!(is_stored, is_part, "{name}: {own:?}");
        let crowd = Crowd::ask(&watched.proxy, 10, &[]);
        // A request of the cache's own fetches the bytes that a part lacks.
        watched.wait_for_requests(crowd.len() + usize::from(is_part));
        gate.open();
        for (status, body, _) in crowd.answers() {
            assert_eq!((status, body), (200, b"hello".to_vec()), "{name}");
        }
        // The backend answers the request for the rest with the same part, so that it is asked for the whole, too.
        let asked = 2 + usize::from(is_part);
        assert_eq!(origin.count(), asked, "{name}: {value}");
    }
}
