//! `demilune demo`: a small API inside the binary, the gateway before it, and lines to paste.

mod shop;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use demilune_identity::{ApiKey, Pepper};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::cli::DemoArgs;
use crate::run::run_with;

/// Where the demo listens if nobody else does.
const PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9443;

/// Starts the demo; ends with the first signal.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("demilune-demo-").tempdir()?;
    let shop = shop::start().context("starting the demo's API")?;
    let (https, admin) = match args.port {
        Some(port) => (port, free_or_any(ADMIN_PORT)?),
        None => (free_or_any(PORT)?, free_or_any(ADMIN_PORT)?),
    };
    let key = ApiKey::generate("demo").context("making a key")?;
    certificates(folder.path())?;
    let pepper = ApiKey::generate("pepper").context("making a pepper")?;
    fs::write(folder.path().join("pepper"), pepper.reveal())?;
    let hash = key.digest(&Pepper::new(1, pepper.reveal().as_bytes())?);
    let path = folder.path().join("demilune.yaml");
    fs::write(&path, document(https, admin, shop, &hash.to_string()))?;
    run_with(&path, None, |addresses| {
        let https = addresses.first().map_or(https, |(_, address)| address.port());
        // Without a terminal to print to, the demo still runs.
        let _ = introduce(folder.path(), https, admin, &key);
    })
}

/// `port` where it is free, else one that the kernel chooses.
fn free_or_any(port: u16) -> anyhow::Result<u16> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = TcpListener::bind(SocketAddr::new(loopback, port))
        .or_else(|_| TcpListener::bind(SocketAddr::new(loopback, 0)))?;
    Ok(listener.local_addr()?.port())
}

/// An authority of the demo's own, and a certificate for `localhost`.
fn certificates(folder: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, "Demilune demo authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("localhost.pem"), leaf.pem())?;
    fs::write(folder.join("localhost.key"), key.serialize_pem())?;
    Ok(())
}

fn document(https: u16, admin: u16, shop: SocketAddr, hash: &str) -> String {
    format!(
        r#"# The demo's configuration: change it while the demo runs, and it is reloaded.
version: 1

secrets:
  key_pepper: {{ file: pepper }}

listeners:
  public:
    address: 127.0.0.1:{https}
    tls: {{ certificates: [{{ chain: localhost.pem, key: localhost.key }}] }}

upstreams:
  shop:
    endpoints: [ "http://{shop}" ]
    health: {{ path: /healthz, interval: 5s }}

consumers:
  acme:
    groups: [partners]
    credentials: [ {{ api_key: {{ hash: "{hash}" }} }} ]

authenticators:
  partners: {{ key_auth: {{ pepper: key_pepper }} }}

defaults:
  policies:
    - request_size: {{ body: 64KiB }}
    - rate_limit: {{ per: address, limit: 600/min }}
    - security_headers: {{}}
  locked: [request_size]

routes:
  catalogue:
    match: {{ path: /v1/products/**, methods: [GET] }}
    upstream: shop
    public: the catalogue is open to everybody

  orders:
    match: {{ path: /v1/orders/**, methods: [GET, POST] }}
    upstream: shop
    authenticate: partners
    policies:
      - rate_limit: {{ per: consumer, limit: 20/min }}

  back_office:
    match: {{ path: /v1/admin/** }}
    upstream: shop
    authenticate: partners
    policies:
      - ip_restriction: {{ allow: [ 10.0.0.0/8 ] }}

admin: {{ address: 127.0.0.1:{admin} }}

shutdown: {{ drain: 2s }}
"#
    )
}

fn introduce(folder: &Path, https: u16, admin: u16, key: &ApiKey) -> std::io::Result<()> {
    let mut out = std::io::stderr().lock();
    let folder = folder.display();
    let key = key.reveal();
    let curl = format!("curl --cacert {folder}/ca.pem");
    let url = format!("https://localhost:{https}");
    writeln!(
        out,
        "
Demilune is running, with a small shop behind it.

  https      {url}  (its own authority: {folder}/ca.pem)
  operator   http://127.0.0.1:{admin}/readyz and /metrics
  document   {folder}/demilune.yaml  (edit it: it is reloaded)
  API key    {key}  (of the consumer `acme`; printed this once)

Try, in another terminal:

  # A public route.
  {curl} {url}/v1/products

  # A route that wants a key: refused without, served with.
  {curl} {url}/v1/orders
  {curl} -H 'x-api-key: {key}' {url}/v1/orders
  {curl} -H 'x-api-key: {key}' -H 'content-type: application/json' \\
       -d '{{\"product\":\"p1\",\"quantity\":2}}' {url}/v1/orders

  # A route for another network: refused, whoever asks.
  {curl} -i -H 'x-api-key: {key}' {url}/v1/admin/stock

  # Twenty orders a minute, and no more: the last ones are 429.
  {curl} -s -o /dev/null -w '%{{http_code}} ' -H 'x-api-key: {key}' '{url}/v1/orders?n=[1-25]'; echo

  # No route: 404, like every refusal with the id that stands in the log below.
  {curl} {url}/etc/passwd

Each request is a line below; Ctrl-C ends the demo.
"
    )?;
    out.flush()
}

/// The demo's parts are shared with its test.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_demos_document_is_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path()).unwrap();
        let pepper = "0123456789abcdef0123456789abcdef";
        fs::write(folder.path().join("pepper"), pepper).unwrap();
        let key = ApiKey::generate("demo").unwrap();
        let hash = key.digest(&Pepper::new(1, pepper.as_bytes()).unwrap()).to_string();
        let path = folder.path().join("demilune.yaml");
        let shop = SocketAddr::from(([127, 0, 0, 1], 9));
        fs::write(&path, document(8443, 9443, shop, &hash)).unwrap();
        let document = demilune_config::load(&path).map_err(|r| r.to_string()).unwrap();
        let services = demilune_config::Services {
            counters: Arc::new(demilune_backends::MemoryCounters::new(10)),
            compute: Arc::new(demilune_backends::Pool::new(1, 1).unwrap()),
        };
        let compiled = demilune_config::compile(&document, &services)
            .map_err(|found| found.render(&document.sources))
            .unwrap();
        demilune_proxy::check(&compiled.snapshot, demilune_core::Moment::default()).unwrap();
    }
}
