//! Every named message that one process hands to the next. Each has a file that writes and reads it; to add one, add
//! such a file and its kind to this list.

use tracing::warn;

use super::{cache, health, must_serve, socket_files};
use crate::control::config_store::state_handed;
use crate::control::resolve;
use crate::net::{Blob, BlobKind, Handed, UnreadableBlob};

const KNOWN: [BlobKind; 6] = [
    resolve::NAMES,
    must_serve::MUST_SERVE,
    state_handed::STATE,
    socket_files::SOCKET_FILES,
    health::HEALTH,
    cache::CACHE,
];

/// Says in the log which messages of the old process this process ignores, and why.
pub fn tell_ignored(handed: &Handed) {
    for UnreadableBlob { name, reason } in &handed.unreadable {
        warn!("the message {name:?} of the old process is ignored: {reason}");
    }
    for blob in ignored(&handed.blobs) {
        let (name, version) = (&blob.name, blob.version);
        warn!(
            "the message {name:?} (version {version}) of the old process is ignored: this program does not know it"
        );
    }
}

/// The messages of a name or version that this version of the program does not read. A message that comes in two
/// versions, one of which is read, is not among them.
fn ignored(blobs: &[Blob]) -> impl Iterator<Item = &Blob> {
    let is_read = |name: &str| {
        let mut of_name = KNOWN.iter().filter(|kind| kind.name == name);
        of_name.any(|kind| kind.find(blobs).is_some())
    };
    blobs.iter().filter(move |blob| !is_read(&blob.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_message_is_ignored_if_neither_its_version_nor_another_one_of_it_is_known() {
        let names = resolve::NAMES;
        let later = BlobKind {
            version: 99,
            ..names
        };
        let unknown = BlobKind {
            name: "unheard-of",
            version: 1,
        };
        let rows: [(&[BlobKind], &[BlobKind]); 5] = [
            (&[names], &[]),
            (&[later], &[later]),
            (&[names, later], &[]),
            (&[unknown, names], &[unknown]),
            (&[], &[]),
        ];
        for (sent, expected) in rows {
            let blobs: Vec<_> = sent.iter().map(|kind| kind.blob(Vec::new())).collect();
            let expected: Vec<_> = expected.iter().map(|kind| kind.blob(Vec::new())).collect();
            let ignored: Vec<_> = ignored(&blobs).cloned().collect();
            assert_eq!(ignored, expected);
        }
    }

    #[test]
    fn every_kind_is_another_one() {
        let kinds = KNOWN.iter().map(|kind| (kind.name, kind.version));
        assert_eq!(kinds.collect::<BTreeSet<_>>().len(), KNOWN.len());
    }
}
