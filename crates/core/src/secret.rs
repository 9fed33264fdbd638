//! A value that cannot be printed.

use std::fmt;
use zeroize::Zeroizing;

/// The name of a newtype whose value the loader of the document must not quote in a diagnostic. A
/// type that holds a secret, or a reference easily mistaken for one, reads itself through
/// `deserializer.deserialize_newtype_struct(CONCEALED, visitor)`.
pub const CONCEALED: &str = "$demilune::concealed";

/// Bytes that must not leave: neither printed, nor serialised, nor compared with `==`. Wiped on
/// drop.
///
/// Compare with a constant-time function of `demilune-identity`, on [`Secret::reveal`].
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_bytes() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }
}
