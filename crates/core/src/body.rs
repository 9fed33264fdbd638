//! A request's body as inspectors see it: whole, decoded, bounded.

use bytes::Bytes;

/// A whole request body, after its content codings were removed under limits.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The decoded bytes.
    pub decoded: Bytes,
}
