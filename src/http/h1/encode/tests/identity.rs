//! The fields by which a backend is told who the client is: a client cannot write them itself.

use super::*;

#[test]
fn forwarded_for_is_appended_to() {
    let rows = [
        ("", Some("192.0.2.1"), "192.0.2.1"),
        (
            "X-Forwarded-For: 1.1.1.1\r\n",
            Some("10.20.255.0"),
            "1.1.1.1, 10.20.255.0",
        ),
        (
            "x-forwarded-for: a, b\r\nA: b\r\nX-Forwarded-For:c\r\n",
            Some("::1"),
            "a, b, c, ::1",
        ),
        ("X-Forwarded-For:\r\n", Some("::ffff:1.2.3.4"), "1.2.3.4"),
        (
            "",
            Some("2001:db8:1111:2222:3333:4444:5555:6666"),
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ),
    ];
    for (lines, client, expected) in rows {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let client = client.map(|client| client.parse().expect("an address"));
        let sent = request(&head, &RequestEdits { client, ..PLAIN });
        let values: Vec<_> = sent
            .lines()
            .filter_map(|line| line.strip_prefix("X-Forwarded-For: "))
            .collect();
        assert_eq!(values, [expected], "{sent}");
    }
    // A client without an address adds nothing to the field.
    let nameless = |value: &str, client_trusted| {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {value}\r\n\r\n");
        let edits = RequestEdits {
            client: None,
            client_trusted,
            ..PLAIN
        };
        request(&head, &edits).to_lowercase()
    };
    assert!(nameless("a", true).contains("\r\nx-forwarded-for: a\r\n"));
    for (value, client_trusted) in [("a", false), ("", true)] {
        let sent = nameless(value, client_trusted);
        assert!(!sent.contains("x-forwarded-for"), "{sent}");
    }
}

#[test]
fn proto_and_host_are_believed_from_the_trusted_alone() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nA: b\r\n\r\n";
    let rows = [
        (
            true,
            "Host: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nA: b\r\n\r\n",
        ),
        (
            false,
            "Host: h\r\nA: b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n",
        ),
    ];
    for (client_trusted, expected) in rows {
        assert_eq!(
            request(
                head,
                &RequestEdits {
                    client_trusted,
                    ..PLAIN
                }
            ),
            expected
        );
    }
}

/// Every form in which a gateway could take a field for one of ours.
#[test]
fn who_the_client_is_is_never_its_own_to_say() {
    let names = ["x-subject", "x-client-san"].map(str::to_owned);
    let names: NameSet = names.into_iter().collect();
    let own: NameSet = [String::from("x-old")].into_iter().collect();
    let fields = [("x-subject".to_owned(), "CN=alice".to_owned())];
    let identity = Identity {
        names: [&names, &own],
        fields: &fields,
    };
    let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Subject: a\r\nx_subject: b\r\nX_SUBJECT:c\r\nX-Client_San: d\r\n\
        X-Old: e\r\nX-Subjects: f\r\nTrailer: A, x_subject,Via, b\r\nTrailer: X-Old\r\n\r\n";
    let passed = "Host: h\r\nX-Subjects: f\r\nTrailer: A, b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";
    let edits = RequestEdits { identity, ..PLAIN };
    assert_eq!(
        request(head, &edits),
        format!("{passed}x-subject: CN=alice\r\n\r\n")
    );
    let set = vec![("X_Subject".to_owned(), "the operator's".to_owned())];
    let rows = [
        (
            FieldEdits::new(Vec::new(), set),
            "X_Subject: the operator's\r\n",
        ),
        (
            FieldEdits::new(vec!["x-subject".to_owned()], Vec::new()),
            "",
        ),
    ];
    for (operator, expected) in &rows {
        let edits = RequestEdits {
            identity,
            operator,
            ..PLAIN
        };
        assert_eq!(request(head, &edits), format!("{passed}{expected}\r\n"));
    }
}

#[test]
fn proxies_alone_say_whom_a_request_comes_from() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=a\r\nX-Forwarded-Port: 1\r\nX_Forwarded_Prefix: /a\r\n\
        X-Real-IP: b\r\nX-Original-URL: /c\r\nX-Forwarded-User: d\r\n\r\n";
    let rows = [
        (false, ""),
        (
            true,
            "Forwarded: for=a\r\nX-Forwarded-Port: 1\r\nX-Real-IP: b\r\nX-Original-URL: /c\r\nX-Forwarded-User: d\r\n",
        ),
    ];
    for (client_trusted, passed) in rows {
        let edits = RequestEdits {
            client_trusted,
            ..PLAIN
        };
        let expected =
            format!("Host: h\r\n{passed}X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n");
        assert_eq!(request(head, &edits), expected);
    }
}

/// RFC 8441 section 5: there is one key, the one whose proof we look at.
#[test]
fn our_key_of_a_websocket_is_the_only_one() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: a\r\nsec_websocket_key: b\r\n\r\n";
    let edits = RequestEdits {
        websocket_key: Some(b"ours"),
        max_forwards: None,
        replaced: ReplacedFields::NONE,
        asked_host: None,
        ..PLAIN
    };
    let written = request(head, &edits);
    assert!(
        written.ends_with("Sec-WebSocket-Key: ours\r\n\r\n"),
        "{written}"
    );
    assert_eq!(
        written.to_ascii_lowercase().matches("key").count(),
        1,
        "{written}"
    );
}
