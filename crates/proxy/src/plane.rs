//! The data plane as a whole: starting workers, putting a snapshot in force, draining.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use demilune_core::{Clock, Snapshot};
use demilune_telemetry::{Level, Telemetry};
use tokio::sync::{Notify, mpsc};

use crate::generation::{Generation, Problem};
use crate::listener::bind;
use crate::pressure::Pressure;
use crate::tls::warm;
use crate::worker::{Command, Shared, run};

/// What a data plane is made of.
pub struct PlaneSettings {
    /// How many workers; one a core is right.
    pub workers: usize,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where records go.
    pub telemetry: Arc<Telemetry>,
}

/// A running data plane.
pub struct Plane {
    shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
    /// What is listened on, by the listener's name and configured address.
    bound: Mutex<HashMap<(Arc<str>, SocketAddr), SocketAddr>>,
    /// Told when another generation is in force.
    applied: Notify,
}

/// What putting a snapshot in force changed on the outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Listeners opened.
    pub opened: Vec<Arc<str>>,
    /// Listeners closed.
    pub closed: Vec<Arc<str>>,
}

impl Plane {
    /// Starts the workers and opens the listeners of `snapshot`.
    ///
    /// # Errors
    /// Every problem of the snapshot, and sockets that cannot be opened.
    pub fn start(settings: PlaneSettings, snapshot: Arc<Snapshot>) -> Result<Self, Vec<Problem>> {
        let generation = Generation::prepare(snapshot, None, settings.clock.now())?;
        let tls = generation.listeners.values().find_map(|serving| serving.tls.as_ref());
        let tls = tls.map(|tls| Arc::clone(&tls.config));
        let shared = Arc::new(Shared {
            generation: ArcSwap::from_pointee(generation),
            clock: settings.clock,
            telemetry: settings.telemetry,
            admissions: Mutex::default(),
            pressure: Pressure::default(),
            workers: settings.workers.max(1),
        });
        let (warm, warming) = std::sync::mpsc::channel();
        let mut workers = Vec::with_capacity(settings.workers);
        let mut threads = Vec::with_capacity(settings.workers);
        for number in 0..settings.workers.max(1) {
            let (commands, receiver) = mpsc::unbounded_channel();
            let (shared, tls, warm) = (Arc::clone(&shared), tls.clone(), warm.clone());
            let thread = std::thread::Builder::new()
                .name(format!("demilune-worker-{number}"))
                .spawn(move || {
                    if let Some(tls) = &tls {
                        warm::up(tls);
                    }
                    drop(warm);
                    run(shared, receiver)
                })
                .map_err(|error| vec![problem("", "worker.start", &error)])?;
            workers.push(commands);
            threads.push(thread);
        }
        // Nobody connects before all workers have dropped their end.
        drop(warm);
        let _: Result<(), _> = warming.recv();
        let plane = Self {
            shared,
            workers,
            threads: Mutex::new(threads),
            bound: Mutex::default(),
            applied: Notify::new(),
        };
        plane.tell_of_certificates();
        let snapshot = Arc::clone(&plane.shared.generation.load().snapshot);
        plane.open(&snapshot)?.commit(&plane);
        Ok(plane)
    }

    /// Puts `snapshot` in force. All or nothing: with an error, what ran before goes on untouched.
    ///
    /// # Errors
    /// As [`Plane::start`].
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> Result<Applied, Vec<Problem>> {
        let now = self.shared.clock.now();
        let previous = self.shared.generation.load();
        let generation = Generation::prepare(snapshot, Some(&previous), now)?;
        let opening = self.open(&generation.snapshot)?;
        self.shared.generation.store(Arc::new(generation));
        let applied = opening.commit(self);
        self.tell_of_certificates();
        self.applied.notify_one();
        for worker in &self.workers {
            let _ = worker.send(Command::Refresh);
        }
        Ok(applied)
    }

    /// Tells when certificates end, and which should not be served any more.
    fn tell_of_certificates(&self) {
        let generation = self.shared.generation.load();
        let telemetry = &self.shared.telemetry;
        telemetry.set_certificate_expiries(generation.expiries());
        for Problem { place, code, reason } in &generation.warnings {
            telemetry.log(Level::Warn, code, reason, &[("place", place)]);
        }
    }

    /// Each listener with the address it really has (where the document says port 0, the kernel
    /// chose).
    #[must_use]
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let bound = lock(&self.bound);
        let mut all: Vec<_> =
            bound.iter().map(|((name, _), actual)| (Arc::clone(name), *actual)).collect();
        all.sort();
        all
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.generation.load().snapshot)
    }

    /// The upstreams in force, for health checks.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.shared.generation.load_full()
    }

    pub(crate) fn pressure(&self) -> &Pressure {
        &self.shared.pressure
    }

    pub(crate) fn applied(&self) -> &Notify {
        &self.applied
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.shared.telemetry
    }

    /// Stops accepting, lets open exchanges end for at most `deadline`, and waits for the
    /// workers' end. Returns how many of them did not end well.
    pub fn drain(&self, deadline: Duration) -> usize {
        for worker in &self.workers {
            let _ = worker.send(Command::Drain(deadline));
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        let ended = threads.into_iter().map(JoinHandle::join);
        ended.filter(|result| !matches!(result, Ok(Ok(())))).count()
    }

    /// Opens the sockets that `snapshot` needs and that are not open; nothing is accepted on them
    /// yet.
    fn open(&self, snapshot: &Snapshot) -> Result<Opening, Vec<Problem>> {
        let bound = lock(&self.bound);
        let mut opening = Opening::default();
        let mut problems = Vec::new();
        for listener in &snapshot.listeners {
            let key = (Arc::clone(&listener.name), listener.address);
            if bound.contains_key(&key) {
                continue;
            }
            let ours = bound.keys().any(|(_, address)| *address == listener.address);
            match bind(listener.address, self.workers.len(), !ours) {
                Ok((actual, sockets)) => opening.opened.push((key, actual, sockets)),
                Err(error) => {
                    let place = format!("listeners.{}.address", listener.name);
                    problems.push(problem(&place, "listener.bind", &error));
                }
            }
        }
        let wanted = |key: &(Arc<str>, SocketAddr)| {
            snapshot.listeners.iter().any(|l| l.name == key.0 && l.address == key.1)
        };
        opening.closed = bound.keys().filter(|key| !wanted(key)).cloned().collect();
        if problems.is_empty() { Ok(opening) } else { Err(problems) }
    }
}

fn problem(place: &str, code: &'static str, error: &io::Error) -> Problem {
    Problem { place: place.to_owned(), code, reason: error.to_string() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

type ListenerKey = (Arc<str>, SocketAddr);

/// Sockets opened, but not yet handed to the workers.
#[derive(Default)]
struct Opening {
    opened: Vec<(ListenerKey, SocketAddr, Vec<std::net::TcpListener>)>,
    closed: Vec<ListenerKey>,
}

impl Opening {
    fn commit(self, plane: &Plane) -> Applied {
        let mut applied = Applied::default();
        let mut bound = lock(&plane.bound);
        for (key, actual, sockets) in self.opened {
            for (worker, socket) in plane.workers.iter().zip(sockets) {
                let command = Command::Listen { name: Arc::clone(&key.0), address: key.1, socket };
                let _ = worker.send(command);
            }
            applied.opened.push(Arc::clone(&key.0));
            bound.insert(key, actual);
        }
        for key in self.closed {
            for worker in &plane.workers {
                let command = Command::Unlisten { name: Arc::clone(&key.0), address: key.1 };
                let _ = worker.send(command);
            }
            applied.closed.push(Arc::clone(&key.0));
            bound.remove(&key);
        }
        applied
    }
}
