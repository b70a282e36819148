//! Memory of another owner that is sent without a copy: its bytes, and perhaps the file that they are mapped from, so
//! that the kernel can send whole pages by reference.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::base::limits;

/// Bytes of a page. Where the machine has larger ones, nothing is lent by reference.
const PAGE: u64 = 4_096;

/// Memory of another owner.
#[derive(Clone, Debug)]
pub struct Lent {
    bytes: Bytes,
    pages: Option<MappedPages>,
}

/// The place from which lent bytes are mapped.
#[derive(Clone, Debug)]
struct MappedPages {
    file: Arc<OwnedFd>,
    /// Where the first byte is in the file.
    offset: u64,
}

/// The next part of lent bytes that one system call can send.
#[derive(Debug)]
pub enum LentPart<'a> {
    /// Bytes that have to be copied. `is_last`: nothing follows them.
    Copied {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether they are the last ones.
        is_last: bool,
    },
    /// Whole pages.
    Pages {
        /// The file.
        file: BorrowedFd<'a>,
        /// Where in the file.
        range: Range<u64>,
    },
}

impl Lent {
    /// Bytes that are copied by whoever sends them.
    pub fn bytes(bytes: Bytes) -> Lent {
        Lent { bytes, pages: None }
    }

    /// Bytes that are mapped from a place in a file. Whole pages among them are given to the kernel, which may read
    /// them after the owner of the bytes has let them go: nobody may write to these pages from then on.
    pub fn pages(bytes: Bytes, file: Arc<OwnedFd>, offset: u64) -> Lent {
        let pages = Some(MappedPages { file, offset });
        Lent { bytes, pages }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes bytes from the front, fewer than there are.
    pub fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(pages) = &mut self.pages {
            pages.offset += count as u64;
        }
    }

    /// Has all bytes copied from here on.
    pub fn forgo_pages(&mut self) {
        self.pages = None;
    }

    /// Bytes before the first whole page; `None`: there are too few whole pages to be worth a system call.
    pub fn before_pages(&self) -> Option<usize> {
        let pages = self.pages.as_ref()?;
        let before = (pages.offset.next_multiple_of(PAGE) - pages.offset) as usize;
        let whole = self.bytes.len().checked_sub(before)? as u64 / PAGE * PAGE;
        (whole >= limits::LENT_BYTES as u64).then_some(before)
    }

    /// The next part of the first `count` bytes.
    pub fn next_part(&self, count: usize) -> LentPart<'_> {
        let copied = |count: usize, is_last| LentPart::Copied {
            bytes: &self.bytes[..count],
            is_last,
        };
        let (Some(pages), Some(before)) = (&self.pages, self.before_pages()) else {
            return copied(count, true);
        };
        let end = (pages.offset + count as u64) / PAGE * PAGE;
        let range = pages.offset + before as u64..end;
        match before {
            _ if range.is_empty() => copied(count, true),
            0 => LentPart::Pages {
                file: pages.file.as_fd(),
                range,
            },
            before => copied(before, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts in which lent bytes at an offset go: `c` and the number of copied bytes, `p` and the number of pages.
    fn parts(offset: u64, length: usize, mut count: usize) -> String {
        let file = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut lent = Lent::pages(vec![0; length].into(), file, offset);
        let mut parts = String::new();
        while count > 0 {
            let (sent, text) = match lent.next_part(count) {
                LentPart::Copied { bytes, is_last } => {
                    assert_eq!(is_last, bytes.len() == count);
                    (bytes.len(), format!("c{}", bytes.len()))
                }
                LentPart::Pages { range, .. } => {
                    assert_eq!(range.start % PAGE + range.end % PAGE, 0);
                    let bytes = (range.end - range.start) as usize;
                    (bytes, format!("p{}", bytes / PAGE as usize))
                }
            };
            parts += &format!("{text} ");
            lent.advance(sent);
            count -= sent;
        }
        parts
    }

    #[test]
    fn whole_pages_go_by_reference() {
        let rows = [
            (0, 40_960, 40_960, "p10 "),
            (100, 40_960, 40_960, "c3996 p9 c100 "),
            (4_095, 40_960, 40_960, "c1 p9 c4095 "),
            // The asked bytes end in the first page, in the page behind it, or at its end.
            (100, 40_960, 50, "c50 "),
            (100, 40_960, 3_996, "c3996 "),
            (100, 40_960, 5_000, "c5000 "),
            (100, 40_960, 8_092, "c3996 p1 "),
            // Too few pages for a system call.
            (0, 16_383, 16_383, "c16383 "),
            (1, 16_384, 16_384, "c16384 "),
        ];
        for (offset, length, count, expected) in rows {
            assert_eq!(parts(offset, length, count), expected, "{offset} {count}");
        }
    }

    #[test]
    fn bytes_that_are_mapped_from_no_file_are_copied() {
        let mut lent = Lent::bytes(Bytes::from_static(b"abc"));
        assert_eq!(lent.before_pages(), None);
        let file = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        lent = Lent::pages(vec![0; 40_960].into(), file, 0);
        assert_eq!(lent.before_pages(), Some(0));
        lent.forgo_pages();
        assert_eq!(lent.before_pages(), None);
        assert!(matches!(lent.next_part(3), LentPart::Copied { .. }));
    }
}
