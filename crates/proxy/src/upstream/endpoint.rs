//! What all workers know of one endpoint.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use demilune_core::head::Scheme;
use demilune_core::snapshot::{Endpoint, UpstreamHttp2};

use super::affinity::hash;
use super::ejection::Conduct;
use super::latency::Latency;
use super::room::Room;
use super::{Name, Names, Place};
use crate::tls::ClientTls;

/// One endpoint with what all workers know of it.
pub(crate) struct EndpointState {
    /// Distinguishes it from all others of this process, past ones included: connections are kept
    /// by it, so nothing that makes a difference to a connection may differ under one id.
    pub(crate) id: u64,
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Option<ClientTls>,
    /// Whether HTTP/2 may be spoken to it.
    pub(crate) http2: bool,
    pub(crate) place: Place,
    pub(super) conduct: Conduct,
    pub(super) latency: Latency,
    /// Tells it from others where a key is hashed; the same in every process.
    pub(super) hash: u64,
    healthy: AtomicBool,
    under_way: AtomicUsize,
    room: Arc<Room>,
}

impl EndpointState {
    pub(super) fn new(
        endpoint: &Endpoint,
        (tls, http2): (Option<&ClientTls>, Option<UpstreamHttp2>),
        names: &Names,
        room: &Arc<Room>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let place = match endpoint.host.parse::<IpAddr>() {
            Ok(address) => Place::Address(address),
            Err(_) => Place::Name(names.get(&endpoint.host).map_or_else(
                || Arc::new(Name::new(Arc::clone(&endpoint.host))),
                |(name, _)| Arc::clone(name),
            )),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            endpoint: endpoint.clone(),
            tls: tls.filter(|_| endpoint.scheme == Scheme::Https).cloned(),
            http2: match http2 {
                None => false,
                Some(UpstreamHttp2::Alpn) => endpoint.scheme == Scheme::Https,
                Some(UpstreamHttp2::PriorKnowledge) => endpoint.scheme == Scheme::Http,
            },
            place,
            conduct: Conduct::default(),
            latency: Latency::default(),
            hash: hash(endpoint.url.as_bytes()),
            healthy: AtomicBool::new(true),
            under_way: AtomicUsize::new(0),
            room: Arc::clone(room),
        }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// How many requests to it are under way.
    pub(crate) fn requests(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Counts one request to this endpoint until the guard is dropped; `None` where there are
    /// `most` already.
    pub(crate) fn begin(self: &Arc<Self>, most: usize) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let counted = UnderWay(Arc::clone(self));
        (before < most).then_some(counted)
    }
}

/// One request under way.
pub(crate) struct UnderWay(Arc<EndpointState>);

impl UnderWay {
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.room.free();
    }
}
