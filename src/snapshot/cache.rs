//! The cache of the process as a whole: what all routes share.

use std::path::PathBuf;

/// The cache of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The bytes that everything which entries need may take.
    pub max_bytes: u64,
    /// The name by which `Cache-Status` calls the cache (RFC 9211 section 2).
    pub name: String,
    /// The tier on disk; `None`: there is none.
    pub disk: Option<CacheDisk>,
}

/// The tier of the cache on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDisk {
    /// The folder of the entries.
    pub path: PathBuf,
    /// The bytes that the files in the folder may take.
    pub max_bytes: u64,
}
