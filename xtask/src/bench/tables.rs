//! Tables for people.

use std::fmt::Write as _;

use super::loads::Load;
use super::measure::Sampled;
use super::subjects::{Program, Subject};

/// Whom a subject is compared with: nginx, or Envoy where nginx does not speak it.
fn reference(all: &[Sampled]) -> Option<&Sampled> {
    let by = |program| all.iter().find(|it| it.subject.program == program);
    by(Program::Nginx).or_else(|| by(Program::Envoy))
}

/// Every subject under one load.
pub(crate) fn load(all: &[Sampled]) -> String {
    let reference = reference(all);
    let to = reference.map_or_else(String::new, |it| format!(" to {}", it.subject.name));
    let mut table = format!(
        "| subject | CPU µs a request | least to most | ratio{to} | p50 ms | p99 ms \
         | peak MiB | failed |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for it in all {
        let [least, median, most] = it.cost();
        let [p50, p99] = it.latency().map(|us| us / 1000.0);
        let name = it.subject.name;
        let ratio = figure(reference.map(|reference| median / middle(reference)), 2);
        let _ = writeln!(
            table,
            "| {name} | {median:.1} | {least:.1}–{most:.1} | {ratio} | {p50:.2} | {p99:.2} \
             | {} | {} |",
            mebibytes(it.peak()),
            it.failed()
        );
    }
    table
}

fn middle(sampled: &Sampled) -> f64 {
    let [_, median, _] = sampled.cost();
    median
}

/// A row a load, as README.md has it.
pub(crate) fn summary(results: &[(&Load, Vec<Sampled>)]) -> String {
    let mut table = "| CPU µs a request | nginx | HAProxy | Envoy | Demilune | ratio \
                     | with policies | ratio |\n\
                     | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (load, all) in results {
        let find = |wanted: &dyn Fn(&Subject) -> bool| all.iter().find(|it| wanted(&it.subject));
        let by = |program| find(&|subject| subject.program == program).map(middle);
        let bare = |subject: &Subject| subject.name == "Demilune";
        let policies = |subject: &Subject| subject.program == Program::Demilune && !bare(subject);
        let (ours, with) = (find(&bare).map(middle), find(&policies).map(middle));
        let reference = reference(all).map(middle);
        let ratio = |it: Option<f64>| Some(it? / reference?);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            load.title,
            figure(by(Program::Nginx), 1),
            figure(by(Program::Haproxy), 1),
            figure(by(Program::Envoy), 1),
            figure(ours, 1),
            figure(ratio(ours), 2),
            figure(with, 1),
            figure(ratio(with), 2),
        );
    }
    table
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// What 10,000 routes cost against ten, where both were measured.
pub(crate) fn routes(results: &[(&Load, Vec<Sampled>)]) -> Option<String> {
    let of = |name| results.iter().find(|(load, _)| load.name == name).map(|(_, all)| all);
    let (few, many) = (of("routes-10")?, of("routes-10000")?);
    let mut line = "10,000 routes against ten:".to_owned();
    for many in many {
        let few = few.iter().find(|few| few.subject.name == many.subject.name)?;
        let _ = write!(line, " {} {:.2},", many.subject.name, middle(many) / middle(few));
    }
    Some(line.trim_end_matches(',').to_owned() + ".")
}

/// Bytes as mebibytes with one digit.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::measure::{Measurement, Outcome};
    use super::super::subjects::{DEMILUNE, NGINX};
    use super::*;

    #[test]
    fn a_table_has_medians_and_their_ratio() {
        let sampled = |subject, costs: [u64; 3]| {
            let mut sampled = Sampled::new(subject);
            for cost in costs {
                let outcome = Outcome { requests: 1000, failed: 0, p50: 500.0, p99: 1500.0 };
                let cpu = Duration::from_millis(cost);
                sampled.push(Measurement { outcome, cpu, peak: 3 << 20 });
            }
            sampled
        };
        let table = load(&[sampled(&NGINX, [30, 20, 10]), sampled(&DEMILUNE, [15, 16, 14])]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| nginx | 20.0 | 10.0–30.0 | 1.00 | 0.50 | 1.50 | 3.0 | 0 |",
                "| Demilune | 15.0 | 14.0–16.0 | 0.75 | 0.50 | 1.50 | 3.0 | 0 |",
            ]
        );
    }
}
