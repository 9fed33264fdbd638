//! The subjects: which program, with which document of `bench/subjects`.

/// A program that passes requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Nginx,
    Haproxy,
    Envoy,
    Demilune,
}

/// A program with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    /// As tables print it.
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// The document's file in `bench/subjects`.
    pub(crate) document: &'static str,
    /// How often its lines with `@EACH@` stand.
    pub(crate) routes: usize,
}

const fn subject(name: &'static str, program: Program, document: &'static str) -> Subject {
    Subject { name, program, document, routes: 1 }
}

const fn routed(name: &'static str, program: Program, document: &'static str, n: usize) -> Subject {
    Subject { name, program, document, routes: n }
}

pub(crate) const NGINX: Subject = subject("nginx", Program::Nginx, "nginx.conf");
pub(crate) const NGINX_CHAIN: Subject =
    subject("nginx with Lua, fewer controls", Program::Nginx, "nginx-chain.conf");
pub(crate) const HAPROXY: Subject = subject("HAProxy", Program::Haproxy, "haproxy.cfg");
const HAPROXY_CHAIN: Subject =
    subject("HAProxy, fewer controls", Program::Haproxy, "haproxy-chain.cfg");
const ENVOY: Subject = subject("Envoy", Program::Envoy, "envoy.yaml");
pub(crate) const DEMILUNE: Subject = subject("Demilune", Program::Demilune, "demilune.yaml");
pub(crate) const FIVE: Subject =
    subject("Demilune, five policies", Program::Demilune, "demilune-five.yaml");
pub(crate) const TEN: Subject =
    subject("Demilune, ten policies", Program::Demilune, "demilune-ten.yaml");

/// Plain proxying, and Demilune with the controls of everyday use.
pub(crate) const PROXIES: &[Subject] = &[NGINX, HAPROXY, ENVOY, DEMILUNE, FIVE];
/// A chain of ten policies, and what comes close to it elsewhere.
pub(crate) const CHAINS: &[Subject] = &[NGINX_CHAIN, HAPROXY_CHAIN, TEN];

pub(crate) const FEW: usize = 10;
pub(crate) const MANY: usize = 10_000;
pub(crate) const FEW_ROUTES: &[Subject] = &routers(FEW);
pub(crate) const MANY_ROUTES: &[Subject] = &routers(MANY);

const fn routers(count: usize) -> [Subject; 4] {
    [
        routed("nginx", Program::Nginx, "nginx-routes.conf", count),
        routed("HAProxy", Program::Haproxy, "haproxy-routes.cfg", count),
        routed("Envoy", Program::Envoy, "envoy-routes.yaml", count),
        routed("Demilune", Program::Demilune, "demilune-routes.yaml", count),
    ]
}
