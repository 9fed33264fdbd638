//! Gauges whose sets of labels come and go.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::lock::lock;

/// Gauges by labels.
#[derive(Debug)]
pub(crate) struct Table<L>(Arc<Mutex<BTreeMap<L, i64>>>);

impl<L: Ord> Table<L> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn set(&self, labels: L, value: i64) {
        lock(&self.0).insert(labels, value);
    }

    pub(crate) fn retain(&self, keep: impl Fn(&L) -> bool) {
        lock(&self.0).retain(|labels, _| keep(labels));
    }

    /// Drops all but this one.
    pub(crate) fn set_only(&self, labels: L, value: i64) {
        let mut gauges = lock(&self.0);
        gauges.clear();
        gauges.insert(labels, value);
    }
}

impl<L> Clone for Table<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Ord + EncodeLabelSet> EncodeMetric for Table<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, value) in lock(&self.0).iter() {
            encoder.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}
