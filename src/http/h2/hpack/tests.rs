//! The examples of RFC 7541 appendix C, and what a decoder must refuse.

use super::*;
use crate::base::limits::{self, H2_TABLE_BYTES};
use crate::http::refusal::Refusal;

const LIMITS: ListLimits = ListLimits {
    bytes: 1_000,
    fields: 10,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn text(decoder: &mut Decoder, section: &[u8]) -> Result<String, HpackError> {
    let mut list = FieldList::default();
    decoder.decode(section, &mut list)?;
    Ok(String::from_utf8(list.text).unwrap())
}

/// Decodes sections one after the other and compares.
fn check(mut decoder: Decoder, rows: &[(&str, &str)]) {
    for (section, expected) in rows {
        let expected = expected.replace('|', "\r\n");
        assert_eq!(
            text(&mut decoder, &bytes(section)),
            Ok(expected),
            "{section}"
        );
    }
}

const REQUESTS: [&str; 3] = [
    ":method: GET|:scheme: http|:path: /|:authority: www.example.com|",
    ":method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache|",
    ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value|",
];

const RESPONSES: [&str; 3] = [
    ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com|",
    ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com|",
    ":status: 200|cache-control: private|date: Mon, 21 Oct 2013 20:13:22 GMT|location: https://www.example.com|\
     content-encoding: gzip|set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1|",
];

/// Sections C.2.1 to C.2.4.
#[test]
fn single_fields() {
    let rows = [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            "custom-key: custom-header|",
        ),
        ("040c2f73616d706c652f70617468", ":path: /sample/path|"),
        ("100870617373776f726406736563726574", "password: secret|"),
        ("82", ":method: GET|"),
    ];
    for row in rows {
        check(Decoder::new(LIMITS), &[row]);
    }
    let mut list = FieldList::default();
    let sections = bytes("100870617373776f726406736563726574 040c2f73616d706c652f70617468");
    Decoder::new(LIMITS).decode(&sections, &mut list).unwrap();
    assert_eq!(
        [list.spans[0].sensitive, list.spans[1].sensitive],
        [true, false]
    );
}

/// Sections C.3 and C.4.
#[test]
fn requests_without_and_with_huffman() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for sections in [plain, huffman] {
        let rows: Vec<_> = sections.into_iter().zip(REQUESTS).collect();
        check(Decoder::new(LIMITS), &rows);
    }
}

/// Sections C.5 and C.6, whose table has 256 bytes, so that entries are displaced.
#[test]
fn responses_without_and_with_huffman() {
    let plain = [
        "3fe101 4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a\
         2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a\
         584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let huffman = [
        "3fe101 488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36\
         72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for sections in [plain, huffman] {
        let rows: Vec<_> = sections.into_iter().zip(RESPONSES).collect();
        check(Decoder::new(LIMITS), &rows);
    }
}

#[test]
fn malformed_table() {
    let rows = [
        ("80", HpackError::BadIndex),
        ("be", HpackError::BadIndex),
        ("7f00", HpackError::BadIndex),
        ("ffffffffffff00", HpackError::IntegerTooLarge),
        ("ff", HpackError::Truncated),
        ("40", HpackError::Truncated),
        ("400161", HpackError::Truncated),
        ("40016105", HpackError::Truncated),
        ("4001ff7f01", HpackError::Truncated),
        ("04 81 ff", HpackError::BadHuffman),
        ("04 81 18", HpackError::BadHuffman),
        ("82 20", HpackError::BadSizeUpdate),
        ("3fe21f", HpackError::BadSizeUpdate),
    ];
    for (section, error) in rows {
        let decoded = text(&mut Decoder::new(LIMITS), &bytes(section));
        assert_eq!(decoded, Err(error), "{section}");
    }
    let allowed = ["20 3fe11f 82", "3fe11f", ""];
    for section in allowed {
        assert!(
            text(&mut Decoder::new(LIMITS), &bytes(section)).is_ok(),
            "{section}"
        );
    }
}

#[test]
fn a_section_beyond_the_limits_is_refused_but_still_fills_the_table() {
    let mut decoder = Decoder::new(LIMITS);
    let mut list = FieldList::default();
    let large = [
        &bytes("4001617f8606")[..],
        &[b'x'; 901],
        &bytes("4001620163"),
    ]
    .concat();
    decoder.decode(&large, &mut list).unwrap();
    assert_eq!(list.refusal(), None);
    decoder.decode(&bytes("bf"), &mut list).unwrap();
    assert_eq!(list.refusal(), Some(Refusal::HeadTooLarge));
    assert_eq!(list.spans.len(), 2);
    list.clear();
    assert_eq!(text(&mut decoder, &bytes("be")).as_deref(), Ok("b: c\r\n"));
    decoder.decode(&[0x90; 11], &mut list).unwrap();
    assert_eq!(
        (list.refusal(), list.spans.len()),
        (Some(Refusal::TooManyFields), 10)
    );
}

#[test]
fn few_bytes_that_become_many_end_it() {
    let mut decoder = Decoder::new(LIMITS);
    let mut list = FieldList::default();
    let mut section = [&bytes("4001617f8606")[..], &[b'x'; 901]].concat();
    section.extend([0xbe; limits::H2_BOMB_MULTIPLE]);
    assert_eq!(decoder.decode(&section, &mut list), Ok(()));
    assert_eq!(
        decoder.decode(&[0xbe; 60], &mut list),
        Err(HpackError::Bomb)
    );
    assert!(list.text.len() < 1_000);
}

/// A section passes if and only if its head passes over HTTP/1.1: several cookies are one field, and the request line
/// is no field. The announced size is never less than the size of a section that passes.
#[test]
fn sections_are_counted_as_heads_of_http1() {
    let field = |name: &str, value: &str| {
        let mut out = Vec::new();
        out.extend([0, name.len() as u8]);
        out.extend(name.bytes());
        out.push(value.len() as u8);
        out.extend(value.bytes());
        out
    };
    let pseudo: Vec<u8> = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
    ]
    .iter()
    .flat_map(|(name, value)| field(name, value))
    .collect();
    let refusal = |limits: ListLimits, fields: &[Vec<u8>]| {
        let mut list = FieldList::default();
        let section = [&pseudo[..], &fields.concat()].concat();
        Decoder::new(limits).decode(&section, &mut list).unwrap();
        let size = |(name, value): (&[u8], &[u8])| name.len() + value.len() + 32;
        let size: usize = list.iter().map(size).sum();
        assert!(size <= limits.most_size() as usize);
        list.refusal()
    };
    let roomy = ListLimits {
        bytes: 100_000,
        fields: 10,
    };
    let crumbs = |count: u32| vec![field("cookie", "a=b"); count as usize];
    let others = |count: usize| vec![field("x", "y"); count];
    // The bound on the bytes is the only bound on the number of cookies, even of empty ones.
    let (too_many, too_large) = (Some(Refusal::TooManyFields), Some(Refusal::HeadTooLarge));
    assert_eq!(refusal(roomy, &crumbs(19_000)), None);
    assert_eq!(refusal(roomy, &crumbs(20_000)), too_large);
    assert_eq!(
        refusal(roomy, &vec![field("cookie", ""); 40_000]),
        too_large
    );
    assert_eq!(refusal(roomy, &others(9)), None);
    assert_eq!(refusal(roomy, &others(10)), too_many);
    assert_eq!(refusal(roomy, &[crumbs(500), others(8)].concat()), None);
    assert_eq!(refusal(roomy, &[crumbs(500), others(9)].concat()), too_many);
    assert_eq!(
        refusal(roomy, &[vec![field("host", "test")], others(9)].concat()),
        None
    );

    let head = "GET / HTTP/1.1\r\nHost: test\r\nx: y\r\ncookie: a=b; a=b; a=b\r\n\r\n";
    for (bytes, expected) in [
        (head.len(), None),
        (head.len() - 1, Some(Refusal::HeadTooLarge)),
    ] {
        let tight = ListLimits {
            bytes: bytes as u32,
            fields: 3,
        };
        assert_eq!(refusal(tight, &[others(1), crumbs(3)].concat()), expected);
    }
}

/// A field that comes for the third time is an index; a field that never comes again stays outside the table.
#[test]
fn the_encoder_learns_what_comes_again() {
    let mut encoder = Encoder::new();
    let mut lengths = Vec::new();
    for round in 0..4 {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.field(&mut out, b"Server", b"nginx", false);
        encoder.field(
            &mut out,
            b"x-request-id",
            format!("{round}").as_bytes(),
            false,
        );
        encoder.field(&mut out, b"set-cookie", b"a=b", false);
        encoder.field(&mut out, b"x-secret", b"c", true);
        lengths.push(out.len());
    }
    let once = 2 + 1 + 5 + (1 + 1 + 12 + 1 + 1) + (2 + 1 + 3) + (1 + 1 + 8 + 1 + 1);
    assert_eq!(lengths, [once, once - 1, once - 7, once - 7]);
}

#[test]
fn a_smaller_table_is_announced_before_the_next_section() {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.set_max_size(H2_TABLE_BYTES + 1);
    encoder.begin(&mut out);
    assert!(out.is_empty());
    encoder.set_max_size(0);
    encoder.set_max_size(100);
    encoder.begin(&mut out);
    assert_eq!(out, bytes("20 3f45"));
    encoder.begin(&mut out);
    assert_eq!(out.len(), 3);
}
