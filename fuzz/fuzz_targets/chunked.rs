//! Any bytes as a chunked body: cut anywhere, they are read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::h1::{ChunkedDecoder, ChunkedPiece};
use palantir_fuzz::http::refusal::Refusal;

/// The data and the trailers of a body.
type Decoded = (Vec<u8>, Vec<u8>);

/// The data and trailers of a body that comes in pieces of at most `most` bytes, if it is complete.
fn decode(bytes: &[u8], most: usize) -> Result<Option<Decoded>, Refusal> {
    let mut decoder = ChunkedDecoder::new();
    let mut data = Vec::new();
    for mut input in bytes.chunks(most) {
        while !input.is_empty() {
            let (consumed, piece) = decoder.decode(input)?;
            match piece {
                ChunkedPiece::NeedMore => assert_eq!(consumed, input.len()),
                ChunkedPiece::Data(range) => data.extend_from_slice(&input[range]),
                ChunkedPiece::End => return Ok(Some((data, decoder.trailers().to_vec()))),
            }
            input = &input[consumed..];
        }
    }
    Ok(None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (most, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, usize::from(most).max(1)), whole);
});
