//! The limit of open files: raised as far as the system allows, and told of where it is low.

use demilune_core::Snapshot;
use demilune_telemetry::{Level, Telemetry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open besides those of clients and upstreams.
const OTHERS: u64 = 256;

/// Raises the limit to the highest that the process may have, and gives it; `None` for no limit.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, highest) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Warns where clients could use up all files: a connection each, and one to an upstream.
pub(crate) fn warn_of(limit: Option<u64>, snapshot: &Snapshot, telemetry: &Telemetry) {
    let connections = snapshot.listeners.iter().map(|listener| listener.limits.connections);
    let connections = connections.fold(0_usize, usize::saturating_add);
    let needed = u64::try_from(connections).unwrap_or(u64::MAX);
    let needed = needed.saturating_mul(2).saturating_add(OTHERS);
    let Some(limit) = limit.filter(|limit| *limit < needed) else { return };
    let (limit, needed) = (limit.to_string(), needed.to_string());
    let message = "the limit of open files is lower than the listeners' limits of connections need";
    let fields = [("limit", &*limit), ("needed", &*needed)];
    telemetry.log(Level::Warn, "gateway.files_low", message, &fields);
}
