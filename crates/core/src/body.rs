//! A body as inspectors see it: whole, decoded, bounded.

use bytes::Bytes;

/// A whole body, of a request or of an answer, after its content codings were removed under limits.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The decoded bytes.
    pub decoded: Bytes,
}
