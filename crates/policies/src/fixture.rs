//! What unit tests build policies with, where the three strings of the harness are not enough.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use demilune_core::chain::{Chain, Requirement};
use demilune_core::env::{CounterKey, Secrets};
use demilune_core::route::{Matches, Template};
use demilune_core::{
    Compute, Counters, Directory, Downstream, Env, Fault, Hooks, Host, Invalid, Moment, Outcome,
    Place, Policy, Rate, RequestHead, Route, Saturated, Scheme, Secret, Spent, Target,
};
use http::{HeaderMap, Method, Version};

/// Why `policy` does not build.
pub(crate) fn refused(policy: &impl Policy) -> Invalid {
    with_env(|env| policy.build(env).err()).expect("this must not build")
}

/// The hooks of `policy`.
pub(crate) fn built(policy: &impl Policy) -> Hooks {
    with_env(|env| policy.build(env)).expect("this must build")
}

/// Runs `build` in an environment without consumers, whose secret `pepper` is good and `short` is
/// not.
pub(crate) fn with_env<T>(build: impl FnOnce(&Env<'_>) -> T) -> T {
    let counters: Arc<dyn Counters> = Arc::new(Nothing);
    let compute: Arc<dyn Compute> = Arc::new(Nothing);
    build(&Env {
        directory: &Directory::default(),
        counters: &counters,
        compute: &compute,
        secrets: &Nothing,
        place: &Place { path: "defaults".into(), source: "gateway.yaml:1".into() },
    })
}

/// A head of `GET /` over HTTPS for `api.example.com`.
pub(crate) fn head() -> RequestHead {
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        host: Host::parse("api.example.com").unwrap(),
        target: Target::default(),
        version: Version::HTTP_11,
        headers: HeaderMap::new(),
        content_length: Some(0),
    }
}

/// A client's connection.
pub(crate) fn downstream(address: &str) -> Downstream {
    let address: IpAddr = address.parse().unwrap();
    Downstream::new((address, 4711).into(), "web".into(), None)
}

/// A public route.
pub(crate) fn route(path: &str) -> Route {
    Route {
        name: "shop".into(),
        source: "gateway.yaml:1".into(),
        matches: Matches { path: Template::parse(path).unwrap(), ..Matches::default() },
        upstream: "shop".into(),
        chain: Chain::new(Requirement::Public, Vec::new(), Vec::new()),
        websocket: false,
        path_exceptions: demilune_core::PathExceptions::default(),
    }
}

/// Counts nothing, computes nothing, knows two secrets.
struct Nothing;

impl Counters for Nothing {
    fn spend<'a>(
        &'a self,
        _: CounterKey<'a>,
        _: Rate,
        burst: u32,
        _: Moment,
    ) -> Outcome<'a, Result<Spent, Fault>> {
        let [retry_after, reset_after] = [Duration::ZERO; 2];
        Outcome::Now(Ok(Spent { admitted: true, remaining: burst, retry_after, reset_after }))
    }
}

impl Compute for Nothing {
    fn run(&self, _: Box<dyn FnOnce() + Send>) -> Result<(), Saturated> {
        Err(Saturated)
    }
}

impl Secrets for Nothing {
    fn secret(&self, name: &str) -> Result<Secret, Invalid> {
        match name {
            "pepper" => Ok(Secret::new(vec![b'p'; 32])),
            "short" => Ok(Secret::new(b"hunter2".to_vec())),
            _ => Err(Invalid::new("", "no such secret").conceal()),
        }
    }
}
