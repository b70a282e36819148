//! Tests of a client that receives frames.

use super::raw::*;
use super::*;
use crate::base::limits;
use crate::http::h2::frame::kind;

#[test]
fn a_client_asks_and_is_answered() {
    let mut client = client();
    let request = StreamRequest {
        method: b"GET",
        scheme: b"http",
        authority: b"h",
        target: b"/",
        protocol: None,
    };
    let head_request = StreamRequest {
        method: b"HEAD",
        ..request
    };
    assert_eq!(
        client.open(&request, [field("Accept", "*/*")], true),
        Some(1)
    );
    assert_eq!(client.open(&request, [], false), Some(3));
    assert_eq!(client.open(&head_request, [], true), Some(5));
    assert_eq!(
        sent(&mut client),
        ["1 headers 5", "3 headers 4", "5 headers 5"]
    );
    let hints = section(&[(":status", "103"), ("link", "x")]);
    let lengthy = section(&[(":status", "200"), ("content-length", "5")]);
    let bytes = [
        headers(1, &hints, false),
        headers(1, &lengthy, false),
        body_frame(1, b"hello", false),
        headers(1, &section(&[("a", "b")]), true),
        headers(3, &[0x88], true),
        headers(5, &lengthy, true),
    ];
    let events = receive(&mut client, &bytes.concat()).unwrap();
    let expected = [
        "1 103",
        "1 200",
        "1 data hello",
        "1 trailers a: b",
        "3 200 end",
        "5 200 end",
    ];
    assert_eq!(events, expected);
    assert_eq!(client.open_streams(), 1, "the request on 3 still sends");
    assert_eq!(client.send_body(3, b"x", true, Micros(0)), Ok(1));
    assert_eq!(client.open_streams(), 0);
}

#[test]
fn broken_responses_table() {
    let lengthy = section(&[(":status", "200"), ("content-length", "5")]);
    let most = limits::INTERIM_BYTES / limits::INTERIM_LEAST_BYTES;
    let interims: Vec<u8> = (0..=most)
        .flat_map(|_| headers(1, &section(&[(":status", "102")]), false))
        .collect();
    let rows: &[(&[&[u8]], &str)] = &[
        (&[&body_frame(1, b"x", false)], "1 reset 1 by us"),
        (
            &[&headers(1, &section(&[(":status", "100")]), true)],
            "1 refused bad_status_line",
        ),
        (
            &[&headers(1, &section(&[(":status", "101")]), false)],
            "1 refused bad_switch",
        ),
        (
            &[&headers(1, &section(&[("a", "b")]), false)],
            "1 refused bad_pseudo_field",
        ),
        (&[&headers(1, &lengthy, true)], "1 refused length_mismatch"),
        (
            &[&headers(1, &lengthy, false), &body_frame(1, b"a", true)],
            "1 200, 1 reset 1 by us",
        ),
        (
            &[
                &headers(
                    1,
                    &section(&[(":status", "304"), ("content-length", "5")]),
                    false,
                ),
                &body_frame(1, b"a", true),
            ],
            "1 304, 1 reset 1 by us",
        ),
        (&[&interims], "1 refused bad_status_line"),
        (&[&headers(3, &[0x88], true)], "bad_stream_id"),
        (&[&headers(2, &[0x88], true)], "bad_stream_id"),
        (&[&frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])], "push"),
        (
            &[&frame(kind::PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1])],
            "bad_stream_id",
        ),
        (&[&settings(&[(2, 1)])], "bad_setting"),
        (
            &[&headers(1, &[0x88], true), &headers(1, &[0x88], true)],
            "closed_stream",
        ),
        (&[&reset(1)], "1 reset 8"),
    ];
    for (bytes, expected) in rows {
        let mut client = client();
        let request = StreamRequest {
            method: b"GET",
            scheme: b"http",
            authority: b"h",
            target: b"/",
            protocol: None,
        };
        client.open(&request, [], true);
        let outcome = match receive(&mut client, &bytes.concat()) {
            Ok(events) => events
                .into_iter()
                .filter(|event| event != "1 102")
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => error.label().to_owned(),
        };
        assert_eq!(outcome, *expected);
    }
}

#[test]
fn a_client_opens_what_the_server_allows() {
    let mut client = client();
    let request = StreamRequest {
        method: b"GET",
        scheme: b"http",
        authority: b"h",
        target: b"/",
        protocol: None,
    };
    receive(&mut client, &settings(&[(3, 2)])).unwrap();
    assert_eq!(client.free_streams(), 2);
    assert!(!client.takes_extended_connect());
    assert_eq!(
        [(); 3].map(|()| client.open(&request, [], true)),
        [Some(1), Some(3), None]
    );
    receive(
        &mut client,
        &[settings(&[(3, 3), (8, 1)]), headers(1, &[0x88], true)].concat(),
    )
    .unwrap();
    assert_eq!(
        (client.free_streams(), client.takes_extended_connect()),
        (2, true)
    );
    assert_eq!(client.open(&request, [], true), Some(5));
    // Stream 5 was not processed: it is gone, and what may still come on it is ignored.
    let goaway = frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(receive(&mut client, &goaway).unwrap(), ["goaway 3 0"]);
    assert_eq!(
        (
            client.open_streams(),
            client.free_streams(),
            client.is_done()
        ),
        (1, 0, false)
    );
    assert_eq!(client.open(&request, [], true), None);
    let rest = [headers(5, &[0x88], true), headers(3, &[0x88], true)].concat();
    assert_eq!(receive(&mut client, &rest).unwrap(), ["3 200 end"]);
    assert!(client.is_done());
}
