//! How connections end in good order, and what must happen in time.

use super::raw::*;
use super::*;
use crate::http::h2::frame::{PREFACE, flag, kind};

#[test]
fn a_server_drains_in_two_steps() {
    let mut server = new_server();
    receive(&mut server, &headers(1, GET, true)).unwrap();
    server.drain(Micros(0));
    server.drain(Micros(0));
    assert_eq!(
        sent(&mut server),
        ["goaway 2147483647 0 ", "ping 0 palantir"]
    );
    // Sent before the client heard of it.
    assert_eq!(
        receive(&mut server, &headers(3, GET, true)).unwrap(),
        ["3 GET end"]
    );
    assert_eq!(
        receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"palantir")).unwrap(),
        ["pong"]
    );
    assert_eq!(sent(&mut server), ["goaway 3 0 "]);
    assert_eq!(
        receive(&mut server, &headers(5, GET, true)).unwrap(),
        [""; 0]
    );
    assert!(!server.is_done());
    for stream in [1, 3] {
        server.send_head(stream, 200, [], true).unwrap();
    }
    assert!(server.is_done());
}

#[test]
fn a_silent_client_is_drained_after_a_while() {
    let mut server = new_server();
    server.drain(Micros(5));
    let deadline = Micros(5 + limits::H2_DRAIN_MILLIS * 1_000);
    assert_eq!(server.deadline(), Some(deadline));
    assert_eq!(server.expire(Micros(deadline.0 - 1), PATIENCE), Ok(()));
    assert!(!server.is_done());
    assert_eq!(server.expire(deadline, PATIENCE), Ok(()));
    assert!(server.is_done());
}

#[test]
fn unacknowledged_settings_end_it() {
    let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let deadline = server.deadline().unwrap();
    assert_eq!(server.expire(Micros(deadline.0 - 1), PATIENCE), Ok(()));
    assert_eq!(
        server.expire(deadline, PATIENCE),
        Err(ConnectionError::SettingsTimeout)
    );
    assert_eq!(
        sent(&mut server).pop().unwrap(),
        "goaway 0 4 settings_timeout"
    );
}

/// The preface counts from the beginning of the connection, however it trickles.
#[test]
fn a_preface_has_the_time_of_a_head() {
    let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let late = Micros(PATIENCE.head.as_micros() as u64);
    receive_at(&mut server, &PREFACE[..9], Micros(late.0 - 1)).unwrap();
    assert_eq!(server.expire(Micros(late.0 - 1), PATIENCE), Ok(()));
    let expired = server.expire(late, PATIENCE);
    assert_eq!(expired, Err(ConnectionError::HeadTimeout));
}

/// The acknowledgement may follow a large body on a slow line.
#[test]
fn who_is_heard_of_may_acknowledge_later() {
    let mut server = H2Connection::new(Role::Server, LocalSettings::default(), Micros(0));
    let seconds = |seconds: u64| Micros(seconds * 1_000_000);
    receive_at(&mut server, PREFACE, seconds(9)).unwrap();
    assert_eq!(server.expire(seconds(18), PATIENCE), Ok(()));
    assert_eq!(
        server.expire(seconds(19), PATIENCE),
        Err(ConnectionError::SettingsTimeout)
    );
}

/// A client's first words are written before there is a connection that they can go out on.
#[test]
fn settings_are_due_some_time_after_the_connection_is_made() {
    let mut client = H2Connection::new(Role::Client, LocalSettings::default(), Micros(0));
    let early = client.deadline().unwrap();
    client.start(Micros(9_000_000));
    assert_eq!(client.expire(early, PATIENCE), Ok(()));
    assert_eq!(client.deadline(), Some(Micros(early.0 + 9_000_000)));
}

/// A connection ends if a frame or a head stays incomplete for too long, because nothing else can be received
/// meanwhile.
#[test]
fn what_begins_must_end_in_time() {
    let parts = [
        headers(3, GET, true)[..5].to_vec(),
        frame(kind::HEADERS, 0, 3, GET),
        frame(kind::PING, 0, 0, &[0; 8])[..12].to_vec(),
    ];
    for part in parts {
        let mut server = new_server();
        receive(&mut server, &headers(1, POST, false)).unwrap();
        // A connection on which one frame after the other arrives in pieces is not late: each frame has its own time.
        let ping = frame(kind::PING, 0, 0, &[0; 8]);
        receive_at(&mut server, &ping[..3], Micros(0)).unwrap();
        let rest = [&ping[3..], &part].concat();
        receive_at(&mut server, &rest, Micros(9_000_000)).unwrap();
        assert!(server.is_incomplete());
        assert_eq!(server.expire(Micros(18_999_999), PATIENCE), Ok(()));
        let error = ConnectionError::HeadTimeout;
        assert_eq!(server.expire(Micros(19_000_000), PATIENCE), Err(error));
    }
    // The body of a request has no such deadline.
    let mut server = new_server();
    let body = body_frame(1, &[0; 100], true);
    receive(&mut server, &headers(1, POST, false)).unwrap();
    receive(&mut server, &body[..50]).unwrap();
    assert_eq!(server.expire(Micros(50_000_000), PATIENCE), Ok(()));
}
