//! The blame for an exchange whose time is over: a backend is not put aside for time that others have used up.

use super::*;

/// A client that sends slowly, or wants an answer at once, does not have a backend put aside for everybody else.
#[test]
fn a_client_that_uses_up_its_time_is_no_failure_of_the_backend() {
    let serve = |link: &mut Link| {
        while let Some(head) = link.head() {
            if head.first_line().contains("/slow ") {
                std::thread::sleep(PATIENCE);
            }
            if link.body_of(head).is_none() || !link.try_send(crate::support::origin::ok("ok")) {
                return;
            }
        }
    };
    let origins = [Origin::start(serve), Origin::start(serve)];
    let [first, second] = origins.each_ref().map(|origin| origin.addr);
    // Only those requests are bounded that are to take too long.
    let proxy = Proxy::start(&format!(
        "[[pools]]\nname = \"p\"\nbackends = [\"{first}\", \"{second}\"]\n\
         outlier = {{ consecutive_failures = 2, eject_secs = 30, max_ejected_percent = 100 }}\n\
         [[routes]]\npool = \"p\"\n[[routes]]\nprefix = \"/bounded\"\npool = \"p\"\ntimeout = 1.5\n"
    ));
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send("POST /bounded HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
        let answer = client.answer();
        assert_eq!((answer.status(), word(&answer)), (504, "exchange_timeout"));
    }
    let call = [("content-type", "application/grpc"), ("grpc-timeout", "1m")];
    for _ in 0..3 {
        let mut client = proxy.h2();
        client.ask_with(&frame::post("/bounded/slow", &call), b"");
    }
    for _ in 0..5 {
        assert_eq!(proxy.ask(get("/")).status(), 200);
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(!proxy.log().contains("consecutive failures"));
    // A backend that lets time pass that it has to itself is put aside as ever.
    for _ in 0..4 {
        assert_eq!(proxy.ask(get("/bounded/slow")).status(), 504);
    }
    proxy.wait_for_log(&["2 consecutive failures"]);
}

/// Fails if a backend was put aside.
#[track_caller]
fn blames_nobody(proxy: &Proxy) {
    let log = proxy.log();
    assert!(!log.contains("consecutive failures"), "{log}");
}

/// Two backends that answer in a fifth of the time for the whole exchange, with this setting, and that are put aside
/// for three failures in a row.
fn two_quick_backends(setting: &str) -> (Proxy, [Origin; 2]) {
    let serve = |link: &mut Link| {
        while link.request().is_some() {
            std::thread::sleep(Duration::from_millis(600));
            if !link.try_send(crate::support::origin::ok("ok")) {
                return;
            }
        }
    };
    let origins = [Origin::start(serve), Origin::start(serve)];
    let backends = origins
        .each_ref()
        .map(|origin| format!("{{ addr = \"{}\"{setting} }}", origin.addr));
    let config = format!(
        "workers = 1\ntimeouts = {{ client_header = 600 }}\n[[pools]]\nname = \"p\"\nbackends = [{}]\n\
         outlier = {{ consecutive_failures = 3, eject_secs = 600, max_ejected_percent = 100 }}\n\
         [[routes]]\npool = \"p\"\ntimeout = 3\n",
        backends.join(", ")
    );
    (Proxy::start(&config), origins)
}

/// Clients that hold their requests back leave the backend less of the time than it needs.
#[test]
fn a_backend_is_not_blamed_for_time_that_its_clients_have_used_up() {
    let (proxy, _origins) = two_quick_backends("");
    let request = get("/");
    let (begun, rest) = request.split_at(10);
    let mut slow: Vec<_> = (0..12).map(|_| proxy.client()).collect();
    slow.iter_mut().for_each(|client| client.send(begun));
    std::thread::sleep(Duration::from_millis(2_700));
    for client in &mut slow {
        let _ = client.try_send(rest); // On a busy machine it may have been told already that it is too slow.
    }
    for client in &mut slow {
        client.answer();
    }
    blames_nobody(&proxy);
}

/// Requests that wait for a connection use up the time of those behind them.
#[test]
fn a_backend_is_not_blamed_for_time_that_was_spent_in_the_queue() {
    let (proxy, _origins) = two_quick_backends(", max_connections = 1");
    let mut many: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for _ in 0..3 {
        many.iter_mut().for_each(|client| client.send(get("/")));
        for client in &mut many {
            client.answer();
        }
    }
    blames_nobody(&proxy);
}

/// A backend that has closed its receiving side may still answer, but has no more time for that than others.
#[test]
fn a_backend_that_takes_no_more_of_an_upload_has_to_answer_in_time() {
    let directory = Directory::new();
    let path = directory.path().join("backend.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (backend, _) = listener.accept().unwrap();
        backend.shutdown(Shutdown::Read).unwrap();
        tell.send(()).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    });
    let path = path.display();
    let proxy = Proxy::start(&format!(
        "[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"unix:{path}\"]\nretries = 0\n\
         timeouts = {{ upstream_response = 0.5 }}\n"
    ));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30000\r\n\r\n");
    told.recv_timeout(PATIENCE).expect("a connection");
    client.try_send(vec![b'x'; 29_999]);
    let answer = client.answer();
    assert_eq!((answer.status(), word(&answer)), (504, "response_timeout"));
}
