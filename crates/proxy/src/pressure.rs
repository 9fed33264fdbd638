//! Overload: new work is refused before memory or latency collapses for everybody.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use demilune_core::Denial;
use demilune_core::snapshot::Overload;
use demilune_telemetry::{Level, Telemetry};
use http::StatusCode;

use crate::plane::Plane;
use crate::worker::Shared;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Of the memory there is, the share over which new work is refused unless the document says.
const SHARE: (u64, u64) = (8, 10);
/// When a client that was refused for it may come again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What all workers are told.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    memory: AtomicBool,
}

impl Pressure {
    /// Whether the process uses more memory than it may.
    pub(crate) fn is_memory_short(&self) -> bool {
        self.memory.load(Ordering::Relaxed)
    }
}

/// What one worker has to do.
#[derive(Default)]
pub(crate) struct Load {
    under_way: Cell<usize>,
    /// Why new work was refused last, if it still is.
    refusing: Cell<Option<&'static str>>,
}

/// One exchange under way.
pub(crate) struct Carried(Rc<Load>);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get().saturating_sub(1));
    }
}

impl Load {
    /// Counts one more exchange, or refuses it. `late` is by how much the worker runs behind.
    pub(crate) fn take_on(
        self: &Rc<Self>,
        overload: &Overload,
        shared: &Shared,
        late: Duration,
    ) -> Result<Carried, Denial> {
        let reason = if shared.pressure.is_memory_short() {
            Some("memory")
        } else if self.under_way.get() >= overload.requests.div_ceil(shared.workers) {
            Some("requests")
        } else if late > overload.delay {
            Some("delay")
        } else {
            None
        };
        if self.refusing.get() != reason {
            // Each change is told once, not each refusal.
            tell(&shared.telemetry, self.refusing.replace(reason), reason);
        }
        match reason {
            None => {
                self.under_way.set(self.under_way.get() + 1);
                Ok(Carried(Rc::clone(self)))
            }
            Some(reason) => {
                let public = "the gateway has too much to do";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let denial = Denial::new(status, "gateway.overloaded", public);
                Err(denial.log(reason).retry_after(RETRY_AFTER))
            }
        }
    }
}

fn tell(telemetry: &Telemetry, before: Option<&'static str>, now: Option<&'static str>) {
    if let Some(reason) = before {
        telemetry.overload(reason, false);
    }
    let Some(reason) = now else {
        let message = "new requests are taken on again";
        return telemetry.log(Level::Info, "overload.ended", message, &[]);
    };
    telemetry.overload(reason, true);
    let message = "new requests are refused: there is too much to do";
    telemetry.log(Level::Warn, "overload.began", message, &[("reason", reason)]);
}

/// Looks at the process's memory, for ever. Runs on the caller's runtime, away from the workers.
pub async fn watch_memory(plane: Arc<Plane>) {
    let room = machine_memory().map(|all| all / SHARE.1 * SHARE.0);
    loop {
        let limit = plane.snapshot().overload.memory.or(room);
        if let (Some(limit), Some(used)) = (limit, resident()) {
            plane.pressure().memory.store(used > limit, Ordering::Relaxed);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The process's resident memory, in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmRSS:")
}

/// The memory that the process may use: that of its control group, or the machine's.
fn machine_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes(&text, "MemTotal:"));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

/// The number of KiB in the line of `text` that begins with `name`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_on_memory_are_understood() {
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kibibytes("VmRSS:\tlots\n", "VmRSS:"), None);
        assert!(resident().is_some_and(|used| used > 0));
        assert!(machine_memory() > resident());
    }
}
