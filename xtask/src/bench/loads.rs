//! The loads: what the clients do, and to whom.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::measure::{self, Outcome};
use super::servers::Server;
use super::subjects::{CHAINS, FEW_ROUTES, MANY_ROUTES, PROXIES, Subject};
use super::tools::Tools;
use crate::process;

/// Connections of wrk, each with one request under way.
const CONNECTIONS: u32 = 32;
/// So much longer than it should may a load generator run.
const GRACE: u32 = 30;
/// The key of the consumer in `demilune-ten.yaml` and its like: the one of the examples.
pub(crate) const KEY: &str = "x-api-key: dml_example_ThisIsOnlyAnExampleDoNotUseIt0_3Et5Bh";
const PATH: &str = "/v1/items/42";

/// One kind of load.
pub(crate) struct Load {
    /// As `--only` takes it.
    pub(crate) name: &'static str,
    /// As tables print it.
    pub(crate) title: &'static str,
    pub(crate) subjects: &'static [Subject],
    kind: Kind,
}

/// What makes the load.
enum Kind {
    /// wrk with these words before the address.
    Wrk { tls: bool, path: &'static str, words: Words },
    /// h2load: HTTP/2 over TLS, eight connections with four streams each.
    H2load,
    /// `bench/load`: full handshakes with this key exchange.
    Handshakes(&'static str),
}

enum Words {
    None,
    /// A script of `bench/wrk`, and its argument.
    Script(&'static str, Option<&'static str>),
    /// A header of every request.
    Header(&'static str),
}

const fn load(
    name: &'static str,
    title: &'static str,
    subjects: &'static [Subject],
    kind: Kind,
) -> Load {
    Load { name, title, subjects, kind }
}

const fn wrk(path: &'static str, words: Words) -> Kind {
    Kind::Wrk { tls: false, path, words }
}

const ROUTES_SCRIPT: &str = "routes.lua";

pub(crate) const LOADS: &[Load] = &[
    load("get", "small GET, kept alive", PROXIES, wrk(PATH, Words::None)),
    load("large", "answer of 64 KiB", PROXIES, wrk("/64k", Words::None)),
    load("post", "POST of 16 KiB", PROXIES, wrk(PATH, Words::Script("post.lua", None))),
    load("http2", "small GET, HTTP/2 over TLS", PROXIES, Kind::H2load),
    load(
        "tls",
        "small GET, TLS 1.3, kept alive",
        PROXIES,
        Kind::Wrk { tls: true, path: PATH, words: Words::None },
    ),
    load("x25519", "full handshake, X25519", PROXIES, Kind::Handshakes("x25519")),
    load("mlkem", "full handshake, X25519MLKEM768", PROXIES, Kind::Handshakes("x25519mlkem768")),
    load(
        "connect",
        "small GET, a connection each",
        PROXIES,
        wrk(PATH, Words::Script("close.lua", None)),
    ),
    load(
        "routes-10",
        "small GET, 10 routes",
        FEW_ROUTES,
        wrk("/", Words::Script(ROUTES_SCRIPT, Some("10"))),
    ),
    load(
        "routes-10000",
        "small GET, 10,000 routes",
        MANY_ROUTES,
        wrk("/", Words::Script(ROUTES_SCRIPT, Some("10000"))),
    ),
    load("chain", "small GET, ten policies", CHAINS, wrk(PATH, Words::Header(KEY))),
];

impl Load {
    /// Whether `server` speaks what the load speaks: not every TLS has X25519MLKEM768.
    pub(crate) fn possible(&self, tools: &Tools, server: &Server) -> bool {
        let Kind::Handshakes(group) = self.kind else { return true };
        let port = server.ports.tls.to_string();
        let mut command =
            tools.client(&["kept", "--port", &port, "--requests", "1", "--tls", group]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Puts `server` under load for `seconds`.
    pub(crate) fn drive(&self, tools: &Tools, server: &Server, seconds: u32) -> Result<Outcome> {
        let outcome = match &self.kind {
            Kind::Wrk { tls, path, words } => {
                let line = wrk_line(tools, server, seconds, (*tls, path, words))?;
                measure::wrk(&output(tools, seconds, &line)?)
            }
            Kind::H2load => {
                let log = tools.folder.join("h2load.log");
                let _ = std::fs::remove_file(&log);
                let words = format!("-c 8 -m 4 -t 1 -D {seconds} --log-file={}", log.display());
                let mut line = vec![peer("h2load")?];
                line.extend(words.split(' ').map(str::to_owned));
                line.push(format!("https://127.0.0.1:{}{PATH}", server.ports.tls));
                let text = output(tools, seconds, &line)?;
                measure::h2load(&text, &std::fs::read_to_string(&log)?)
            }
            Kind::Handshakes(group) => {
                let seconds = seconds.to_string();
                let port = server.ports.tls.to_string();
                let words =
                    ["handshakes", "--port", &port, "--seconds", &seconds, "--group", group];
                measure::own(&process::output(&mut tools.client(&words))?)
            }
        };
        outcome.with_context(|| format!("{} under {}", server.name, self.title))
    }
}

fn wrk_line(
    tools: &Tools,
    server: &Server,
    seconds: u32,
    (tls, path, words): (bool, &str, &Words),
) -> Result<Vec<String>> {
    let mut line = vec![peer("wrk")?, "-t1".to_owned(), format!("-c{CONNECTIONS}")];
    line.extend([format!("-d{seconds}s"), "--latency".to_owned()]);
    match words {
        Words::Script(name, _) => line.extend(["-s".to_owned(), tools.script(name)]),
        Words::Header(header) => line.extend(["-H".to_owned(), (*header).to_owned()]),
        Words::None => {}
    }
    let (scheme, port) =
        if tls { ("https", server.ports.tls) } else { ("http", server.ports.plain) };
    line.push(format!("{scheme}://127.0.0.1:{port}{path}"));
    if let Words::Script(_, Some(argument)) = words {
        line.extend(["--".to_owned(), (*argument).to_owned()]);
    }
    Ok(line)
}

fn peer(name: &str) -> Result<String> {
    let path = process::find(name).with_context(|| format!("{name}: `cargo xtask peers`"))?;
    Ok(path.display().to_string())
}

fn output(tools: &Tools, seconds: u32, line: &[String]) -> Result<String> {
    let output = tools.generator(seconds + GRACE, line).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", line.join(" "), output.status, text.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
