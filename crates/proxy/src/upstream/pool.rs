//! A worker's connections to endpoints: idle ones, and those that requests share. No locks: they
//! never leave their worker.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use tokio::sync::watch;

use super::connect::ConnectFailure;
use super::connection::{Connected, PooledConnection};
use super::{UnderWay, Upload};
use crate::generation::Generation;
use crate::http::{Begun, Http2Connection, UpstreamConnection, UpstreamStream};

/// Over HTTP/1.1: it serves one request at a time.
type Idle1 = UpstreamConnection<Upload>;

/// What has come of opening a connection.
type Told = Option<Result<(), ConnectFailure>>;

/// Idle connections by endpoint.
#[derive(Clone, Default)]
pub(crate) struct Pool(Rc<RefCell<Idle>>);

#[derive(Default)]
struct Idle {
    #[expect(clippy::vec_box, reason = "each request moves one out and in again")]
    connections: HashMap<u64, Vec<Box<Idle1>>>,
    /// Over HTTP/2, idle or not.
    shared: HashMap<u64, Vec<Http2Connection>>,
    /// Where a connection is being opened that requests will share.
    opening: HashMap<u64, watch::Receiver<Told>>,
    /// Endpoints that were offered HTTP/2 and chose HTTP/1.1.
    declining: HashSet<u64>,
    /// The endpoints in force; before the first reload, all of them are.
    known: Option<HashSet<u64>>,
}

impl Pool {
    /// An idle connection that is ready for a request; the one used last, since the upstream is
    /// the least likely to have closed it. What came unasked on others closes them.
    pub(crate) fn take(&self, endpoint: u64) -> Option<Box<Idle1>> {
        let mut all = self.0.borrow_mut();
        let idle = all.connections.get_mut(&endpoint)?;
        while let Some(mut connection) = idle.pop() {
            if connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// A stream on a connection that others may share.
    pub(crate) fn join(&self, endpoint: u64) -> Option<UpstreamStream<Upload>> {
        self.0.borrow().shared.get(&endpoint)?.iter().find_map(Http2Connection::stream)
    }

    /// Whose turn it is to open a connection that requests may share.
    pub(crate) fn opening(&self, endpoint: u64) -> Opening {
        let mut all = self.0.borrow_mut();
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
    pub(crate) fn learn(&self, endpoint: u64, connected: &Connected) {
        let mut all = self.0.borrow_mut();
        if all.is_forgotten(endpoint) {
            return;
        }
        match connected {
            Connected::Http1(_) => {
                all.declining.insert(endpoint);
            }
            Connected::Http2(connection) => {
                all.declining.remove(&endpoint);
                all.shared.entry(endpoint).or_default().push(connection.clone());
            }
        }
    }

    /// Forgets the connections to endpoints that are in no upstream any more, and takes none back.
    pub(crate) fn keep_only(&self, generation: &Generation) {
        let states = generation.upstreams.values().flat_map(|upstream| &upstream.endpoints);
        let known: HashSet<u64> = states.map(|endpoint| endpoint.id).collect();
        let mut all = self.0.borrow_mut();
        all.connections.retain(|id, _| known.contains(id));
        all.shared.retain(|id, _| known.contains(id));
        all.declining.retain(|id| known.contains(id));
        all.known = Some(known);
    }

    /// Drops the idle connections that the upstream has closed, or on which it spoke unasked.
    pub(crate) fn prune(&self) {
        let mut all = self.0.borrow_mut();
        for idle in all.connections.values_mut() {
            idle.retain_mut(|connection| connection.is_silent());
        }
        for shared in all.shared.values_mut() {
            shared.retain(Http2Connection::look);
        }
    }

    /// Drops all idle connections to an endpoint: one of them turned out to be dead. What is under
    /// way on shared ones goes on.
    pub(crate) fn forget(&self, endpoint: u64) {
        let mut all = self.0.borrow_mut();
        all.connections.remove(&endpoint);
        all.shared.remove(&endpoint);
    }

    /// Keeps no more than so many idle connections of those that requests share.
    fn settle(&self, endpoint: u64, limit: usize) {
        let mut all = self.0.borrow_mut();
        let Some(shared) = all.shared.get_mut(&endpoint) else { return };
        let mut idle = 0;
        shared.retain(|connection| {
            idle += usize::from(!connection.is_busy());
            connection.is_usable() && (connection.is_busy() || idle <= limit)
        });
    }

    fn put(&self, endpoint: u64, connection: Box<Idle1>, limit: usize) {
        if !connection.is_reusable() {
            return;
        }
        let mut all = self.0.borrow_mut();
        if all.is_forgotten(endpoint) {
            return;
        }
        let idle = all.connections.entry(endpoint).or_default();
        if idle.len() >= limit {
            idle.retain_mut(|connection| connection.is_silent());
        }
        if idle.len() < limit {
            idle.push(connection);
        }
    }
}

impl Idle {
    /// Whether the endpoint is in no upstream any more.
    fn is_forgotten(&self, endpoint: u64) -> bool {
        self.known.as_ref().is_some_and(|known| !known.contains(&endpoint))
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
        self.pool.0.borrow_mut().opening.remove(&self.endpoint);
    }
}

/// A connection in use. It goes back to the pool only when its answer was read to the end;
/// otherwise it is closed, since what it would bring next is nobody's.
pub(crate) struct Lease {
    pub(crate) connection: PooledConnection,
    pub(crate) pool: Pool,
    pub(crate) endpoint: u64,
    pub(crate) limit: usize,
    pub(crate) under_way: UnderWay,
}

impl Lease {
    /// The connection, for the protocol it was switched to; still counted.
    pub(crate) fn into_begun(self) -> Option<(Begun, UnderWay)> {
        Some((self.connection.into_begun()?, self.under_way))
    }

    /// The answer was read to its end.
    pub(crate) fn release(self) {
        match self.connection {
            PooledConnection::Http1(connection) => {
                self.pool.put(self.endpoint, connection, self.limit);
            }
            PooledConnection::Http2(stream) => {
                drop(stream);
                self.pool.settle(self.endpoint, self.limit);
            }
        }
    }
}
