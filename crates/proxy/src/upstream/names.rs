//! Names of endpoints and the addresses they stand for. A name is looked up in the background, once
//! for all workers and all upstreams that use it; a connection takes what is known.
//!
//! No worker ever looks a name up, and a resolver that fails, stalls or answers nothing takes
//! nothing away: the addresses known last stay in use.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use demilune_telemetry::{Level, Telemetry};
use smallvec::SmallVec;
use tokio::sync::{Semaphore, oneshot, watch};

/// The most addresses of one name that are used.
const ADDRESSES_LIMIT: usize = 64;
/// The most names that are looked up at the same time.
const LOOK_UPS_AT_ONCE: usize = 16;
/// After so long without an answer the operator is told; the look-up goes on.
const SLOW: Duration = Duration::from_secs(5);
/// After the first failure in a row. It doubles, up to the time between two look-ups.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A name, shared by all endpoints that have it.
pub(crate) struct Name {
    host: Arc<str>,
    known: watch::Sender<Known>,
    turn: AtomicUsize,
}

/// What is known of a name.
enum Known {
    /// The first look-up is under way.
    Nothing,
    /// At least one.
    Addresses(Vec<Address>),
    /// Every look-up so far has failed; why the last one did.
    Failure(Arc<str>),
}

struct Address {
    ip: IpAddr,
    /// Whether no connection could be made since the last look-up.
    refused: AtomicBool,
}

/// Where connections to an endpoint go.
#[derive(Clone)]
pub(crate) enum Place {
    Address(IpAddr),
    Name(Arc<Name>),
}

impl Place {
    /// Whether a connection to `ip` is one to here. What is not known yet excludes nothing.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::Address(address) => *address == ip,
            Self::Name(name) => match &*name.known.borrow() {
                Known::Addresses(all) => all.iter().any(|address| address.ip == ip),
                Known::Nothing | Known::Failure(_) => true,
            },
        }
    }
}

impl Name {
    pub(crate) fn new(host: Arc<str>) -> Self {
        Self { host, known: watch::Sender::new(Known::Nothing), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The addresses to try, in this order: each first in turn, those behind which nobody answered
    /// last. Waits for the first look-up.
    ///
    /// # Errors
    /// Why the name has no addresses.
    pub(crate) async fn candidates(&self) -> Result<SmallVec<[IpAddr; 4]>, Arc<str>> {
        let mut watching = self.known.subscribe();
        let known = watching.wait_for(|known| !matches!(known, Known::Nothing)).await;
        match known.as_deref() {
            Ok(Known::Addresses(all)) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let (before, after) = all.split_at_checked(turn % all.len()).unwrap_or((&[], all));
                let in_turn = || after.iter().chain(before);
                let good = in_turn().filter(|address| !address.refused.load(Ordering::Relaxed));
                let bad = in_turn().filter(|address| address.refused.load(Ordering::Relaxed));
                Ok(good.chain(bad).map(|address| address.ip).collect())
            }
            Ok(Known::Failure(reason)) => Err(Arc::clone(reason)),
            Ok(Known::Nothing) | Err(_) => Err("the name was not looked up".into()),
        }
    }

    /// Notes whether a connection to one of the addresses could be made.
    pub(crate) fn tried(&self, ip: IpAddr, connected: bool) {
        if let Known::Addresses(all) = &*self.known.borrow()
            && let Some(address) = all.iter().find(|address| address.ip == ip)
        {
            address.refused.store(!connected, Ordering::Relaxed);
        }
    }

    /// Takes a look-up's result in; says what changed.
    fn take(&self, found: Result<Vec<IpAddr>, Arc<str>>) -> Changed {
        let mut changed = Changed::Nothing;
        self.known.send_modify(|known| match found {
            Err(reason) => {
                if !matches!(known, Known::Addresses(_)) {
                    *known = Known::Failure(reason);
                }
            }
            Ok(ips) => {
                changed = match known {
                    Known::Addresses(all) if all.iter().map(|a| a.ip).eq(ips.iter().copied()) => {
                        Changed::Nothing
                    }
                    Known::Nothing => Changed::First,
                    Known::Addresses(_) | Known::Failure(_) => Changed::Others,
                };
                let fresh = |ip| Address { ip, refused: AtomicBool::new(false) };
                *known = Known::Addresses(ips.into_iter().map(fresh).collect());
            }
        });
        changed
    }

    fn count(&self) -> usize {
        match &*self.known.borrow() {
            Known::Addresses(all) => all.len(),
            Known::Nothing | Known::Failure(_) => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Nothing,
    First,
    Others,
}

/// How names are looked up. May block: it runs on a thread of its own.
pub(crate) type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What all look-ups share.
#[derive(Clone)]
pub(crate) struct Resolver {
    look_up: LookUp,
    at_once: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl Resolver {
    /// Asks the system, as `/etc/nsswitch.conf` says. It does not tell how long an answer holds.
    pub(crate) fn system(telemetry: Arc<Telemetry>) -> Self {
        let look_up = |host: &str| {
            (host, 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect())
        };
        Self::new(Arc::new(look_up), telemetry)
    }

    fn new(look_up: LookUp, telemetry: Arc<Telemetry>) -> Self {
        Self { look_up, at_once: Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE)), telemetry }
    }

    /// Keeps the addresses of `name` current until the other half of `interval` is dropped. There
    /// is never more than one look-up of it under way.
    pub(crate) async fn keep(self, name: Arc<Name>, mut interval: watch::Receiver<Duration>) {
        let mut failures = 0;
        loop {
            let pause = tokio::select! {
                () = self.round(&name, &mut failures) => {
                    let interval = *interval.borrow_and_update();
                    let doubled = FIRST_RETRY * (1 << failures.saturating_sub(1).min(16));
                    if failures == 0 { interval } else { interval.min(doubled) }
                }
                () = ended(interval.clone()) => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = interval.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One look-up.
    async fn round(&self, name: &Name, failures: &mut u32) {
        let mut asking = std::pin::pin!(self.ask(&name.host));
        let found = tokio::select! {
            found = &mut asking => found,
            () = tokio::time::sleep(SLOW) => {
                self.failed(name, "the resolver does not answer".into(), failures);
                asking.await
            }
        };
        match found {
            Ok(ips) => self.succeeded(name, ips, failures),
            Err(reason) => self.failed(name, reason, failures),
        }
    }

    async fn ask(&self, host: &Arc<str>) -> Result<Vec<IpAddr>, Arc<str>> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let (look_up, asked) = (Arc::clone(&self.look_up), Arc::clone(host));
        let (tell, told) = oneshot::channel();
        // Not on the runtime's pool: its end would wait for a resolver that stalls.
        let thread = std::thread::Builder::new().name("demilune-lookup".to_owned());
        let begun = thread.spawn(move || {
            let found = look_up(&asked);
            drop(permit);
            let _ = tell.send(found);
        });
        let reason = |error: io::Error| Arc::from(error.to_string());
        begun.map_err(reason)?;
        let found = told.await.map_err(|_| Arc::from("the look-up failed"))?.map_err(reason)?;
        let mut usable: Vec<IpAddr> = found.into_iter().filter(is_usable).collect();
        // Servers turn the order round from answer to answer.
        usable.sort_unstable();
        usable.dedup();
        usable.truncate(ADDRESSES_LIMIT);
        if usable.is_empty() { Err("the name has no address".into()) } else { Ok(usable) }
    }

    fn succeeded(&self, name: &Name, ips: Vec<IpAddr>, failures: &mut u32) {
        let shown: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        let changed = name.take(Ok(ips));
        self.telemetry.name_looked_up(&name.host, true, name.count());
        if changed == Changed::Others || *failures > 0 {
            let fields = [("name", &*name.host), ("addresses", &*shown.join(" "))];
            let message = "the name of an endpoint was looked up and has these addresses now";
            self.telemetry.log(Level::Info, "upstream.name_resolved", message, &fields);
        }
        *failures = 0;
    }

    fn failed(&self, name: &Name, reason: Arc<str>, failures: &mut u32) {
        name.take(Err(Arc::clone(&reason)));
        self.telemetry.name_looked_up(&name.host, false, name.count());
        // Once, until it succeeds again.
        if *failures == 0 {
            let kept = name.count().to_string();
            let fields = [("name", &*name.host), ("reason", &*reason), ("addresses_kept", &*kept)];
            let message = "the name of an endpoint cannot be looked up; the addresses known last \
                           stay in use";
            self.telemetry.log(Level::Warn, "upstream.name_unresolved", message, &fields);
        }
        *failures = failures.saturating_add(1);
    }
}

/// Nobody can be connected to at these, whatever a resolver says.
fn is_usable(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

async fn ended(mut interval: watch::Receiver<Duration>) {
    while interval.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests;
