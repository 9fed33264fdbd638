//! Comparison that takes the same time whether the first byte differs or the last.

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Tells whether `a` and `b` are equal, in a time that depends on their lengths alone.
///
/// Slices of different lengths are told apart at once: the length of what is compared here (a
/// digest, a hash) is public. An ordinary `==` stops at the first difference, and the time it takes
/// tells a patient client how many bytes were right (Lawson & Nelson, "Exploiting Timing Attacks in
/// Widespread Systems", 2010).
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::constant_time_eq;

    #[test]
    fn equal_means_same_length_and_same_bytes() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"demilune", b"demilune"));
        assert!(!constant_time_eq(b"demilune", b"demilunE"));
        assert!(!constant_time_eq(b"demilune", b"Demilune"));
        assert!(!constant_time_eq(b"demilune", b"demilun"));
        assert!(!constant_time_eq(b"", b"\0"));
    }
}
