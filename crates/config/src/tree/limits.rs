//! How large a document may be.
//!
//! Each limit is checked before the memory or time it bounds is spent, so that a hostile document
//! is refused at the cost of reading it once.

/// The largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes that all files of a folder have together.
pub const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// The most files in a folder.
pub const MAX_FILES: usize = 1_000;

/// The most values in one file.
pub const MAX_NODES: usize = 1_000_000;

/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 64;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;

/// The most marks (brackets, commas, colons, quotes and the like) that one value may hold while
/// the parser cannot yet tell whether it is a key.
///
/// YAML allows a bracketed list as a key, so the parser holds back a whole `[ … ]` until it has
/// seen what follows. Without this limit 4 MiB of `[a,a,a,…` cost 700 MiB and seconds.
pub const MAX_PENDING_MARKS: u32 = 250_000;
