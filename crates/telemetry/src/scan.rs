//! Whether texts ask for a closer look: nearly none does, so looking has to be cheap.

/// How many bytes are looked at in one step at most, on machines that have vectors.
const STEP: usize = 32;

/// Texts looked at together, which takes less time than one after the other.
#[derive(Debug, Default)]
pub(crate) struct Joined(Vec<u8>);

impl Joined {
    /// Forgets all texts.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
        self.0.extend_from_slice(b"  ");
    }

    /// Adds a text.
    pub(crate) fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Whether `wanted` holds for any byte of the texts in a row, or for spaces behind them. It is
    /// given the two bytes before, which are spaces where there are none, and the byte itself.
    pub(crate) fn any(&mut self, wanted: impl Fn([u8; 3]) -> bool) -> bool {
        // Whole steps, lest the last bytes be looked at one by one.
        self.0.extend_from_slice(&[b' '; STEP]);
        let [_, from_second @ ..] = self.0.as_slice() else { return false };
        let [_, from_third @ ..] = from_second else { return false };
        let these = from_third.as_chunks::<STEP>().0.as_flattened();
        holds([&self.0, from_second, these], wanted)
    }
}

/// Without a branch between the bytes, so that compilers look at many in one step. They do worse
/// where they know how many there are.
#[inline(never)]
fn holds([first, second, third]: [&[u8]; 3], wanted: impl Fn([u8; 3]) -> bool) -> bool {
    let each = third.iter().zip(second).zip(first);
    each.fold(false, |found, ((third, second), first)| found | wanted([*first, *second, *third]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(texts: &[&str], wanted: impl Fn([u8; 3]) -> bool) -> bool {
        let mut joined = Joined::default();
        joined.push("forgotten");
        joined.clear();
        texts.iter().for_each(|text| joined.push(text));
        joined.any(wanted)
    }

    #[test]
    fn each_byte_is_seen_with_the_two_before_it_in_texts_of_any_length() {
        for length in (0..5).chain(28..36).chain(60..68) {
            let text = ".".repeat(length);
            assert!(!any(&[&text], |bytes| bytes.contains(&b'x')), "{length}");
            for at in 0..length {
                let (before, after) = (&*".".repeat(at), &*".".repeat(length - at - 1));
                let all = format!("  {before}x{after}");
                for window in all.as_bytes().windows(3) {
                    assert!(any(&[before, "x", after], |it| it == window), "{at} of {length}");
                }
            }
        }
    }
}
