//! Callgrind's output file: what each function cost, by itself and with what it calls.
//!
//! The format is in valgrind's manual, "Callgrind Format Specification". Functions of one name
//! count as one, and a recursion counts more than once among what is inclusive.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Instructions by the name of a function.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) total: u64,
    functions: HashMap<String, Cost>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    own: u64,
    inclusive: u64,
}

impl Profile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| format!("no totals in {}", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut profile = Self::default();
        let mut names = HashMap::new();
        let (mut current, mut called) = (String::new(), false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                current = full(name, &mut names);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                full(name, &mut names);
            } else if line.starts_with("calls=") {
                called = true;
            } else if let Some(total) = line.strip_prefix("totals:") {
                profile.total = total.trim().parse().ok()?;
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
                let of = profile.functions.entry(current.clone()).or_default();
                of.inclusive += cost;
                if !std::mem::take(&mut called) {
                    of.own += cost;
                }
            }
        }
        (profile.total > 0).then_some(profile)
    }

    /// The dearest functions: instructions for each of `requests`, which this profile has more of
    /// than `fewer`.
    pub(crate) fn dearest(&self, fewer: &Self, requests: u32, own: bool) -> Vec<(u64, &str)> {
        let cost = |it: &Cost| if own { it.own } else { it.inclusive };
        let mut all: Vec<_> = self
            .functions
            .iter()
            .map(|(name, it)| {
                let before = fewer.functions.get(name).map_or(0, cost);
                (cost(it).saturating_sub(before) / u64::from(requests), name.as_str())
            })
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all
    }
}

/// A name in full: `(7) name` says what `(7)` stands for from then on.
fn full(name: &str, names: &mut HashMap<String, String>) -> String {
    match name.split_once(' ') {
        Some((number, name)) => {
            names.insert(number.to_owned(), name.to_owned());
            name.to_owned()
        }
        None => names.get(name).cloned().unwrap_or_else(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "events: Ir\n\nfl=(1) a.rs\nfn=(1) main\n16 400\ncfn=(2) work\n\
                        calls=2 50\n+1 800\n\nfn=(2)\n51 600\n* 200\n\ntotals: 1200\n";

    #[test]
    fn functions_have_their_own_cost_and_that_of_what_they_call() {
        let profile = Profile::parse(TEXT).unwrap();
        let nothing = Profile::default();
        assert_eq!(profile.total, 1200);
        assert_eq!(profile.dearest(&nothing, 1, true), [(800, "work"), (400, "main")]);
        assert_eq!(profile.dearest(&nothing, 2, false), [(600, "main"), (400, "work")]);
        assert_eq!(profile.dearest(&profile, 1, true), [(0, "work"), (0, "main")]);
    }

    #[test]
    fn a_file_without_an_end_is_no_profile() {
        assert!(Profile::parse("events: Ir\nfn=(1) main\n16 400\n").is_none());
    }
}
