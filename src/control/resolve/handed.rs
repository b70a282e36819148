//! The addresses of names that one process hands to the next. The new process can start with them, even if no name
//! server answers.

use tracing::warn;

use crate::config::Resolved;
use crate::net::{Blob, BlobKind};

/// The bytes are a JSON object: each host name with the list of its addresses.
pub const NAMES: BlobKind = BlobKind {
    name: "names",
    version: 1,
};

/// The known addresses, for the next process. `None`: there are none.
pub fn to_blob(resolved: &Resolved) -> Option<Blob> {
    let bytes = serde_json::to_vec(resolved).ok()?;
    (!resolved.is_empty()).then(|| NAMES.blob(bytes))
}

/// The addresses that the old process handed over; empty if it sent none, or in another version.
pub fn from_blobs(blobs: &[Blob]) -> Resolved {
    let Some(bytes) = NAMES.find(blobs) else {
        return Resolved::new();
    };
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        warn!("the addresses that the old process knows cannot be read: {error}");
        Resolved::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_everything_else_is_nothing() {
        let resolved = Resolved::from([
            (
                "a".to_owned(),
                vec![[192, 0, 2, 1].into(), "::1".parse().unwrap()],
            ),
            ("b".to_owned(), vec![]),
        ]);
        let blob = to_blob(&resolved).unwrap();
        let other = |name: &str, version, bytes: &[u8]| Blob {
            name: name.to_owned(),
            version,
            bytes: bytes.to_vec(),
        };
        let bytes = blob.bytes.clone();
        assert_eq!(from_blobs(&[other("else", 1, b"{}"), blob]), resolved);
        for blob in [
            other(NAMES.name, 2, &bytes),
            other(NAMES.name, 1, b"{"),
            other("else", 1, &bytes),
        ] {
            assert_eq!(from_blobs(&[blob]), Resolved::new());
        }
        assert!(to_blob(&Resolved::new()).is_none());
    }
}
