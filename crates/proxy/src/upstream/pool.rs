//! A worker's connections to endpoints: idle ones, and those that requests share. No locks: they
//! never leave their worker.

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use demilune_core::snapshot::KeepAlive;
use hashbrown::{HashMap, HashSet};
use tokio::sync::watch;

use super::connect::ConnectFailure;
use super::connection::{Carried, Connected};
use super::{EndpointState, UnderWay, Upload};
use crate::generation::Generation;
use crate::http::{Begun, Http2Connection, UpstreamConnection, UpstreamStream};
use crate::timer::Timers;

/// How long a connection rests after an answer to HEAD.
const REST: Duration = Duration::from_millis(50);

/// What has come of opening a connection.
type Told = Option<Result<(), ConnectFailure>>;

/// A connection to an endpoint over HTTP/1.1: it serves one request at a time.
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

/// A connection to an endpoint over HTTP/2, idle or not.
#[derive(Clone)]
pub(crate) struct SharedConnection {
    pub(crate) wire: Http2Connection,
    ip: IpAddr,
    began: Duration,
}

impl SharedConnection {
    pub(crate) fn new(wire: Http2Connection, ip: IpAddr, now: Duration) -> Self {
        Self { wire, ip, began: now }
    }

    /// Whether its time has passed: those under way finish, and no more begin.
    fn is_over_age(&self, keep: &KeepAlive, now: Duration) -> bool {
        let since = |then: Duration| now.saturating_sub(then);
        self.wire.idle_since().is_some_and(|then| since(then) >= keep.idle)
            || keep.age.is_some_and(|age| since(self.began) >= age)
            || keep.requests.is_some_and(|most| self.wire.served() >= most)
    }

    /// Whether requests may begin on it.
    fn is_fit(&self, keep: &KeepAlive, now: Duration) -> bool {
        self.wire.is_usable() && !self.is_over_age(keep, now)
    }
}

/// Connections by endpoint.
#[derive(Clone)]
pub(crate) struct Pool(Rc<Inner>);

struct Inner {
    timers: Timers,
    idle: RefCell<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: HashMap<u64, Kept>,
    /// Where a connection is being opened that requests will share.
    opening: HashMap<u64, watch::Receiver<Told>>,
    /// Endpoints that were offered HTTP/2 and chose HTTP/1.1.
    declining: HashSet<u64>,
    /// The endpoints in force; before the first reload, all of them are.
    known: Option<HashSet<u64>>,
}

impl Idle {
    /// What is kept for an endpoint; `None` where it is in no upstream any more.
    fn kept(&mut self, endpoint: &Arc<EndpointState>, keep: KeepAlive) -> Option<&mut Kept> {
        if self.known.as_ref().is_some_and(|known| !known.contains(&endpoint.id)) {
            return None;
        }
        let new = || {
            let endpoint = Arc::clone(endpoint);
            Kept { endpoint, keep, idle: Vec::new(), shared: Vec::new() }
        };
        let kept = self.connections.entry(endpoint.id).or_insert_with(new);
        kept.keep = keep;
        Some(kept)
    }
}

/// The connections to one endpoint.
struct Kept {
    endpoint: Arc<EndpointState>,
    keep: KeepAlive,
    #[expect(clippy::vec_box, reason = "connections are handed on in their boxes")]
    idle: Vec<Box<PooledConnection>>,
    shared: Vec<SharedConnection>,
}

impl Kept {
    /// Drops those whose time has passed, those that the upstream has closed or on which it spoke
    /// unasked, and those to an address that the endpoint's name does not stand for any more.
    fn prune(&mut self, now: Duration) {
        let Self { endpoint, keep, idle, shared } = self;
        idle.retain_mut(|kept| {
            endpoint.place.has(kept.ip) && !kept.is_over_age(keep, now) && kept.is_silent()
        });
        shared.retain(|shared| endpoint.place.has(shared.ip) && shared.is_fit(keep, now));
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

    /// A stream on a connection that others may share.
    pub(crate) fn join(&self, endpoint: u64) -> Option<UpstreamStream<Upload>> {
        let all = self.0.idle.borrow();
        let Kept { keep, shared, .. } = all.connections.get(&endpoint)?;
        let now = self.0.timers.now();
        let mut fit = shared.iter().filter(|shared| !shared.is_over_age(keep, now));
        fit.find_map(|shared| shared.wire.stream())
    }

    /// Whose turn it is to open a connection that requests may share.
    pub(crate) fn opening(&self, endpoint: u64) -> Opening {
        let mut all = self.0.idle.borrow_mut();
        if all.declining.contains(&endpoint) {
            return Opening::Alone;
        }
        if let Some(other) = all.opening.get(&endpoint) {
            return Opening::Wait(other.clone());
        }
        let (tell, told) = watch::channel(None);
        all.opening.insert(endpoint, told);
        Opening::Turn(Turn { tell, pool: self.clone(), endpoint })
    }

    /// Keeps a connection that requests may share, and notes what the endpoint chose.
    pub(crate) fn learn(
        &self,
        endpoint: &Arc<EndpointState>,
        keep: KeepAlive,
        connected: &Connected,
    ) {
        let mut all = self.0.idle.borrow_mut();
        let Some(kept) = all.kept(endpoint, keep) else { return };
        match connected {
            Connected::Http1(_) => {
                all.declining.insert(endpoint.id);
            }
            Connected::Http2(connection) => {
                kept.shared.push(connection.clone());
                all.declining.remove(&endpoint.id);
            }
        }
    }

    /// Forgets the connections to endpoints that are in no upstream any more, and takes none back.
    pub(crate) fn keep_only(&self, generation: &Generation) {
        let states = generation.upstreams.values().flat_map(|upstream| &upstream.endpoints);
        let known: HashSet<u64> = states.map(|endpoint| endpoint.id).collect();
        let mut all = self.0.idle.borrow_mut();
        all.connections.retain(|id, _| known.contains(id));
        all.declining.retain(|id| known.contains(id));
        all.known = Some(known);
    }

    /// Drops the connections that are not fit for a request any more.
    pub(crate) fn prune(&self) {
        let now = self.0.timers.now();
        self.0.idle.borrow_mut().connections.values_mut().for_each(|kept| kept.prune(now));
    }

    /// Drops all idle connections to an endpoint: one of them turned out to be dead. What is under
    /// way on shared ones goes on.
    pub(crate) fn forget(&self, endpoint: u64) {
        self.0.idle.borrow_mut().connections.remove(&endpoint);
    }

    /// Keeps no more idle connections than `keep` says of those that requests share.
    fn settle(&self, endpoint: u64, keep: KeepAlive) {
        let now = self.0.timers.now();
        let mut all = self.0.idle.borrow_mut();
        let Some(kept) = all.connections.get_mut(&endpoint) else { return };
        kept.keep = keep;
        let mut idle = 0;
        kept.shared.retain(|shared| {
            idle += usize::from(!shared.wire.is_busy());
            shared.is_fit(&keep, now) && (shared.wire.is_busy() || idle <= keep.connections)
        });
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
        let Some(kept) = all.kept(endpoint, keep) else { return };
        if kept.idle.len() >= keep.connections {
            kept.prune(now);
        }
        if kept.idle.len() < keep.connections {
            kept.idle.push(connection);
        }
    }
}

/// Whose turn it is to open a connection.
pub(crate) enum Opening {
    /// Everybody's, since the endpoint shares none.
    Alone,
    /// Whoever asked.
    Turn(Turn),
    /// Somebody else, who will tell.
    Wait(watch::Receiver<Told>),
}

/// The turn to open a connection. Where it is dropped, it is somebody else's.
pub(crate) struct Turn {
    tell: watch::Sender<Told>,
    pool: Pool,
    endpoint: u64,
}

impl Turn {
    /// Tells those who wait what came of it.
    pub(crate) fn tell(self, result: Result<(), ConnectFailure>) {
        self.tell.send_replace(Some(result));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.0.idle.borrow_mut().opening.remove(&self.endpoint);
    }
}

/// A connection in use. It goes back to the pool only when its answer was read to the end;
/// otherwise it is closed, since what it would bring next is nobody's.
pub(crate) struct Lease {
    pub(crate) connection: Carried,
    pub(crate) pool: Pool,
    pub(crate) keep: KeepAlive,
    pub(crate) under_way: UnderWay,
}

impl Lease {
    /// The connection, for the protocol it was switched to; still counted.
    pub(crate) fn into_begun(self) -> Option<(Begun, UnderWay)> {
        Some((self.connection.into_begun()?, self.under_way))
    }

    /// The answer was read to its end.
    pub(crate) fn release(self) {
        let endpoint = self.under_way.endpoint();
        match self.connection {
            Carried::Http1(connection) => self.pool.put(endpoint, connection, self.keep),
            Carried::Http2(stream) => {
                drop(stream);
                self.pool.settle(endpoint.id, self.keep);
            }
        }
    }
}
