//! Where requests go: endpoints, which one is chosen, connections, attempts, health.
//!
//! What all workers know of an endpoint lives as long as the document says the same of it: a reload
//! that changes something else of its upstream does not forget it.

mod affinity;
mod balance;
mod budget;
mod circuit;
mod connect;
mod connection;
mod ejection;
mod endpoint;
mod health;
mod latency;
mod names;
mod open;
mod outcome;
mod pool;
mod room;
mod send;
mod watch;

pub(crate) use affinity::affinity;
use budget::Budget;
use circuit::Circuit;
use ejection::Ejecting;
pub(crate) use endpoint::{EndpointState, UnderWay};
pub(crate) use names::{Name, Place};
pub(crate) use pool::{Lease, Pool};
use room::Room;
pub(crate) use send::{Attempts, Errand, Sent, Upload, send};
pub use watch::watch_upstreams;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use demilune_core::head::Scheme;
use demilune_core::snapshot::{Endpoint, Upstream, UpstreamHttp2};
use hashbrown::HashMap;

use crate::generation::Problem;
use crate::tls::ClientTls;

/// An upstream with what all workers know of it.
pub(crate) struct UpstreamState {
    pub(crate) settings: Arc<Upstream>,
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    tls: Option<ClientTls>,
    /// In which turn endpoints come, where their weights differ.
    schedule: Vec<u16>,
    turn: AtomicUsize,
    ejecting: Ejecting,
    circuit: Option<Arc<Circuit>>,
    budget: Arc<Budget>,
    room: Arc<Room>,
}

/// The names of all endpoints, each with the time between two look-ups.
pub(crate) type Names = HashMap<Arc<str>, (Arc<Name>, Duration)>;

impl UpstreamState {
    /// Makes `settings` ready. What the document says the same of as in `previous` keeps its state.
    /// `names` are those of the upstreams made ready before, `known` those in force.
    pub(crate) fn prepare(
        settings: &Arc<Upstream>,
        previous: Option<&Arc<Self>>,
        names: &mut Names,
        known: Option<&Names>,
    ) -> Result<Arc<Self>, Problem> {
        for endpoint in &settings.endpoints {
            if endpoint.host.parse::<std::net::IpAddr>().is_err() {
                let every = settings.look_up_every;
                let (_, interval) =
                    names.entry(Arc::clone(&endpoint.host)).or_insert_with_key(|host| {
                        let kept = known.and_then(|known| known.get(host));
                        let new = || Arc::new(Name::new(Arc::clone(host)));
                        (kept.map_or_else(new, |(name, _)| Arc::clone(name)), every)
                    });
                *interval = every.min(*interval);
            }
        }
        if let Some(state) = previous.filter(|previous| previous.settings == *settings) {
            return Ok(Arc::clone(state));
        }
        let secure = settings.endpoints.iter().any(|e| e.scheme == Scheme::Https);
        let same_tls = previous.filter(|previous| {
            previous.settings.tls == settings.tls && previous.settings.http2 == settings.http2
        });
        let alpn = settings.http2 == Some(UpstreamHttp2::Alpn);
        let tls = match same_tls.and_then(|previous| previous.tls.clone()) {
            Some(tls) if secure => Some(tls),
            _ if secure => Some(ClientTls::new(&settings.tls, alpn)?),
            _ => None,
        };
        let room = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.room));
        let kept = same_tls.filter(|previous| previous.settings.health == settings.health);
        let protocols = (tls.as_ref(), settings.http2);
        let state = |endpoint: &Endpoint| {
            let same = |other: &&Arc<EndpointState>| other.endpoint == *endpoint;
            let kept = kept.and_then(|previous| previous.endpoints.iter().find(same));
            kept.map_or_else(
                || Arc::new(EndpointState::new(endpoint, protocols, names, &room)),
                Arc::clone,
            )
        };
        let endpoints = settings.endpoints.iter().map(state).collect();
        let circuit = settings.circuit_breaker.as_ref().map(|breaker| {
            let kept = previous.and_then(|previous| previous.circuit.as_ref());
            let kept = kept.filter(|circuit| circuit.settings == *breaker);
            kept.map_or_else(|| Arc::new(Circuit::new(breaker.clone())), Arc::clone)
        });
        Ok(Arc::new(Self {
            settings: Arc::clone(settings),
            endpoints,
            tls,
            schedule: balance::schedule(&settings.weights),
            turn: AtomicUsize::new(0),
            ejecting: Ejecting::default(),
            circuit,
            room,
            budget: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.budget)),
        }))
    }
}

#[cfg(test)]
mod tests_support {
    use demilune_core::snapshot::{Balance, HostHeader, KeepAlive, Retry, UpstreamTls};
    use http::HeaderValue;

    use super::*;

    pub(super) fn upstream(count: u16, balance: Balance) -> Arc<UpstreamState> {
        prepared(settings(count, balance), None)
    }

    /// With the state of `previous`, where that is kept.
    pub(super) fn prepared(
        settings: Upstream,
        previous: Option<&Arc<UpstreamState>>,
    ) -> Arc<UpstreamState> {
        UpstreamState::prepare(&Arc::new(settings), previous, &mut Names::new(), None)
            .map_err(|problem| problem.reason)
            .unwrap()
    }

    pub(super) fn settings(count: u16, balance: Balance) -> Upstream {
        let endpoint = |number| Endpoint {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port: number,
            url: format!("http://127.0.0.1:{number}").into(),
            authority: HeaderValue::from_static("127.0.0.1"),
        };
        Upstream {
            name: "u".into(),
            endpoints: (1..=count).map(endpoint).collect(),
            weights: vec![1; usize::from(count)],
            tls: UpstreamTls::default(),
            balance,
            http2: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            retry: Retry {
                attempts: 0,
                connect: true,
                reset: false,
                timeout: false,
                statuses: Vec::new(),
                budget: 20,
            },
            requests: 2,
            pending: None,
            keep_alive: KeepAlive {
                connections: 1,
                idle: Duration::from_secs(60),
                age: None,
                requests: None,
            },
            health: None,
            ejection: None,
            circuit_breaker: None,
            look_up_every: Duration::from_secs(30),
            host: HostHeader::Endpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use demilune_core::snapshot::{Balance, Health};

    use super::tests_support::{prepared, settings};
    use super::*;

    #[test]
    fn a_reload_keeps_what_is_known_of_endpoints_that_the_document_says_the_same_of() {
        let before = prepared(settings(2, Balance::RoundRobin), None);
        before.endpoints[0].set_healthy(false);
        let busy = before.endpoints[1].begin(9);
        let mut changed = settings(3, Balance::RoundRobin);
        changed.response_timeout = Duration::from_secs(9);
        let after = prepared(changed, Some(&before));
        assert!(Arc::ptr_eq(&after.endpoints[0], &before.endpoints[0]));
        assert!(!after.endpoints[0].is_healthy() && after.endpoints[2].is_healthy());
        assert_eq!((after.endpoints[1].requests(), after.endpoints[2].requests()), (1, 0));
        drop(busy);
        assert_eq!(after.endpoints[1].requests(), 0);
    }

    #[test]
    fn what_makes_a_difference_to_a_connection_or_a_check_begins_anew() {
        let before = prepared(settings(1, Balance::RoundRobin), None);
        before.endpoints[0].set_healthy(false);
        let mut tls = settings(1, Balance::RoundRobin);
        tls.tls.server_name = Some("other".to_owned());
        let mut health = settings(1, Balance::RoundRobin);
        let second = Duration::from_secs(1);
        health.health = Some(Health {
            path: "/".into(),
            interval: second,
            timeout: second,
            unhealthy_after: 1,
            healthy_after: 1,
        });
        let mut http2 = settings(1, Balance::RoundRobin);
        http2.http2 = Some(UpstreamHttp2::PriorKnowledge);
        for changed in [tls, health, http2] {
            let after = prepared(changed, Some(&before));
            assert!(after.endpoints[0].is_healthy());
            assert_ne!(after.endpoints[0].id, before.endpoints[0].id);
        }
    }

    #[test]
    fn a_name_is_shared_by_upstreams_and_reloads_and_the_shortest_interval_counts() {
        let named = |every: u64| {
            let mut named = settings(1, Balance::RoundRobin);
            named.endpoints[0].host = "shop.internal".into();
            named.look_up_every = Duration::from_secs(every);
            Arc::new(named)
        };
        let prepare = |settings, previous, names: &mut Names, known| {
            UpstreamState::prepare(&settings, previous, names, known).map_err(|p| p.reason).unwrap()
        };
        let (mut names, mut later) = (Names::new(), Names::new());
        let first = prepare(named(30), None, &mut names, None);
        prepare(named(5), None, &mut names, None);
        assert_eq!(names["shop.internal"].1, Duration::from_secs(5));
        prepare(named(60), Some(&first), &mut later, Some(&names));
        assert_eq!(later["shop.internal"].1, Duration::from_secs(60));
        assert!(Arc::ptr_eq(&later["shop.internal"].0, &names["shop.internal"].0));
    }
}
