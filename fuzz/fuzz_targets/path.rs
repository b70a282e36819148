//! Any bytes as a path: the result is normal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::path::normalise;

fuzz_target!(|bytes: &[u8]| {
    let path = [b"/", bytes].concat();
    let mut scratch = Vec::new();
    let Ok(once) = normalise(&path, &mut scratch) else {
        return;
    };
    assert!(once.starts_with(b"/"));
    assert!(
        once.split(|&byte| byte == b'/')
            .all(|segment| segment != b"." && segment != b"..")
    );
    let mut scratch = Vec::new();
    assert_eq!(normalise(once, &mut scratch), Ok(once));
});
