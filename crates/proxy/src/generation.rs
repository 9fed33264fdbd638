//! A snapshot with what the data plane makes of it: TLS settings, and the state of upstreams, which
//! lives on where the document did not change it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use demilune_core::snapshot::Listener;
use demilune_core::{Moment, Snapshot};
use hashbrown::HashMap;

use crate::tls::{ServerTls, Validity};
use crate::upstream::{Names, UpstreamState};

/// What the data plane cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document, such as `listeners.public.tls.certificates[0]`.
    pub place: String,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong; never a key.
    pub reason: String,
}

/// One snapshot in force. An exchange holds the one it began with.
pub(crate) struct Generation {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) listeners: HashMap<Arc<str>, Serving>,
    pub(crate) upstreams: HashMap<Arc<str>, Arc<UpstreamState>>,
    /// When the certificates of each listener are good.
    validity: Vec<(Arc<str>, Validity)>,
    /// What works, but somebody should look at.
    pub(crate) warnings: Vec<Problem>,
    /// Those of their endpoints.
    pub(crate) names: Names,
}

/// A worker's own hold on the generation in force: copied without touching the count that all
/// workers share.
#[derive(Clone)]
pub(crate) struct Held(Rc<HeldInner>);

struct HeldInner(Arc<Generation>);

impl Held {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        Self(Rc::new(HeldInner(generation)))
    }

    pub(crate) fn is(&self, other: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.0.0, other)
    }
}

impl std::ops::Deref for Held {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.0.0
    }
}

/// A listener with its TLS settings made ready.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) listener: Arc<Listener>,
    pub(crate) tls: Option<ServerTls>,
}

impl Generation {
    /// The listener that a connection belongs to, which came in for one of this name at this
    /// address: the one of that name, or the one that a reload put at the address under another
    /// name.
    pub(crate) fn serving(&self, name: &str, address: SocketAddr) -> Option<&Serving> {
        self.listeners.get(name).or_else(|| {
            let mut all = self.listeners.values();
            all.find(|serving| address.port() != 0 && serving.listener.address == address)
        })
    }

    /// When each certificate ends: its listener, its place in the document, and the second since
    /// the UNIX epoch.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (&str, &str, i64)> {
        self.validity.iter().map(|(name, it)| (&**name, &*it.place, it.not_after))
    }

    /// Makes `snapshot` ready, of which certificates should be good at `now`; upstreams keep
    /// the state of `previous` where the document did not change it.
    pub(crate) fn prepare(
        snapshot: Arc<Snapshot>,
        previous: Option<&Self>,
        now: Moment,
    ) -> Result<Self, Vec<Problem>> {
        let now = i64::try_from(now.wall.as_secs()).unwrap_or(i64::MAX);
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let mut validity = Vec::new();
        let mut listeners = HashMap::new();
        for listener in &snapshot.listeners {
            let tls = match &listener.tls {
                None => None,
                Some(tls) => match ServerTls::new(tls, now) {
                    Ok((tls, shown)) => {
                        warnings.extend(shown.warnings);
                        let name = &listener.name;
                        let all = shown.validity.into_iter();
                        validity.extend(all.map(|it| (Arc::clone(name), it)));
                        Some(tls)
                    }
                    Err(found) => {
                        problems.extend(found);
                        continue;
                    }
                },
            };
            let serving = Serving { listener: Arc::clone(listener), tls };
            listeners.insert(Arc::clone(&listener.name), serving);
        }
        let (mut upstreams, mut names) = (HashMap::new(), Names::new());
        for (name, settings) in &snapshot.upstreams {
            let kept = previous.and_then(|generation| generation.upstreams.get(name));
            let known = previous.map(|generation| &generation.names);
            let state = UpstreamState::prepare(settings, kept, &mut names, known);
            match state {
                Ok(state) => {
                    upstreams.insert(Arc::clone(name), state);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self { snapshot, listeners, upstreams, names, validity, warnings })
        } else {
            Err(problems)
        }
    }
}
