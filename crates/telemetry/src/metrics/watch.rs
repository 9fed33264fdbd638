//! Numbers that others keep, read when somebody scrapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::lock::lock;

type Read = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is read, by the metric's name.
#[derive(Default)]
pub(crate) struct Watched(Mutex<BTreeMap<&'static str, (&'static str, Read)>>);

impl Watched {
    /// Reads `name` by `read` from now on.
    pub(crate) fn insert(&self, name: &'static str, help: &'static str, read: Read) {
        lock(&self.0).insert(name, (help, read));
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, (help, read)) in lock(&self.0).iter() {
            let gauge = ConstGauge::new(read());
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.0).keys()).finish()
    }
}
