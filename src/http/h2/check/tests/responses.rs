//! Responses and trailers.

use super::*;

#[test]
fn responses_table() {
    let rows: [(&[&str], Result<u16, Refusal>); 26] = [
        (&[":status: 200"], Ok(200)),
        (&[":status: 103", "link: x"], Ok(103)),
        (&[":status: 599"], Ok(599)),
        (&[":status: 204", "content-length: 0"], Ok(204)),
        (&[":status: 304", "content-length: 7"], Ok(304)),
        (&[":status: 204", "content-length: 7"], Ok(204)),
        (&[":status: 103", "content-length: 7"], Ok(103)),
        (
            &[":status: 200", "content-length: 7", "content-length: 7,007"],
            Ok(200),
        ),
        (
            &[":status: 200", "content-length: 7", "content-length: 8"],
            Err(Refusal::RepeatedContentLength),
        ),
        (&[":status: 200", "x_forwarded_for: 1.2.3.4"], Ok(200)),
        (&[":status: 101"], Err(Refusal::BadSwitch)),
        (&[":status: 099"], Err(Refusal::BadStatusLine)),
        (&[":status: 600"], Ok(600)),
        (&[":status: 999"], Ok(999)),
        (&[":status: 20"], Err(Refusal::BadStatusLine)),
        (&[":status: 2000"], Err(Refusal::BadStatusLine)),
        (&[":status: 2x0"], Err(Refusal::BadStatusLine)),
        (&["x: y"], Err(Refusal::BadPseudoField)),
        (
            &[":status: 200", ":status: 200"],
            Err(Refusal::BadPseudoField),
        ),
        (&[":status: 200", ":path: /"], Err(Refusal::BadPseudoField)),
        (&[":Status: 200"], Err(Refusal::BadFieldName)),
        (&[":status: 200 "], Err(Refusal::BadPseudoField)),
        (&[":status: 200", "x y: a"], Err(Refusal::BadFieldName)),
        (&[":status: 200", "x: a\rb"], Err(Refusal::BadFieldValue)),
        (
            &[":status: 200", "Content-Length: 7", "content-length: 8"],
            Err(Refusal::RepeatedContentLength),
        ),
        (
            &[":status: 200", "x: a", ":path: /"],
            Err(Refusal::BadPseudoField),
        ),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_response(&mut head);
        // A fault of the length is for the reader of the head to refuse.
        let fault = head.facts.length_fault;
        let checked = checked.and(fault.map_or(Ok(head.status()), Err));
        assert_eq!(checked, expected, "{lines:?}");
    }
}

/// Faults that a backend may be forgiven, and the head that is then written.
#[test]
fn odd_responses_table() {
    let name = Refusal::BadFieldName;
    let value = Refusal::BadFieldValue;
    let connection = Refusal::ConnectionField;
    let rows: [(&[&str], &str, Option<Refusal>); 9] = [
        (&["x: a"], "x: a\r\n\r\n", None),
        (
            &["X-Ab: Cd", "y: e"],
            "x-ab: Cd\r\ny: e\r\n\r\n",
            Some(name),
        ),
        (&["x: \t a b ", "Y: "], "x: a b\r\ny: \r\n\r\n", Some(value)),
        (&["y:  "], "y: \r\n\r\n", Some(value)),
        (
            &["Content-Length: 7"],
            "content-length: 7\r\n\r\n",
            Some(name),
        ),
        (
            &["connection: close"],
            "connection: close\r\n\r\n",
            Some(connection),
        ),
        (
            &["upgrade: h2c", "keep-alive: timeout=5"],
            "upgrade: h2c\r\nkeep-alive: timeout=5\r\n\r\n",
            Some(connection),
        ),
        (&["te: gzip"], "te: gzip\r\n\r\n", Some(connection)),
        (
            &["transfer-encoding: chunked"],
            "transfer-encoding: chunked\r\n\r\n",
            Some(connection),
        ),
    ];
    for (lines, written, oddity) in rows {
        let mut head = head(&[&[":status: 200"], lines].concat());
        check_response(&mut head).unwrap();
        let text = std::str::from_utf8(head.lines()).unwrap();
        assert_eq!((text, head.facts.oddity), (written, oddity), "{lines:?}");
        let codes = lines[0].starts_with("transfer");
        assert_eq!(head.facts.has_coding, codes, "{lines:?}");
    }
}

#[test]
fn trailers_table() {
    let rows: [(&[&str], Result<&str, Refusal>); 8] = [
        (
            &["grpc-status: 0", "x: y"],
            Ok("grpc-status: 0\r\nx: y\r\n"),
        ),
        (
            &["x: y", "content-length: 5", "z: w"],
            Ok("x: y\r\nz: w\r\n"),
        ),
        (&["authorization: y"], Ok("")),
        (&["transfer_encoding: y"], Ok("")),
        (&[":path: /"], Err(Refusal::BadTrailer)),
        (&["X: y"], Err(Refusal::BadTrailer)),
        (&["x: y\n"], Err(Refusal::BadTrailer)),
        (&["connection: close"], Err(Refusal::BadTrailer)),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_trailers(&mut head.fields, false)
            .map(|()| std::str::from_utf8(&head.fields.text).unwrap());
        assert_eq!(checked, expected, "{lines:?}");
    }
}

#[test]
fn trailers_of_backends_table() {
    let rows: [(&[&str], Result<&str, Refusal>); 5] = [
        (&["X-A: y ", "z: w"], Ok("x-a: y\r\nz: w\r\n")),
        (&["Connection: close", "z: w"], Ok("z: w\r\n")),
        (&["Status: 1", ":path: /"], Err(Refusal::BadTrailer)),
        (&["x y: y"], Err(Refusal::BadTrailer)),
        (&["X: y\n"], Err(Refusal::BadTrailer)),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_trailers(&mut head.fields, true)
            .map(|()| std::str::from_utf8(&head.fields.text).unwrap());
        assert_eq!(checked, expected, "{lines:?}");
    }
}
