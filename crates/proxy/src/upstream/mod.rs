//! Where requests go: endpoints, which one is chosen, connections, attempts, health.

mod balance;
mod connect;
mod connection;
mod health;
mod open;
mod pool;
mod send;

pub use health::check_health;
pub(crate) use pool::{Lease, Pool};
pub(crate) use send::{Attempts, Errand, Sent, Upload, send};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use demilune_core::head::Scheme;
use demilune_core::snapshot::{Endpoint, Upstream, UpstreamHttp2};

use crate::generation::Problem;
use crate::tls::ClientTls;

/// An upstream with what all workers know of it.
pub(crate) struct UpstreamState {
    pub(crate) settings: Arc<Upstream>,
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    turn: AtomicUsize,
}

/// One endpoint with what all workers know of it.
pub(crate) struct EndpointState {
    /// Distinguishes it from all others of this process, past ones included.
    pub(crate) id: u64,
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Option<ClientTls>,
    /// Whether HTTP/2 may be spoken to it.
    pub(crate) http2: bool,
    healthy: AtomicBool,
    under_way: AtomicUsize,
}

impl UpstreamState {
    pub(crate) fn new(settings: Arc<Upstream>) -> Result<Self, Problem> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let secure = settings.endpoints.iter().any(|e| e.scheme == Scheme::Https);
        let alpn = settings.http2 == Some(UpstreamHttp2::Alpn);
        let tls = if secure { Some(ClientTls::new(&settings.tls, alpn)?) } else { None };
        let endpoints = settings
            .endpoints
            .iter()
            .map(|endpoint| {
                Arc::new(EndpointState {
                    id: NEXT.fetch_add(1, Ordering::Relaxed),
                    endpoint: endpoint.clone(),
                    tls: tls.clone().filter(|_| endpoint.scheme == Scheme::Https),
                    http2: match settings.http2 {
                        None => false,
                        Some(UpstreamHttp2::Alpn) => endpoint.scheme == Scheme::Https,
                        Some(UpstreamHttp2::PriorKnowledge) => endpoint.scheme == Scheme::Http,
                    },
                    healthy: AtomicBool::new(true),
                    under_way: AtomicUsize::new(0),
                })
            })
            .collect();
        Ok(Self { settings, endpoints, turn: AtomicUsize::new(0) })
    }
}

impl UpstreamState {
    /// Whether it is for the number of requests under way that no endpoint takes one more.
    pub(crate) fn is_full(&self) -> bool {
        let mut healthy = self.endpoints.iter().filter(|endpoint| endpoint.is_healthy()).peekable();
        healthy.peek().is_some() && healthy.all(|e| e.requests() >= self.settings.requests)
    }
}

impl EndpointState {
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// How many requests to it are under way.
    pub(crate) fn requests(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Counts one request to this endpoint until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

/// One request under way.
pub(crate) struct UnderWay(Arc<EndpointState>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests_support {
    use demilune_core::snapshot::{Balance, HostHeader, UpstreamTls};
    use http::HeaderValue;
    use std::time::Duration;

    use super::*;

    pub(super) fn upstream(count: u16, balance: Balance) -> UpstreamState {
        let endpoint = |number| Endpoint {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port: number,
            url: format!("http://127.0.0.1:{number}").into(),
            authority: HeaderValue::from_static("127.0.0.1"),
        };
        UpstreamState::new(Arc::new(Upstream {
            name: "u".into(),
            endpoints: (1..=count).map(endpoint).collect(),
            tls: UpstreamTls::default(),
            balance,
            http2: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            retries: 0,
            requests: 2,
            idle_connections: 1,
            health: None,
            host: HostHeader::Endpoint,
        }))
        .map_err(|problem| problem.reason)
        .unwrap()
    }
}
