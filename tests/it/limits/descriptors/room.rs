//! Idle connections make room for new clients, and busy ones do not.

use super::*;

/// Of three connections that ask for nothing, one makes room for each client that comes, whatever it speaks and
/// whichever worker it came to.
#[test]
fn idle_connections_make_room_for_others() {
    let patient = Patient::start();
    let admin = free_addr();
    for workers in [1, 3] {
        let proxy = patient.proxy(
            workers,
            admin,
            "[limits]\nconnections = 3\n[timeouts]\nclient_header = 600\nclient_idle = 600\n",
        );
        let mut asked = proxy.client();
        assert_eq!(asked.ask(get("/")).status(), 200);
        let mut silent = proxy.client();
        let mut h2 = proxy.h2();
        h2.ask(&get_h2("/", &[]));
        // A connection that the proxy has not accepted yet cannot be closed for another one.
        eventually("all three are there", || {
            sum(admin, "palantir_client_connections{") == 3.0
        });
        let mut newcomers = asking(proxy.addr, 3, &get("/held"));
        asked.ends();
        silent.ends();
        assert_eq!(h2.end(), Some(0), "it is told that it ends");
        patient.answer();
        for client in &mut newcomers {
            assert_eq!(client.answer().status(), 200);
        }
        patient.may_answer.store(false, SeqCst);
    }
}

/// Clients that are at work keep their places.
#[test]
fn who_is_served_makes_no_room() {
    let patient = Patient::start();
    let admin = free_addr();
    let proxy = patient.proxy(1, admin, "[limits]\nconnections = 2\n");
    let mut held = proxy.client();
    held.send(get("/held"));
    let mut h2 = proxy.h2();
    let stream = h2.begin(&get_h2("/held", &[]), true);
    patient.origin.wait_for_requests(2);
    let mut waiting = proxy.client();
    waiting.send(get("/"));
    // Longer than it takes a connection to count as idle.
    sleep(Duration::from_millis(1_000));
    patient.answer();
    assert_eq!(held.answer().status(), 200);
    assert_eq!(h2.answer(stream).status(), 200);
    assert_eq!(waiting.answer().status(), 200);
}

/// An HTTP/2 client that answers nothing is not waited for until its idle time is over.
#[test]
fn a_silent_client_of_http2_makes_room() {
    let patient = Patient::start();
    let admin = free_addr();
    let proxy = patient.proxy(
        1,
        admin,
        "[limits]\nconnections = 2\n[timeouts]\nclient_idle = 600\n",
    );
    let mut silent: Vec<_> = (0..2).map(|_| proxy.h2()).collect();
    for client in &mut silent {
        client.ask(&get_h2("/", &[])); // From now on nobody reads what it is sent.
    }
    let mut newcomer = proxy.client();
    assert_eq!(newcomer.ask(get("/")).status(), 200);
    drop(silent);
}

/// One newcomer costs one idle connection, also when all become idle while it waits.
#[test]
fn as_many_idle_connections_are_closed_as_clients_wait() {
    let patient = Patient::start();
    let admin = free_addr();
    let proxy = patient.proxy(1, admin, "[limits]\nconnections = 8\n");
    let mut clients = asking(proxy.addr, 8, &get("/held"));
    patient.origin.wait_for_requests(8);
    let mut newcomer = proxy.client();
    newcomer.send(get("/"));
    patient.answer();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!(newcomer.answer().status(), 200);
    let mut alive = 0;
    for client in &mut clients {
        client.try_send(get("/"));
        alive += usize::from(client.stream.peek(&mut [0]).is_ok_and(|count| count > 0));
    }
    // One as a rule; where the machine takes a second to end it, another one.
    assert!(alive >= 4, "{alive} of 8 are left");
}

/// A client on a TLS listener that says nothing counts as idle.
#[test]
fn who_begins_no_handshake_makes_room() {
    let patient = Patient::start();
    let admin = free_addr();
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let secured = free_addr();
    let settings = format!(
        "[timeouts]\nclient_header = 600\n[[listeners]]\naddr = \"{secured}\"\nconnections = 2\n\
         tls = {{ certificates = [{pair}] }}\n"
    );
    let _proxy = patient.proxy(1, admin, &settings);
    let mute: Vec<_> = (0..2).map(|_| Client::connect(secured)).collect();
    let mut client = Dialer::new(&authority, BOTH).client(secured, NAMES[0]);
    assert_eq!(client.ask(get("/")).status(), 200);
    drop(mute);
}

/// A head that does not come to its end keeps no place from others, nor does the beginning of HTTP/2's preface.
#[test]
fn who_sends_half_a_head_makes_room() {
    let patient = Patient::start();
    for begun in ["GET / HT", "P", "PRI * HTTP/2.0\r\n"] {
        let admin = free_addr();
        let proxy = patient.proxy(
            1,
            admin,
            "[limits]\nconnections = 2\n[timeouts]\nclient_header = 600\n",
        );
        let mut slow: Vec<_> = (0..2).map(|_| proxy.client()).collect();
        slow.iter_mut().for_each(|client| client.send(begun));
        assert_eq!(proxy.ask(get("/")).status(), 200, "{begun}");
    }
}

/// A request that came in the moment in which its connection's place was wanted is answered.
#[test]
fn a_request_that_has_come_makes_its_connection_busy() {
    let patient = Patient::start();
    for request in [get("/"), post("/")] {
        let admin = free_addr();
        let proxy = patient.proxy(1, admin, "[limits]\nconnections = 2\n");
        let (mut kept, mut fresh) = (proxy.client(), proxy.client());
        assert_eq!(kept.ask(get("/")).status(), 200);
        sleep(Duration::from_millis(1_000)); // Both count as idle by now, as a rule.
        proxy.stand_still();
        let mut newcomer = proxy.client();
        newcomer.send(get("/"));
        kept.send(&request);
        fresh.send(&request);
        proxy.go_on();
        for client in [&mut kept, &mut fresh, &mut newcomer] {
            assert_eq!(client.answer().status(), 200);
        }
    }
}
