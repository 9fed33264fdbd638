//! A worker's idle connections to endpoints. No locks: they never leave their worker.

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use demilune_core::snapshot::KeepAlive;
use hashbrown::{HashMap, HashSet};

use super::{EndpointState, UnderWay, Upload};
use crate::generation::Generation;
use crate::http::{Begun, UpstreamConnection};
use crate::timer::Timers;

/// How long a connection rests after an answer to HEAD.
const REST: Duration = Duration::from_millis(50);

/// A connection to an endpoint.
pub(crate) struct PooledConnection {
    pub(crate) wire: UpstreamConnection<Upload>,
    /// Where it goes; the endpoint's name may stand for others later.
    ip: IpAddr,
    began: Duration,
    idle_since: Duration,
    /// Not used again before.
    rests_until: Duration,
    /// How many requests it has served.
    served: u32,
}

impl PooledConnection {
    pub(crate) fn new(wire: UpstreamConnection<Upload>, ip: IpAddr, now: Duration) -> Self {
        Self { wire, ip, began: now, idle_since: now, rests_until: now, served: 0 }
    }

    /// Whether its time has passed.
    fn is_over_age(&self, keep: &KeepAlive, now: Duration) -> bool {
        let since = |then: Duration| now.saturating_sub(then);
        since(self.idle_since) >= keep.idle
            || keep.age.is_some_and(|age| since(self.began) >= age)
            || keep.requests.is_some_and(|most| self.served >= most)
    }
}

impl Deref for PooledConnection {
    type Target = UpstreamConnection<Upload>;

    fn deref(&self) -> &UpstreamConnection<Upload> {
        &self.wire
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut UpstreamConnection<Upload> {
        &mut self.wire
    }
}

/// Idle connections by endpoint.
#[derive(Clone)]
pub(crate) struct Pool(Rc<Inner>);

struct Inner {
    timers: Timers,
    idle: RefCell<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: HashMap<u64, Kept>,
    /// The endpoints in force; before the first reload, all of them are.
    known: Option<HashSet<u64>>,
}

/// The idle connections to one endpoint.
struct Kept {
    endpoint: Arc<EndpointState>,
    keep: KeepAlive,
    #[expect(clippy::vec_box, reason = "connections are handed on in their boxes")]
    idle: Vec<Box<PooledConnection>>,
}

impl Kept {
    /// Drops those whose time has passed, those that the upstream has closed or on which it spoke
    /// unasked, and those to an address that the endpoint's name does not stand for any more.
    fn prune(&mut self, now: Duration) {
        let Self { endpoint, keep, idle } = self;
        idle.retain_mut(|kept| {
            endpoint.place.has(kept.ip) && !kept.is_over_age(keep, now) && kept.is_silent()
        });
    }
}

impl Pool {
    pub(crate) fn new(timers: Timers) -> Self {
        Self(Rc::new(Inner { timers, idle: RefCell::default() }))
    }

    /// An idle connection that is ready for a request; the one used last, since the upstream is
    /// the least likely to have closed it. What came unasked on others closes them.
    pub(crate) fn take(&self, endpoint: u64) -> Option<Box<PooledConnection>> {
        let mut all = self.0.idle.borrow_mut();
        let kept = all.connections.get_mut(&endpoint)?;
        let now = self.0.timers.now();
        while let Some(place) = kept.idle.iter().rposition(|kept| kept.rests_until <= now) {
            let mut connection = kept.idle.swap_remove(place);
            if !connection.is_over_age(&kept.keep, now) && connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// Forgets the connections to endpoints that are in no upstream any more, and takes none back.
    pub(crate) fn keep_only(&self, generation: &Generation) {
        let states = generation.upstreams.values().flat_map(|upstream| &upstream.endpoints);
        let known: HashSet<u64> = states.map(|endpoint| endpoint.id).collect();
        let mut all = self.0.idle.borrow_mut();
        all.connections.retain(|id, _| known.contains(id));
        all.known = Some(known);
    }

    /// Drops the idle connections that are not fit for a request any more.
    pub(crate) fn prune(&self) {
        let now = self.0.timers.now();
        self.0.idle.borrow_mut().connections.values_mut().for_each(|kept| kept.prune(now));
    }

    /// Drops all idle connections to an endpoint: one of them turned out to be dead.
    pub(crate) fn forget(&self, endpoint: u64) {
        self.0.idle.borrow_mut().connections.remove(&endpoint);
    }

    fn put(
        &self,
        endpoint: &Arc<EndpointState>,
        mut connection: Box<PooledConnection>,
        keep: KeepAlive,
    ) {
        let now = self.0.timers.now();
        connection.served = connection.served.saturating_add(1);
        connection.idle_since = now;
        // Some servers answer HEAD with a body all the same, a moment later: it must not be there
        // for the next request.
        let rest = if connection.has_answered_head() { REST } else { Duration::ZERO };
        connection.rests_until = now.saturating_add(rest);
        if !connection.is_reusable() || connection.is_over_age(&keep, now) {
            return;
        }
        let mut all = self.0.idle.borrow_mut();
        if all.known.as_ref().is_some_and(|known| !known.contains(&endpoint.id)) {
            return;
        }
        let new = || Kept { endpoint: Arc::clone(endpoint), keep, idle: Vec::new() };
        let kept = all.connections.entry(endpoint.id).or_insert_with(new);
        kept.keep = keep;
        if kept.idle.len() >= keep.connections {
            kept.prune(now);
        }
        if kept.idle.len() < keep.connections {
            kept.idle.push(connection);
        }
    }
}

/// A connection in use. It goes back to the pool only when its answer was read to the end;
/// otherwise it is closed, since what it would bring next is nobody's.
pub(crate) struct Lease {
    pub(crate) connection: Box<PooledConnection>,
    pub(crate) pool: Pool,
    pub(crate) keep: KeepAlive,
    pub(crate) under_way: UnderWay,
}

impl Lease {
    /// The connection, for the protocol it was switched to; still counted.
    pub(crate) fn into_begun(self) -> (Begun, UnderWay) {
        (self.connection.wire.into_begun(), self.under_way)
    }

    /// The answer was read to its end.
    pub(crate) fn release(self) {
        self.pool.put(self.under_way.endpoint(), self.connection, self.keep);
    }
}
