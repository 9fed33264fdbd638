//! A worker's idle connections to endpoints. No locks: they never leave their worker.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use super::{UnderWay, Upload};
use crate::generation::Generation;
use crate::http::{Begun, UpstreamConnection};

pub(crate) type PooledConnection = UpstreamConnection<Upload>;

/// Idle connections by endpoint.
#[derive(Clone, Default)]
pub(crate) struct Pool(Rc<RefCell<Idle>>);

#[derive(Default)]
struct Idle {
    #[expect(clippy::vec_box, reason = "each request moves one out and in again")]
    connections: HashMap<u64, Vec<Box<PooledConnection>>>,
    /// The endpoints in force; before the first reload, all of them are.
    known: Option<HashSet<u64>>,
}

impl Pool {
    /// An idle connection that is ready for a request; the one used last, since the upstream is
    /// the least likely to have closed it. What came unasked on others closes them.
    pub(crate) fn take(&self, endpoint: u64) -> Option<Box<PooledConnection>> {
        let mut all = self.0.borrow_mut();
        let idle = all.connections.get_mut(&endpoint)?;
        while let Some(mut connection) = idle.pop() {
            if connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// Forgets the connections to endpoints that are in no upstream any more, and takes none back.
    pub(crate) fn keep_only(&self, generation: &Generation) {
        let states = generation.upstreams.values().flat_map(|upstream| &upstream.endpoints);
        let known: HashSet<u64> = states.map(|endpoint| endpoint.id).collect();
        let mut all = self.0.borrow_mut();
        all.connections.retain(|id, _| known.contains(id));
        all.known = Some(known);
    }

    /// Drops the idle connections that the upstream has closed, or on which it spoke unasked.
    pub(crate) fn prune(&self) {
        for idle in self.0.borrow_mut().connections.values_mut() {
            idle.retain_mut(|connection| connection.is_silent());
        }
    }

    /// Drops all idle connections to an endpoint: one of them turned out to be dead.
    pub(crate) fn forget(&self, endpoint: u64) {
        self.0.borrow_mut().connections.remove(&endpoint);
    }

    fn put(&self, endpoint: u64, connection: Box<PooledConnection>, limit: usize) {
        if !connection.is_reusable() {
            return;
        }
        let mut all = self.0.borrow_mut();
        if all.known.as_ref().is_some_and(|known| !known.contains(&endpoint)) {
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

/// A connection in use. It goes back to the pool only when its answer was read to the end;
/// otherwise it is closed, since what it would bring next is nobody's.
pub(crate) struct Lease {
    pub(crate) connection: Box<PooledConnection>,
    pub(crate) pool: Pool,
    pub(crate) endpoint: u64,
    pub(crate) limit: usize,
    pub(crate) under_way: UnderWay,
}

impl Lease {
    /// The connection, for the protocol it was switched to; still counted.
    pub(crate) fn into_begun(self) -> (Begun, UnderWay) {
        (self.connection.into_begun(), self.under_way)
    }

    /// The answer was read to its end.
    pub(crate) fn release(self) {
        self.pool.put(self.endpoint, self.connection, self.limit);
    }
}
