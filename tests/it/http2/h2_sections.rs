//! Field sections in every form of RFC 7541, whole and broken, over a real connection.

use crate::http2::h2_frames::Outcome::{self, Answers, Ends};
use crate::http2::h2_frames::{Row, run};
use crate::support::h2::frame::{code, flag, headers};

#[test]
fn field_sections_in_every_form() {
    // `:method: GET`, `:scheme: http` and `:path: /` of the static table, then `:authority` as a literal.
    const START: &[u8] = b"\x82\x86\x84\x41\x01a";
    /// A GET request with this behind its pseudo-fields.
    fn with(rest: &[u8]) -> Vec<u8> {
        headers(flag::WHOLE, 1, [START, rest].concat())
    }
    /// A request whose field section begins with `start`.
    fn behind(start: &[u8]) -> Vec<u8> {
        headers(flag::WHOLE, 1, [start, START].concat())
    }
    const BROKEN: Outcome = Ends(code::COMPRESSION_ERROR);
    // `user-agent` has index 58; "a8eb10649cbf" is Huffman's code of "no-cache", "25a849e95ba97d7f" of "custom-key".
    #[rustfmt::skip] // As a table.
    let rows: &[Row] = &[
        ("6.1 indexed", |c| c.send(with(b"\x90")), Answers),
        ("6.2.1 indexed name, entering the table", |c| c.send(with(b"\x7a\x01x\xbe")), Answers),
        ("6.2.1 the same in Huffman's code", |c| {
            c.send(with(b"\x7a\x86\xa8\xeb\x10\x64\x9c\xbf"));
        }, Answers),
        ("6.2.1 new name", |c| c.send(with(b"\x40\x01x\x01y")), Answers),
        ("6.2.1 new name in Huffman's code", |c| {
            c.send(with(b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x86\xa8\xeb\x10\x64\x9c\xbf"));
        }, Answers),
        ("6.2.2 indexed name", |c| c.send(with(b"\x0f\x2b\x01x")), Answers),
        ("6.2.2 the same in Huffman's code", |c| {
            c.send(with(b"\x0f\x2b\x86\xa8\xeb\x10\x64\x9c\xbf"));
        }, Answers),
        ("6.2.2 new name", |c| c.send(with(b"\x00\x01x\x01y")), Answers),
        ("6.2.2 new name in Huffman's code", |c| {
            c.send(with(b"\x00\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x01y"));
        }, Answers),
        ("6.2.3 indexed name", |c| c.send(with(b"\x1f\x2b\x01x")), Answers),
        ("6.2.3 the same in Huffman's code", |c| {
            c.send(with(b"\x1f\x2b\x86\xa8\xeb\x10\x64\x9c\xbf"));
        }, Answers),
        ("6.2.3 new name", |c| c.send(with(b"\x10\x01x\x01y")), Answers),
        ("6.2.3 new name in Huffman's code", |c| {
            c.send(with(b"\x10\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x01y"));
        }, Answers),
        ("6.3 a change of the table's size", |c| c.send(behind(b"\x2a")), Answers),
        ("6.3 several", |c| c.send(behind(b"\x20\x3f\xe1\x1f")), Answers),
        ("2.3.3 an index beyond the tables", |c| c.send(with(b"\xff\x20")), BROKEN),
        ("2.3.3 a name beyond the tables", |c| c.send(with(b"\x7f\x20\x01x")), BROKEN),
        ("4.2 a change of the table's size at the end", |c| c.send(with(b"\x20")), BROKEN),
        ("5.1 an endless integer", |c| {
            c.send(with(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
        }, BROKEN),
        ("5.2 padding of more than 7 bits", |c| {
            c.send(with(b"\x00\x01x\x82\x1f\xff"));
        }, BROKEN),
        ("5.2 padding of zeros", |c| c.send(with(b"\x00\x01x\x81\x18")), BROKEN),
        ("5.2 the end's code", |c| {
            c.send(with(b"\x00\x01x\x84\xff\xff\xff\xff"));
        }, BROKEN),
        ("5.2 a string beyond the section", |c| c.send(with(b"\x00\x01x\x09y")), BROKEN),
        ("6.1 index 0", |c| c.send(with(b"\x80")), BROKEN),
        ("6.3 a table larger than allowed", |c| c.send(behind(b"\x3f\xe2\x1f")), BROKEN),
        ("4.3 a section that ends within a field", |c| c.send(with(b"\x40")), BROKEN),
    ];
    run(rows);
}
