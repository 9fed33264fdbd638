//! What goes on beside the requests, away from the workers: health checks, look-ups of names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::UpstreamState;
use super::health::Checker;
use super::names::Resolver;
use crate::generation::Generation;
use crate::plane::Plane;
use crate::timer::Timers;
use crate::worker::Tasks;

/// How often the endpoints are compared with the snapshot in force, at the least.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Watches the endpoints of all upstreams in force, for ever. Runs on the caller's local runtime.
pub async fn watch_upstreams(plane: Arc<Plane>) {
    let tasks = Tasks::default();
    let mut watch = Watch {
        timers: Timers::start(Arc::clone(plane.clock()), &tasks),
        resolver: Resolver::system(Arc::clone(plane.telemetry())),
        tasks,
        plane: Arc::clone(&plane),
        checks: HashMap::new(),
        names: HashMap::new(),
    };
    let mut seen: Option<Arc<Generation>> = None;
    loop {
        let generation = plane.generation();
        if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &generation)) {
            watch.names(&generation);
            watch.checks(&generation);
            seen = Some(Arc::clone(&generation));
        }
        let now = plane.clock().monotonic();
        for upstream in generation.upstreams.values() {
            upstream.tell_returned(now, plane.telemetry());
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, plane.applied().notified()).await;
    }
}

struct Watch {
    plane: Arc<Plane>,
    tasks: Tasks,
    timers: Timers,
    resolver: Resolver,
    /// By the endpoint's id: the upstream checked for, and what ends the check.
    checks: HashMap<u64, (Arc<UpstreamState>, watch::Sender<bool>)>,
    names: HashMap<Arc<str>, watch::Sender<Duration>>,
}

impl Watch {
    fn names(&mut self, generation: &Generation) {
        let names = &generation.names;
        self.names.retain(|host, _| names.contains_key(host));
        self.plane.telemetry().keep_names(names.keys().map(|host| &**host));
        for (host, (name, interval)) in names {
            if let Some(running) = self.names.get(host) {
                running.send_if_modified(|now| std::mem::replace(now, *interval) != *interval);
                continue;
            }
            let (tell, told) = watch::channel(*interval);
            self.tasks.spawn(self.resolver.clone().keep(Arc::clone(name), told));
            self.names.insert(Arc::clone(host), tell);
        }
    }

    fn checks(&mut self, generation: &Generation) {
        let mut wanted = HashMap::new();
        for upstream in generation.upstreams.values() {
            for endpoint in &upstream.endpoints {
                wanted.insert(endpoint.id, (Arc::clone(upstream), Arc::clone(endpoint)));
            }
        }
        let telemetry = self.plane.telemetry();
        telemetry.keep_upstream_endpoints(
            wanted.values().map(|(u, e)| (&*u.settings.name, &*e.endpoint.url)),
        );
        let circuits = || {
            let all = generation.upstreams.values();
            all.filter_map(|u| u.circuit.as_ref().map(|circuit| (&*u.settings.name, circuit)))
        };
        telemetry.keep_circuits(circuits().map(|(name, _)| name));
        circuits().for_each(|(name, circuit)| telemetry.set_circuit_open(name, circuit.is_open()));
        self.checks.retain(|id, (upstream, _)| {
            wanted.get(id).is_some_and(|(now, _)| Arc::ptr_eq(now, upstream))
        });
        for (id, (upstream, endpoint)) in wanted {
            let Some(health) = upstream.settings.health.clone() else { continue };
            self.checks.entry(id).or_insert_with(|| {
                let (stop, stopped) = watch::channel(false);
                let checker = Checker {
                    upstream: Arc::clone(&upstream),
                    endpoint,
                    health,
                    telemetry: Arc::clone(telemetry),
                    grounds: (self.timers.clone(), self.tasks.clone()),
                };
                self.tasks.spawn(checker.run(stopped));
                (upstream, stop)
            });
        }
    }
}
