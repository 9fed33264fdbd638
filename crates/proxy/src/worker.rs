//! One worker: a thread, a runtime, its sockets, its pool of upstream connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use demilune_core::{Clock, RequestId};
use demilune_telemetry::{Recorder, Telemetry};
use tokio::sync::{Notify, mpsc, watch};

use crate::curfew::Curfews;
use crate::generation::{Generation, Held};
use crate::listener::{Admission, accept};
use crate::pressure::{Load, Pressure};
use crate::timer::Timers;
use crate::upstream::Pool;

/// How often idle connections to upstreams are looked at, for those that were closed.
const PRUNE: Duration = Duration::from_secs(1);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) generation: ArcSwap<Generation>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Open connections by listener, over all workers.
    pub(crate) admissions: std::sync::Mutex<HashMap<Arc<str>, Arc<Admission>>>,
    pub(crate) pressure: Pressure,
    /// How many workers there are.
    pub(crate) workers: usize,
}

impl Shared {
    /// The counts of connections of a listener.
    pub(crate) fn admission_of(&self, listener: &Arc<str>) -> Arc<Admission> {
        let mut all = match self.admissions.lock() {
            Ok(all) => all,
            Err(poisoned) => poisoned.into_inner(),
        };
        Arc::clone(all.entry(Arc::clone(listener)).or_default())
    }
}

/// What a worker is told.
pub(crate) enum Command {
    /// Accept connections here, for the listener of this name.
    Listen { name: Arc<str>, address: SocketAddr, socket: std::net::TcpListener },
    /// Stop accepting for the listener of this name and address; its connections finish what they
    /// do.
    Unlisten { name: Arc<str>, address: SocketAddr },
    /// Another generation is in force.
    Refresh,
    /// Stop accepting; end when all connections have, at the latest after this time.
    Drain(Duration),
}

/// Tasks of a worker, counted. They end with the worker's runtime at the latest.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Rc<TasksInner>);

#[derive(Default)]
struct TasksInner {
    count: Cell<usize>,
    ended: Notify,
}

impl Tasks {
    /// Runs `future` on this worker.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let inner = Rc::clone(&self.0);
        inner.count.set(inner.count.get() + 1);
        let guard = TaskGuard(inner);
        #[expect(
            clippy::disallowed_methods,
            reason = "counted here; ended with the worker's runtime"
        )]
        tokio::task::spawn_local(async move {
            let _guard = guard;
            future.await;
        });
    }

    /// How many are running.
    pub(crate) fn count(&self) -> usize {
        self.0.count.get()
    }

    /// Waits until none is running.
    pub(crate) async fn idle(&self) {
        while self.count() > 0 {
            self.0.ended.notified().await;
        }
    }
}

struct TaskGuard(Rc<TasksInner>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.ended.notify_one();
    }
}

/// The state of one worker, shared by its tasks.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) recorder: Recorder,
    pub(crate) pool: Pool,
    /// Connections from clients.
    pub(crate) clients: Tasks,
    /// Everything else: connections to upstreams, streams, tunnels.
    pub(crate) background: Tasks,
    pub(crate) timers: Timers,
    pub(crate) load: Rc<Load>,
    generation: RefCell<Held>,
    ids: (Cell<u64>, Cell<u64>),
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let recorder = shared.telemetry.recorder();
        let generation = RefCell::new(Held::new(shared.generation.load_full()));
        let background = Tasks::default();
        let timers = Timers::start(Arc::clone(&shared.clock), &background);
        Self {
            recorder,
            pool: Pool::new(timers.clone()),
            clients: Tasks::default(),
            timers,
            background,
            load: Rc::default(),
            generation,
            ids: (Cell::new(seed()), Cell::new(seed())),
            shared,
        }
    }

    /// The generation in force. Looks at the shared one; copies it only after it has changed, so
    /// that workers do not contend for its reference count.
    pub(crate) fn generation(&self) -> Held {
        let current = self.shared.generation.load();
        let mut mine = self.generation.borrow_mut();
        if !mine.is(&current) {
            *mine = Held::new(Arc::clone(&current));
            self.pool.keep_only(&mine);
        }
        mine.clone()
    }

    /// A fresh id: two generators from random seeds, so that ids of different processes do not
    /// meet. It names an exchange and guards nothing.
    pub(crate) fn next_id(&self) -> RequestId {
        let (high, low) = &self.ids;
        RequestId(u128::from(split_mix(high)) << 64 | u128::from(split_mix(low)))
    }

    /// The time.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }
}

/// Random to this process and thread.
fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators (2014), figure 19.
fn split_mix(state: &Cell<u64>) -> u64 {
    let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    state.set(next);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Runs a worker to its end on this thread.
pub(crate) fn run(
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async move { obey(shared, commands).await });
    // Look-ups of names may still be under way; nobody waits for them.
    runtime.shutdown_background();
    Ok(())
}

async fn obey(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let worker = Rc::new(Worker::new(shared));
    let mut sockets: HashMap<(Arc<str>, SocketAddr), Accepting> = HashMap::new();
    let pool = worker.pool.clone();
    worker.background.spawn(async move {
        loop {
            tokio::time::sleep(PRUNE).await;
            pool.prune();
        }
    });
    let drain = loop {
        match commands.recv().await {
            Some(Command::Listen { name, address, socket }) => {
                let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { continue };
                let (stop, stopping) = watch::channel(false);
                let (task, curfews) = (Tasks::default(), Curfews::default());
                let accept = accept(
                    Rc::clone(&worker),
                    Arc::clone(&name),
                    address,
                    socket,
                    curfews.clone(),
                    stopping,
                );
                task.spawn(accept);
                sockets.insert((name, address), Accepting { stop, task, curfews });
            }
            Some(Command::Unlisten { name, address }) => {
                if let Some(accepting) = sockets.remove(&(name, address)) {
                    worker.background.spawn(accepting.end());
                }
            }
            // Lets go of what only the generation before needed, requests or not.
            Some(Command::Refresh) => drop(worker.generation()),
            Some(Command::Drain(deadline)) => break deadline,
            None => break Duration::ZERO,
        }
    };
    for accepting in sockets.into_values() {
        accepting.end().await;
    }
    let _ = tokio::time::timeout(drain, worker.clients.idle()).await;
}

/// A socket that is accepted from.
struct Accepting {
    stop: watch::Sender<bool>,
    task: Tasks,
    curfews: Curfews,
}

impl Accepting {
    /// Takes in what is queued, stops, and tells all connections to end after what they are doing.
    async fn end(self) {
        let _ = self.stop.send(true);
        self.task.idle().await;
        self.curfews.call();
    }
}
