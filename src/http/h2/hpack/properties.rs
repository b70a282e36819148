//! Properties of every section, checked over generated ones.

use proptest::prelude::*;

use super::*;

const LIMITS: ListLimits = ListLimits {
    bytes: 100_000,
    fields: 100,
};

/// Fields of which many come again.
fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>, bool)>> {
    let name = prop_oneof![
        prop::sample::select(vec!["server", "date", "content-type", "cookie", "x-a", "a"])
            .prop_map(str::to_owned),
        "[a-z0-9-]{1,40}",
    ];
    let value = prop_oneof![
        Just(b"nginx".to_vec()),
        Just(b"0".to_vec()),
        proptest::collection::vec(b'!'..=b'~', 0..700),
    ];
    proptest::collection::vec((name, value, proptest::bool::weighted(0.1)), 0..12)
}

proptest! {
    /// Through any sequence of sections and changes of size both tables agree.
    #[test]
    fn sections_arrive_as_they_were_sent(
        sections in proptest::collection::vec((fields(), proptest::option::weighted(0.2, 0usize..5000)), 1..12),
        upper in any::<bool>(),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(LIMITS));
        let mut list = FieldList::default();
        for (fields, size) in sections {
            if let Some(size) = size {
                encoder.set_max_size(size);
            }
            let mut out = Vec::new();
            encoder.begin(&mut out);
            for (name, value, sensitive) in &fields {
                let name = if upper { name.to_uppercase() } else { name.clone() };
                encoder.field(&mut out, name.as_bytes(), value, *sensitive);
            }
            list.clear();
            decoder.decode(&out, &mut list).unwrap();
            let arrived: Vec<_> = list.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let sent: Vec<_> = fields.iter().map(|(name, value, _)| (name.clone().into_bytes(), value.clone())).collect();
            prop_assert_eq!(arrived, sent);
            for (span, (_, _, sensitive)) in list.spans.iter().zip(&fields) {
                prop_assert!(span.sensitive || !sensitive);
            }
        }
    }

    #[test]
    fn any_bytes_are_safe(sections in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..4)) {
        let mut decoder = Decoder::new(LIMITS);
        let mut list = FieldList::default();
        for section in sections {
            let _ = decoder.decode(&section, &mut list);
            for span in &list.spans {
                prop_assert!(list.text[..span.end()].ends_with(b"\r\n"));
            }
        }
    }

    #[test]
    fn huffman_comes_back(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut code, mut back) = (Vec::new(), Vec::new());
        huffman::encode(&text, &mut code);
        huffman::decode(&code, &mut back).unwrap();
        prop_assert_eq!(back, text);
    }
}
