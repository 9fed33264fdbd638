//! `demilune run`: the wiring. Workers carry the traffic; this thread has the signals, the watch
//! on the document, health checks and the operator's endpoints.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use demilune_backends::{MemoryCounters, Pool, SystemClock};
use demilune_config::{Compiled, Document, Services, compile, load};
use demilune_control::{Admin, Apply, Misplaced, Reloader, Watch, problems, warn};
use demilune_core::{Clock, Snapshot};
use demilune_proxy::{
    Plane, PlaneSettings, Problem, SimpleResponse, serve_simple, watch_memory, watch_upstreams,
};
use demilune_telemetry::{Level, Telemetry};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::RunArgs;
use crate::{exit, open_files};

/// How often the document's files are looked at. A change is believed when two looks agree.
const LOOK: Duration = Duration::from_millis(400);
/// Subjects counted by limits, over all limits.
const COUNTERS: usize = 1_000_000;
/// Threads for password hashes and the like, and how many jobs may wait for them.
const COMPUTE_QUEUE: usize = 64;

/// Runs the gateway until a signal ends it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    run_with(&args.config, args.workers, |_| {})
}

/// As [`run`]; `ready` is called once with the listeners' addresses.
pub(crate) fn run_with(
    path: &Path,
    workers: Option<usize>,
    ready: impl FnOnce(&[(Arc<str>, SocketAddr)]),
) -> anyhow::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let counters = Arc::new(MemoryCounters::new(COUNTERS));
    let compute = Arc::new(Pool::new(cores, COMPUTE_QUEUE).context("starting the pool")?);
    let services =
        Services { counters: Arc::clone(&counters) as _, compute: Arc::clone(&compute) as _ };
    let mut watch = Watch::new(path.to_owned(), Vec::new());
    let (document, Compiled { snapshot, warnings }) = match prepare(path, &services, &mut watch) {
        Ok(prepared) => prepared,
        Err(text) => {
            exit::complain(&text);
            return Ok(exit::rejected());
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let telemetry = Telemetry::new(Box::new(std::io::stdout()), Arc::clone(&clock))
        .context("starting the log")?;
    warn(&telemetry, &document, &warnings);
    telemetry.watch_counter_evictions(move || counters.evictions());
    telemetry.watch_compute_panics(move || compute.panics());
    open_files::warn_of(open_files::raise(), &snapshot, &telemetry);
    let settings = PlaneSettings {
        workers: workers.unwrap_or(cores),
        clock,
        telemetry: Arc::clone(&telemetry),
    };
    let plane = match Plane::start(settings, Arc::clone(&snapshot)) {
        Ok(plane) => Arc::new(plane),
        Err(found) => {
            let found = problems(&document, misplaced(found));
            exit::complain(&found.render(&document.sources));
            return Ok(exit::failed());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("starting the runtime")?;
    let gateway = Gateway { path: path.to_owned(), plane, telemetry, services };
    let code = runtime.block_on(gateway.serve(document, &snapshot, watch, ready));
    runtime.shutdown_background();
    code
}

/// Reads and compiles; the rendered problems where that fails.
fn prepare(
    path: &Path,
    services: &Services,
    watch: &mut Watch,
) -> Result<(Document, Compiled), String> {
    let document = load(path).map_err(|rejected| rejected.to_string())?;
    watch.refers_to(document.files());
    match compile(&document, services) {
        Ok(compiled) => Ok((document, compiled)),
        Err(found) => Err(found.render(&document.sources)),
    }
}

fn misplaced(found: Vec<Problem>) -> Vec<Misplaced> {
    let convert = |p: Problem| Misplaced { place: p.place, code: p.code, reason: p.reason };
    found.into_iter().map(convert).collect()
}

struct Gateway {
    path: PathBuf,
    plane: Arc<Plane>,
    telemetry: Arc<Telemetry>,
    services: Services,
}

impl Gateway {
    async fn serve(
        self,
        document: Document,
        snapshot: &Snapshot,
        mut watch: Watch,
        ready: impl FnOnce(&[(Arc<str>, SocketAddr)]),
    ) -> anyhow::Result<ExitCode> {
        let operator = Rc::new(RefCell::new(Operator::default()));
        if let Some(address) = snapshot.admin {
            operator.borrow_mut().open(address).with_context(|| format!("admin on {address}"))?;
        }
        let mut reloader = Reloader::new(
            self.path.clone(),
            self.services.clone(),
            Arc::clone(&self.telemetry),
            self.apply(&operator),
            document,
            snapshot,
        );
        let admin = Admin::new(Arc::clone(&self.telemetry), reloader.status());
        operator.borrow_mut().serve(admin.clone());
        let mut checks = JoinSet::new();
        checks.spawn_local(watch_upstreams(Arc::clone(&self.plane)));
        checks.spawn_local(watch_memory(Arc::clone(&self.plane)));
        for (name, address) in self.plane.addresses() {
            self.log_listener("listener.opened", &name, &address.to_string());
        }
        if let Some(address) = operator.borrow().address {
            self.log_listener("listener.opened", "admin", &address.to_string());
        }
        let mut hangup = signal(SignalKind::hangup()).context("watching signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("watching signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watching signals")?;
        self.telemetry.log(
            Level::Info,
            "gateway.ready",
            "the gateway is ready",
            &[("version", &*snapshot.version)],
        );
        ready(&self.plane.addresses());
        loop {
            tokio::select! {
                _ = hangup.recv() => reloader.reload(&mut watch),
                () = tokio::time::sleep(LOOK) => {
                    if watch.changed() {
                        reloader.reload(&mut watch);
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        admin.drain();
        self.drain(terminate, interrupt).await
    }

    /// Lets open exchanges end. A second signal does not wait for them.
    async fn drain(
        self,
        mut terminate: tokio::signal::unix::Signal,
        mut interrupt: tokio::signal::unix::Signal,
    ) -> anyhow::Result<ExitCode> {
        let deadline = self.plane.snapshot().drain;
        let seconds = format!("{deadline:?}");
        let message = "no new connections; what is under way may end";
        self.telemetry.log(Level::Info, "gateway.draining", message, &[("deadline", &seconds)]);
        let plane = Arc::clone(&self.plane);
        let (done, drained) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("demilune-drain".to_owned())
            .spawn(move || done.send(plane.drain(deadline)))
            .context("starting the drain")?;
        let failed = tokio::select! {
            failed = drained => failed.unwrap_or(1),
            _ = terminate.recv() => 0,
            _ = interrupt.recv() => 0,
        };
        self.telemetry.log(Level::Info, "gateway.ended", "the gateway has ended", &[]);
        self.telemetry.shutdown();
        Ok(if failed == 0 { ExitCode::SUCCESS } else { exit::failed() })
    }

    /// What a reload does: the operator's address first, since it alone can fail without trace.
    fn apply(&self, operator: &Rc<RefCell<Operator>>) -> Apply {
        let (plane, operator) = (Arc::clone(&self.plane), Rc::clone(operator));
        let telemetry = Arc::clone(&self.telemetry);
        Box::new(move |snapshot| {
            let moved = operator.borrow().configured != snapshot.admin;
            let opened = match snapshot.admin.filter(|_| moved) {
                None => None,
                Some(address) => Some(bind(address).map_err(|error| {
                    let (place, reason) = ("admin.address".to_owned(), error.to_string());
                    vec![Misplaced { place, code: "listener.bind", reason }]
                })?),
            };
            let before = plane.addresses();
            let applied = plane.apply(Arc::clone(snapshot)).map_err(misplaced)?;
            let log = |code, name: &str, address: &SocketAddr| {
                let address = address.to_string();
                let fields = [("listener", name), ("address", address.as_str())];
                telemetry.log(Level::Info, code, "a listener changed", &fields);
            };
            if moved {
                let closed = operator.borrow().address;
                operator.borrow_mut().replace(snapshot.admin, opened);
                let opened = operator.borrow().address;
                for (code, address) in [("listener.opened", opened), ("listener.closed", closed)] {
                    if let Some(address) = &address {
                        log(code, "admin", address);
                    }
                }
            }
            for (name, address) in plane.addresses() {
                if applied.opened.contains(&name) {
                    log("listener.opened", &name, &address);
                }
            }
            for (name, address) in before {
                if applied.closed.contains(&name) {
                    log("listener.closed", &name, &address);
                }
            }
            Ok(())
        })
    }

    fn log_listener(&self, code: &'static str, name: &str, address: &str) {
        let fields = [("listener", name), ("address", address)];
        self.telemetry.log(Level::Info, code, "a listener accepts connections", &fields);
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// The operator's endpoints, which a reload may move.
#[derive(Default)]
struct Operator {
    configured: Option<SocketAddr>,
    address: Option<SocketAddr>,
    waiting: Option<TcpListener>,
    admin: Option<Admin>,
    task: JoinSet<()>,
}

impl Operator {
    fn open(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let listener = bind(address)?;
        self.replace(Some(address), Some(listener));
        Ok(())
    }

    fn serve(&mut self, admin: Admin) {
        self.admin = Some(admin);
        self.begin();
    }

    fn replace(&mut self, configured: Option<SocketAddr>, listener: Option<TcpListener>) {
        self.task.abort_all();
        self.configured = configured;
        self.address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        self.waiting = listener;
        self.begin();
    }

    /// Begins to answer as soon as there is both a socket and something to say.
    fn begin(&mut self) {
        let Some(admin) = self.admin.clone() else { return };
        let Some(listener) = self.waiting.take() else { return };
        self.task.spawn_local(serve_simple(listener, Arc::new(SystemClock), move |request| {
            let answer = admin.answer(request.method.as_str(), &request.path);
            SimpleResponse {
                status: http::StatusCode::from_u16(answer.status).unwrap_or_default(),
                content_type: answer.content_type,
                body: answer.body.into(),
            }
        }));
    }
}
