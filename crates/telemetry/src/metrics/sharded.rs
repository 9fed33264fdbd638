//! Numbers with one writer each, added up when they are scraped.
//!
//! A counter that all workers share travels between their processors' caches on each request. Here
//! each worker has a cell of its own for each set of labels, so that counting is an ordinary
//! addition; the few times that somebody scrapes, the cells are added up.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::lock::lock;

/// What a worker counts in.
pub(crate) trait Cell: Debug + Default + Send + Sync + 'static {
    const TYPE: MetricType;
    fn add_to(&self, total: &Self);
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result;
}

/// The cells of one metric, by labels.
#[derive(Debug)]
pub(crate) struct Sharded<L, C>(Arc<Mutex<BTreeMap<L, Sum<C>>>>);

#[derive(Debug, Default)]
struct Sum<C> {
    /// What cells held whose owners are gone.
    ended: C,
    live: Vec<Arc<C>>,
}

impl<L: Ord, C: Cell> Sharded<L, C> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// A new cell, for one writer only.
    pub(crate) fn cell(&self, labels: L) -> Arc<C> {
        let cell = Arc::<C>::default();
        let mut sums = lock(&self.0);
        let sum = sums.entry(labels).or_default();
        sum.gather();
        sum.live.push(Arc::clone(&cell));
        cell
    }
}

impl<C: Cell> Sum<C> {
    /// Keeps what the cells of owners that are gone held, and drops the cells.
    fn gather(&mut self) {
        let Self { ended, live } = self;
        live.retain_mut(|cell| match Arc::get_mut(cell) {
            Some(cell) => {
                cell.add_to(ended);
                false
            }
            None => true,
        });
    }

    fn total(&self) -> C {
        let total = C::default();
        self.ended.add_to(&total);
        for cell in &self.live {
            cell.add_to(&total);
        }
        total
    }
}

impl<L, C> Clone for Sharded<L, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Ord + EncodeLabelSet, C: Cell> EncodeMetric for Sharded<L, C> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, sum) in lock(&self.0).iter_mut() {
            sum.gather();
            sum.total().encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        C::TYPE
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// Adds without the processor's lock: right only where nobody else writes.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn increment(&self) {
        add(&self.0, 1);
    }
}

impl Cell for Count {
    const TYPE: MetricType = MetricType::Counter;

    fn add_to(&self, total: &Self) {
        add(&total.0, self.0.load(Ordering::Relaxed));
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let value = self.0.load(Ordering::Relaxed);
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }
}

/// Upper bounds of the buckets, in seconds and in nanoseconds.
const BOUNDS: [(f64, u64); 14] = [
    (0.0005, 500_000),
    (0.001, 1_000_000),
    (0.0025, 2_500_000),
    (0.005, 5_000_000),
    (0.01, 10_000_000),
    (0.025, 25_000_000),
    (0.05, 50_000_000),
    (0.1, 100_000_000),
    (0.25, 250_000_000),
    (0.5, 500_000_000),
    (1.0, 1_000_000_000),
    (2.5, 2_500_000_000),
    (5.0, 5_000_000_000),
    (10.0, 10_000_000_000),
];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each of [`BOUNDS`].
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|(_, bound)| nanoseconds <= *bound);
        let bucket = at.and_then(|at| self.buckets.get(at)).unwrap_or(&self.beyond);
        add(bucket, 1);
        add(&self.nanoseconds, nanoseconds);
    }
}

impl Cell for Histogram {
    const TYPE: MetricType = MetricType::Histogram;

    fn add_to(&self, total: &Self) {
        for (bucket, total) in self.buckets.iter().zip(&total.buckets) {
            add(total, bucket.load(Ordering::Relaxed));
        }
        add(&total.beyond, self.beyond.load(Ordering::Relaxed));
        add(&total.nanoseconds, self.nanoseconds.load(Ordering::Relaxed));
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|(seconds, _)| *seconds).chain([f64::INFINITY]);
        let counts = self.buckets.iter().chain([&self.beyond]);
        let buckets: Vec<(f64, u64)> =
            bounds.zip(counts.map(|count| count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    type Labels = [(&'static str, &'static str); 1];

    fn rendered<C: Cell>(sharded: &Sharded<Labels, C>) -> String {
        let mut registry = Registry::default();
        registry.register("x", "X", sharded.clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn cells_of_several_writers_are_added_up() {
        let sharded = Sharded::<Labels, Count>::new();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let cell = sharded.cell([("a", "b")]);
                std::thread::spawn(move || (0..1_000).for_each(|_| cell.increment()))
            })
            .collect();
        let other = sharded.cell([("a", "c")]);
        other.increment();
        for thread in threads {
            thread.join().unwrap();
        }
        for _ in 0..2 {
            let text = rendered(&sharded);
            assert!(text.contains("x_total{a=\"b\"} 4000\nx_total{a=\"c\"} 1\n"), "{text}");
        }
    }

    #[test]
    fn what_a_writer_counted_outlives_it_and_its_cell_does_not() {
        let sharded = Sharded::<Labels, Count>::new();
        for _ in 0..100 {
            sharded.cell([("a", "b")]).increment();
        }
        assert!(lock(&sharded.0).values().all(|sum| sum.live.len() == 1));
        assert!(rendered(&sharded).contains("x_total{a=\"b\"} 100\n"));
    }

    #[test]
    fn durations_fall_into_the_bucket_that_ends_with_them() {
        let sharded = Sharded::<Labels, Histogram>::new();
        let cell = sharded.cell([("a", "b")]);
        for micros in [1, 500, 501, 10_000_000, 10_000_001] {
            cell.observe(Duration::from_micros(micros));
        }
        let text = rendered(&sharded);
        for line in [
            "x_bucket{le=\"0.0005\",a=\"b\"} 2",
            "x_bucket{le=\"0.001\",a=\"b\"} 3",
            "x_bucket{le=\"10.0\",a=\"b\"} 4",
            "x_bucket{le=\"+Inf\",a=\"b\"} 5",
            "x_count{a=\"b\"} 5",
            "x_sum{a=\"b\"} 20.001003",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }
}
