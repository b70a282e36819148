//! The memory of an arena: one memfd, mapped whole. Pages are taken from the machine when they are written to first.
//! Before the memory of the blocks lies a part of fixed size that processes share which have the same memory.

#![expect(
    unsafe_code,
    reason = "a mapping is memory that the compiler does not know"
)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::PAGE;
use crate::base::limits;

/// Bytes of the part before the memory of the blocks.
pub const SHARED_BYTES: usize = 4_096 + limits::CHANGES_BYTES;

/// A mapping of a memfd. All offsets are checked against its length.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
    file: Option<Arc<OwnedFd>>,
}

// SAFETY: the mapping belongs to the region alone, and every access to it is either atomic or governed by the caller
// as the functions below demand.
unsafe impl Send for Region {}
// SAFETY: the same holds for shared references.
unsafe impl Sync for Region {}

impl Region {
    /// A region of `bytes` zeros in a new memfd. Errors: the machine has no descriptors or address space left.
    #[cfg(not(miri))]
    pub fn new(bytes: usize) -> io::Result<Region> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Region::of_file(memfd_create("palantir-cache", flags)?, bytes)
    }

    /// A region of at least `bytes` in a memfd that may have contents. No process can make the file shorter from here
    /// on, which would end every process that reads beyond its end. Errors: the file is something else, or the machine
    /// has no address space left.
    #[cfg(not(miri))]
    pub fn of_file(file: OwnedFd, bytes: usize) -> io::Result<Region> {
        use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate};

        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            fcntl_add_seals(&file, SealFlags::SHRINK)?;
        }
        let has = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let has = has
            .saturating_sub(SHARED_BYTES)
            .min(limits::STORE_MOST_BYTES as usize);
        let bytes = has.max(bytes);
        if has < bytes {
            ftruncate(&file, (SHARED_BYTES + bytes) as u64)?;
        }
        Region::map(file, bytes)
    }

    #[cfg(not(miri))]
    fn map(file: OwnedFd, bytes: usize) -> io::Result<Region> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};

        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses an address that nothing else has.
        let all = SHARED_BYTES + bytes;
        let base = unsafe { mmap(std::ptr::null_mut(), all, protection, flags, &file, 0)? };
        // A part of a huge page cannot be taken out of the file while the kernel sends from it. A kernel that refuses
        // has no such pages.
        // SAFETY: the advice changes nothing of what is in the mapping.
        let _ = unsafe { madvise(base, all, Advice::LinuxNoHugepage) };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Region {
            base,
            bytes,
            file: Some(Arc::new(file)),
        })
    }

    /// A region on the heap, for the interpreter of the tests, which knows no memfd.
    #[cfg(miri)]
    pub fn new(bytes: usize) -> io::Result<Region> {
        let layout = std::alloc::Layout::from_size_align(SHARED_BYTES + bytes, 4096).unwrap();
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).unwrap();
        Ok(Region {
            base,
            bytes,
            file: None,
        })
    }

    /// Bytes of the memory of the blocks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A word of four bytes of the part that processes share.
    #[inline]
    pub fn shared(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= SHARED_BYTES);
        // SAFETY: the word is aligned, lies in the mapping, lives as long as the region, and is only used atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// The memfd.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(|file| file.as_fd())
    }

    /// The memfd, and where in the file an offset of the region is, if the pages that blocks are made of are those of
    /// the machine: a part of a larger page cannot be taken out of the file, but is overwritten.
    pub fn place(&self, offset: usize) -> Option<(Arc<OwnedFd>, u64)> {
        let file = self.file.clone()?;
        if rustix::param::page_size() != PAGE {
            return None;
        }
        Some((file, (SHARED_BYTES + offset) as u64))
    }

    /// The word of four bytes at an offset, which only the tags of blocks use.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.bytes);
        // SAFETY: the word is aligned, lies in the mapping, lives as long as the region, and is only used atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(SHARED_BYTES + offset).cast()) }
    }

    /// The bytes from an offset on.
    ///
    /// # Safety
    /// No thread writes to these bytes while the slice lives.
    #[inline]
    pub unsafe fn slice(&self, offset: usize, bytes: usize) -> &[u8] {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset);
        // SAFETY: the bytes lie in the mapping and are initialised (zeros at first); the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(SHARED_BYTES + offset), bytes) }
    }

    /// Copies bytes to an offset.
    ///
    /// # Safety
    /// No other thread reads or writes these bytes at the same time.
    #[inline]
    pub unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.bytes && bytes.len() <= self.bytes - offset);
        // SAFETY: the target lies in the mapping, which no slice of safe code can overlap while it is written to.
        unsafe {
            let target = self.base.as_ptr().add(SHARED_BYTES + offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }

    /// Brings in the pages from one offset to another, as far as the region goes. Where the kernel refuses, each page
    /// comes when the page is written to.
    pub fn bring_in(&self, start: usize, end: usize) {
        let end = end.min(self.bytes);
        if start >= end {
            return;
        }
        #[cfg(not(miri))]
        // SAFETY: the pages lie in the mapping, and what is in them stays as it is.
        unsafe {
            use rustix::mm::{Advice, madvise};
            let first = self.base.as_ptr().add(SHARED_BYTES + start);
            let _ = madvise(first.cast(), end - start, Advice::LinuxPopulateWrite);
        }
    }

    /// Gives whole pages back to the machine; they are zeros afterwards. Pages that the kernel still sends from stay
    /// what they were for the sender. Errors: the kernel refuses.
    ///
    /// # Safety
    /// No thread uses the pages at the same time, and no slice of them lives.
    pub unsafe fn give_back(&self, offset: usize, bytes: usize) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};

        assert!(offset <= self.bytes && bytes <= self.bytes - offset);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match &self.file {
            Some(file) => Ok(fallocate(
                file,
                flags,
                (SHARED_BYTES + offset) as u64,
                bytes as u64,
            )?),
            None => Ok(()),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        #[cfg(not(miri))]
        // SAFETY: the mapping has this base and length, and no reference into it outlives the region. A failure leaves
        // the mapping in place, which harms nobody.
        unsafe {
            let _ = rustix::mm::munmap(self.base.as_ptr().cast(), SHARED_BYTES + self.bytes);
        }
        #[cfg(miri)]
        // SAFETY: the memory was allocated with this layout.
        unsafe {
            let layout =
                std::alloc::Layout::from_size_align(SHARED_BYTES + self.bytes, 4096).unwrap();
            std::alloc::dealloc(self.base.as_ptr(), layout);
        }
    }
}
