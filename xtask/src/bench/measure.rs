//! What load generators say, and what becomes of several rounds.

use std::time::Duration;

use anyhow::{Context, Result};

use super::subjects::Subject;

/// What the clients saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// Requests answered well, or handshakes made.
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Latency in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// One subject under one load, once.
pub(crate) struct Measurement {
    pub(crate) outcome: Outcome,
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
}

/// One subject under one load, in all rounds.
pub(crate) struct Sampled {
    pub(crate) subject: Subject,
    rounds: Vec<Measurement>,
}

impl Sampled {
    pub(crate) fn new(subject: &Subject) -> Self {
        Self { subject: *subject, rounds: Vec::new() }
    }

    pub(crate) fn push(&mut self, measurement: Measurement) {
        self.rounds.push(measurement);
    }

    /// Microseconds of processor time for each request: the least, the median, the most.
    pub(crate) fn cost(&self) -> [f64; 3] {
        let all = self.sorted(|it| {
            let requests = u32::try_from(it.outcome.requests).unwrap_or(u32::MAX).max(1);
            it.cpu.as_secs_f64() * 1e6 / f64::from(requests)
        });
        let at = |at: usize| all.get(at).copied().unwrap_or(f64::NAN);
        [at(0), at(all.len() / 2), at(all.len().saturating_sub(1))]
    }

    /// Medians of the latencies in microseconds: of one in two, of one in a hundred.
    pub(crate) fn latency(&self) -> [f64; 2] {
        let middle = |all: Vec<f64>| all.get(all.len() / 2).copied().unwrap_or(f64::NAN);
        [middle(self.sorted(|it| it.outcome.p50)), middle(self.sorted(|it| it.outcome.p99))]
    }

    /// The most bytes resident in any round.
    pub(crate) fn peak(&self) -> u64 {
        self.rounds.iter().map(|it| it.peak).max().unwrap_or_default()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(|it| it.outcome.failed).sum()
    }

    fn sorted(&self, value: impl Fn(&Measurement) -> f64) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().map(value).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// What wrk printed with `--latency`.
pub(crate) fn wrk(text: &str) -> Result<Outcome> {
    let said = || format!("wrk said\n{text}");
    let line = |with: &str| text.lines().map(str::trim).find(|line| line.contains(with));
    let percentile = |name: &str| {
        let line = text.lines().map(str::trim).find(|line| line.starts_with(name))?;
        microseconds(line.split_whitespace().nth(1)?)
    };
    let answered = line("requests in").and_then(|line| line.split(' ').next()?.parse().ok());
    let answered: u64 = answered.with_context(said)?;
    let refused: u64 = match line("Non-2xx") {
        None => 0,
        Some(line) => line.rsplit(' ').next().and_then(|it| it.parse().ok()).with_context(said)?,
    };
    // "connect 0, read 1, write 0, timeout 0"
    let broken = line("Socket errors").map_or(0, numbers);
    Ok(Outcome {
        requests: answered.saturating_sub(refused),
        failed: refused + broken,
        p50: percentile("50%").with_context(said)?,
        p99: percentile("99%").with_context(said)?,
    })
}

/// The sum of all numbers in a line.
fn numbers(line: &str) -> u64 {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// `628.00us`, `1.23ms`, `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(at)?;
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// What h2load printed, and its log: a line a request, the last word its microseconds.
pub(crate) fn h2load(text: &str, log: &str) -> Result<Outcome> {
    let said = || format!("h2load said\n{text}");
    let line = text.lines().find(|line| line.starts_with("requests:")).with_context(said)?;
    let count = |name: &str| {
        let part = line.split(',').find(|part| part.trim_end().ends_with(name))?;
        part.split_whitespace().rev().nth(1)?.parse::<u64>().ok()
    };
    let codes = text.lines().find(|line| line.starts_with("status codes:")).with_context(said)?;
    let good = codes.split_whitespace().nth(2).and_then(|word| word.parse().ok());
    let good: u64 = good.with_context(said)?;
    let answered = count("succeeded").with_context(said)? + count("failed").with_context(said)?;
    let mut times: Vec<u32> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    times.sort_unstable();
    let percentile = |percent: usize| {
        times.get(times.len() * percent / 100).copied().map(f64::from).with_context(said)
    };
    // Requests under way when the time is over count as errored; they are no failures.
    Ok(Outcome {
        requests: good,
        failed: answered.saturating_sub(good),
        p50: percentile(50)?,
        p99: percentile(99)?,
    })
}

/// What `bench/load` printed.
pub(crate) fn own(text: &str) -> Result<Outcome> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok()).with_context(|| format!("no {name}"))
    };
    let time = |name: &str| Ok::<_, anyhow::Error>(f64::from(u32::try_from(value(name)?)?));
    Ok(Outcome {
        requests: value("requests")?,
        failed: value("failed")?,
        p50: time("p50_us")?,
        p99: time("p99_us")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "Running 1s test\n  Latency Distribution\n\
                    \x20    50%  628.00us\n     99%    1.23ms\n\
                    \x20 50437 requests in 1.00s, 12MB read\n  Non-2xx or 3xx responses: 7\n\
                    \x20 Socket errors: connect 0, read 2, write 0, timeout 1\n";
        let expected = Outcome { requests: 50_430, failed: 10, p50: 628.0, p99: 1230.0 };
        assert_eq!(wrk(text).unwrap(), expected);
        assert!(wrk("nothing").is_err());
    }

    #[test]
    fn what_h2load_says_is_understood() {
        let text = "requests: 30 total, 30 started, 26 done, 25 succeeded, 1 failed, 3 errored, 0 \
                    timeout\nstatus codes: 25 2xx, 0 3xx, 0 4xx, 1 5xx\n";
        let log = "1\t200\t900\n2\t200\t100\n3\t200\t500\n";
        let expected = Outcome { requests: 25, failed: 1, p50: 500.0, p99: 900.0 };
        assert_eq!(h2load(text, log).unwrap(), expected);
    }

    #[test]
    fn what_our_own_load_says_is_understood() {
        let text = "requests 12\nfailed 1\np50_us 800\np99_us 2000\n";
        let expected = Outcome { requests: 12, failed: 1, p50: 800.0, p99: 2000.0 };
        assert_eq!(own(text).unwrap(), expected);
    }
}
