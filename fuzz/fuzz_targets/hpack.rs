//! Any bytes as field sections: decoding is bounded, and what was decoded comes back after encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::h2::hpack::{Decoder, Encoder, FieldList, ListLimits};

const LIMITS: ListLimits = ListLimits {
    bytes: 16_384,
    fields: 100,
};

fuzz_target!(|bytes: &[u8]| {
    let (mut decoder, mut list) = (Decoder::new(LIMITS), FieldList::default());
    let (mut encoder, mut mirror, mut again) =
        (Encoder::new(), Decoder::new(LIMITS), FieldList::default());
    // Sections are cut at a byte that is common in none.
    for section in bytes.split(|byte| *byte == 0xfe) {
        list.clear();
        if decoder.decode(section, &mut list).is_err() {
            return;
        }
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in list.iter() {
            encoder.field(&mut out, name, value, false);
        }
        again.clear();
        mirror
            .decode(&out, &mut again)
            .expect("what is encoded can be decoded");
        let lower = list
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let back = again
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()));
        assert!(lower.eq(back));
    }
});
