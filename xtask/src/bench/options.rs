//! The words behind `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::loads::LOADS;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Time,
    Instructions,
    Memory,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// Rounds over all subjects.
    pub(crate) rounds: usize,
    /// How long each subject is under load in each round.
    pub(crate) seconds: u32,
    /// Names of loads; none for all.
    pub(crate) only: Vec<&'static str>,
    /// A gateway that is built already.
    pub(crate) binary: Option<PathBuf>,
}

impl Options {
    /// Reads `args`; the defaults take less than a quarter of an hour with every peer installed.
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options =
            Self { mode: Mode::Time, rounds: 3, seconds: 2, only: Vec::new(), binary: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--instructions" => options.mode = Mode::Instructions,
                "--memory" => options.mode = Mode::Memory,
                "--rounds" => options.rounds = usize::try_from(number(arg, value()?)?)?,
                "--seconds" => options.seconds = number(arg, value()?)?,
                "--only" => options.only = names(value()?)?,
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                _ => bail!("`cargo xtask bench` knows no `{arg}`"),
            }
        }
        Ok(options)
    }
}

fn number(name: &str, value: &str) -> Result<u32> {
    let value = value.parse().with_context(|| format!("{name} takes a number"))?;
    ensure!((1..=60).contains(&value), "{name} takes 1 to 60");
    Ok(value)
}

fn names(list: &str) -> Result<Vec<&'static str>> {
    let known = |name: &str| LOADS.iter().map(|load| load.name).find(|known| *known == name);
    let all = list.split(',').map(|name| {
        let names: Vec<_> = LOADS.iter().map(|load| load.name).collect();
        known(name).with_context(|| format!("no load `{name}`; there are {}", names.join(", ")))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read_in_any_order() {
        let options = parse("--seconds 1 --only get,tls --rounds 4").unwrap();
        assert_eq!((options.rounds, options.seconds), (4, 1));
        assert_eq!(options.only, ["get", "tls"]);
        assert_eq!(parse("--memory").unwrap().mode, Mode::Memory);
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for line in ["--fast", "--rounds", "--rounds 0", "--seconds x", "--only get,nothing"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
