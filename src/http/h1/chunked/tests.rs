//! Tables and properties of the chunked decoder.

use proptest::prelude::*;

use super::*;

/// Data, trailers, and how many bytes came after the end.
type Whole = (Vec<u8>, Vec<u8>, usize);

/// The result of a decoder that gets `input` in pieces of these lengths (the last for all that is left).
fn decode(input: &[u8], cuts: &[usize]) -> Result<Option<Whole>, Refusal> {
    decode_by(ChunkedDecoder::new(), input, cuts)
}

fn decode_by(
    mut decoder: ChunkedDecoder,
    input: &[u8],
    cuts: &[usize],
) -> Result<Option<Whole>, Refusal> {
    let mut data = Vec::new();
    let mut start = 0;
    let ends = cuts.iter().scan(0, |end, cut| {
        *end += cut;
        Some(*end)
    });
    for end in ends.chain([input.len()]) {
        let end = end.min(input.len());
        while start < end {
            let (consumed, piece) = decoder.decode(&input[start..end])?;
            match piece {
                ChunkedPiece::NeedMore => assert_eq!(consumed, end - start),
                ChunkedPiece::Data(range) => {
                    assert!(!range.is_empty() && range.end <= consumed);
                    data.extend_from_slice(&input[start..end][range]);
                }
                ChunkedPiece::End => {
                    let trailers = decoder.trailers().to_vec();
                    return Ok(Some((data, trailers, input.len() - start - consumed)));
                }
            }
            start += consumed;
        }
    }
    Ok(None)
}

fn whole(input: &str) -> Result<Option<(String, String, usize)>, Refusal> {
    whole_by(ChunkedDecoder::new(), input)
}

fn whole_by(
    decoder: ChunkedDecoder,
    input: &str,
) -> Result<Option<(String, String, usize)>, Refusal> {
    let text = |bytes| String::from_utf8(bytes).expect("only ASCII was put in");
    decode_by(decoder, input.as_bytes(), &[])
        .map(|done| done.map(|(data, trailers, left)| (text(data), text(trailers), left)))
}

#[test]
fn bodies_table() {
    let rows = [
        ("0\r\n\r\n", "", "", 0),
        ("000\r\n\r\nGET", "", "", 3),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", "", 0),
        (
            "00000000000000a\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
            "",
            0,
        ),
        (
            "A\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n",
            "0123456789\n",
            "",
            0,
        ),
        ("3;a=b;c=\"d;e\"\r\nabc\r\n0;last\r\n\r\n", "abc", "", 0),
        ("3;\t a\r\nabc\r\n0\r\n\r\n", "abc", "", 0),
        (
            "3 \t ; a = \t\"b\" ; c\r\nabc\r\n0 ;d\r\n\r\n",
            "abc",
            "",
            0,
        ),
        (
            "0\r\nX-Sum: 1\r\nX-B:2 \r\n\r\nrest",
            "",
            "X-Sum: 1\r\nX-B: 2\r\n",
            4,
        ),
        (
            "0\r\nContent-Length: 9\r\nA: b\r\ncookie: c\r\nTE: d\r\nHost: e\r\n\r\n",
            "",
            "A: b\r\n",
            0,
        ),
        (
            "0\r\nContent_Length: 9\r\nTrailer: A\r\nConnection: close\r\n\r\n",
            "",
            "",
            0,
        ),
    ];
    for (input, data, trailers, left) in rows {
        let expected = (data.to_owned(), trailers.to_owned(), left);
        assert_eq!(whole(input), Ok(Some(expected)), "{input:?}");
    }
}

#[test]
fn incomplete_bodies_wait() {
    let body = "3;x\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for end in 0..body.len() {
        assert_eq!(whole(&body[..end]), Ok(None), "{end}");
    }
}

#[test]
fn malformed_table() {
    let rows = [
        ("\r\n", Refusal::BadChunk),
        (" 3\r\n", Refusal::BadChunk),
        ("3 \r\n", Refusal::BadChunk),
        ("3\t\r\n", Refusal::BadChunk),
        ("3 a\r\n", Refusal::BadChunk),
        ("3 \t;a\n", Refusal::BadChunk),
        ("+3\r\n", Refusal::BadChunk),
        ("-3\r\n", Refusal::BadChunk),
        ("0x3\r\n", Refusal::BadChunk),
        ("3g\r\n", Refusal::BadChunk),
        (";a\r\n", Refusal::BadChunk),
        ("3\nabc", Refusal::BadChunk),
        ("3\rabc", Refusal::BadChunk),
        ("3;a\nabc", Refusal::BadChunk),
        ("3;a\rb", Refusal::BadChunk),
        ("3;a\0\r\n", Refusal::BadChunk),
        ("3;a\u{7f}\r\n", Refusal::BadChunk),
        ("3\r\nabc0\r\n", Refusal::BadChunk),
        ("3\r\nabc\n0\r\n", Refusal::BadChunk),
        ("3\r\nabcd\r\n", Refusal::BadChunk),
        ("3\r\nabc\rx", Refusal::BadChunk),
        ("1000000000000000\r\n", Refusal::BadChunk),
        ("fffffffffffffffff\r\n", Refusal::BadChunk),
        ("0\r\n\n", Refusal::BadTrailer),
        ("0\r\n\rx", Refusal::BadChunk),
        ("0\r\nA: b\n\r\n", Refusal::BadTrailer),
        ("0\r\nA: b\rc\r\n\r\n", Refusal::BadTrailer),
        ("0\r\nA : b\r\n\r\n", Refusal::BadTrailer),
        ("0\r\n: b\r\n\r\n", Refusal::BadTrailer),
        ("0\r\nA: b\r\n c\r\n\r\n", Refusal::BadTrailer),
        ("0\r\nA\r\n\r\n", Refusal::BadTrailer),
        ("0\r\nA: b\0\r\n\r\n", Refusal::BadTrailer),
    ];
    for (input, expected) in rows {
        assert_eq!(whole(input), Err(expected), "{input:?}");
    }
}

/// Bodies that are taken from a backend and refused from a stranger.
#[test]
fn bodies_of_backends_table() {
    let rows = [
        ("3 \r\nabc\r\n0 \t\r\n\r\n", Ok(("abc", "", 0))),
        ("3\nabc\n0\n\nrest", Ok(("abc", "", 4))),
        ("3\r\nabc\n0\r\n\n", Ok(("abc", "", 0))),
        ("3;a\nabc\r\n0 ;b\n\r\n", Ok(("abc", "", 0))),
        (
            "0\nA : b\nC: d\r\n e\n\n",
            Ok(("", "A: b\r\nC: d e\r\n", 0)),
        ),
        (" 3\r\n", Err(Refusal::BadChunk)),
        ("\n3\r\n", Err(Refusal::BadChunk)),
        ("3 a\r\n", Err(Refusal::BadChunk)),
        ("3\rabc", Err(Refusal::BadChunk)),
        ("3;a\rb", Err(Refusal::BadChunk)),
        ("3;a\0\r\n", Err(Refusal::BadChunk)),
        ("3\r\nabcd\r\n", Err(Refusal::BadChunk)),
        ("3\r\nabc\r0", Err(Refusal::BadChunk)),
        ("0\r\n a: b\r\n\r\n", Err(Refusal::BadTrailer)),
        ("0\r\nA\r\n\r\n", Err(Refusal::BadTrailer)),
        ("0\r\nA: b\rc\r\n\r\n", Err(Refusal::BadTrailer)),
    ];
    for (input, expected) in rows {
        let expected = expected.map(|(data, trailers, left): (&str, &str, usize)| {
            Some((data.to_owned(), trailers.to_owned(), left))
        });
        assert_eq!(
            whole_by(ChunkedDecoder::of_backend(), input),
            expected,
            "{input:?}"
        );
    }
}

/// The bound on the bytes of extensions grows with the data of the body.
#[test]
fn extensions_may_take_a_share_of_the_body() {
    let share = limits::CHUNK_EXTENSIONS_SHARE as usize;
    let most = limits::CHUNK_EXTENSION_BYTES as usize;
    let chunks = 4 * limits::CHUNK_EXTENSIONS_BYTES as usize / most;
    let body = |data: usize| {
        let chunk = format!("{data:x}\r\n{}\r\n", "d".repeat(data));
        let signed = format!("{data:x};{}\r\n{}\r\n", "e".repeat(most), "d".repeat(data));
        chunk + &signed.repeat(chunks)
    };
    assert_eq!(whole(&body(share * most)), Ok(None));
    let refused = whole(&body(share * most / 2));
    assert_eq!(refused, Err(Refusal::ChunkOverheadTooLarge));
}

#[test]
fn overhead_is_bounded() {
    let extension = |len: u32| format!("1;{}\r\nx\r\n", "e".repeat(len as usize));
    let most = limits::CHUNK_EXTENSION_BYTES;
    let chunks = limits::CHUNK_EXTENSIONS_BYTES as usize / most as usize;
    let fields = |count: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(count));
    let trailer = |len: u32| format!("0\r\nA: {}\r\n\r\n", "b".repeat(len as usize));
    let fixed = b"A: ".len() as u32;
    let too_large = Some(Refusal::ChunkOverheadTooLarge);
    let rows = [
        (extension(most), None),
        (extension(most + 1), too_large),
        (extension(most).repeat(chunks), None),
        (extension(most).repeat(chunks) + "1;e", too_large),
        (fields(limits::TRAILER_FIELDS), None),
        (fields(limits::TRAILER_FIELDS + 1), too_large),
        (trailer(limits::TRAILER_BYTES - fixed), None),
        (trailer(limits::TRAILER_BYTES - fixed + 1), too_large),
    ];
    for (input, expected) in rows {
        assert_eq!(whole(&input).err(), expected, "{} bytes", input.len());
    }
}

#[test]
fn largest_size_is_taken() {
    let mut decoder = ChunkedDecoder::new();
    let size = b"fffffffffffffff\r\n";
    assert_eq!(
        decoder.decode(size),
        Ok((size.len(), ChunkedPiece::NeedMore))
    );
    assert_eq!(decoder.decode(b"ab"), Ok((2, ChunkedPiece::Data(0..2))));
}

#[test]
fn headers_are_written_in_hexadecimal() {
    for (len, expected) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0xabcdef, "abcdef\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_header(&mut out, len);
        assert_eq!(out, expected.as_bytes());
    }
    let mut out = Vec::new();
    write_chunk_header(&mut out, usize::MAX);
    assert_eq!(out, b"ffffffffffffffff\r\n");
}

/// A body of these chunks, as we write it, and something after it.
fn encoded(chunks: &[Vec<u8>], trailers: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        write_chunk_header(&mut body, chunk.len());
        body.extend_from_slice(chunk);
        body.extend_from_slice(CHUNK_END);
    }
    write_last_chunk(&mut body, trailers);
    body.extend_from_slice(rest);
    body
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        has_trailers in any::<bool>(),
        rest in proptest::collection::vec(any::<u8>(), 0..8),
        cuts in proptest::collection::vec(1usize..12, 0..40),
    ) {
        let trailers: &[u8] = if has_trailers { b"X-Sum: 1\r\nx: \r\n" } else { b"" };
        let body = encoded(&chunks, trailers, &rest);
        // Bytes after the end that did not come yet cannot be left over.
        let expected = (chunks.concat(), trailers.to_vec());
        let read = decode(&body, &cuts).map(|done| done.map(|(data, trailers, _)| (data, trailers)));
        prop_assert_eq!(read, Ok(Some(expected.clone())));
        prop_assert_eq!(decode(&body, &[]), Ok(Some((expected.0, expected.1, rest.len()))));
    }

    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(
        input in proptest::collection::vec(prop::sample::select(b"0123;a=\r\n\r\n: \t\0".to_vec()), 0..40),
        cuts in proptest::collection::vec(1usize..5, 0..40),
    ) {
        prop_assert_eq!(decode(&input, &cuts), decode(&input, &[]));
    }
}
