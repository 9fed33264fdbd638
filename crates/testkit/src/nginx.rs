//! nginx as an origin that speaks TLS.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::patience::eventually;
use crate::peer::peer;

/// How often another port is tried: somebody else may take it before nginx does.
const TRIES: usize = 5;

/// A running nginx. It is killed when dropped.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it with the certificate `NAME.pem` and its key `NAME.key` in `folder`. It answers
    /// every request with 200 and `hello`.
    #[must_use]
    pub fn start(folder: &Path, name: &str) -> Self {
        Self::listening(folder, name, "ssl", "")
    }

    /// As [`Nginx::start`], with HTTP/2 for those who choose it; it answers `/protocol` with
    /// the protocol that it was asked in.
    #[must_use]
    pub fn http2(folder: &Path, name: &str) -> Self {
        Self::listening(folder, name, "ssl http2", "")
    }

    /// As [`Nginx::start`] with more settings of the server, such as `ssl_verify_client on;`.
    /// It answers `hello` and the subject of the client's certificate.
    #[must_use]
    pub fn start_with(folder: &Path, name: &str, settings: &str) -> Self {
        Self::listening(folder, name, "ssl", settings)
    }

    fn listening(folder: &Path, name: &str, options: &str, more: &str) -> Self {
        let start = |_| Self::try_start(folder, name, options, more);
        (0..TRIES).find_map(start).expect("nginx starts")
    }

    fn try_start(certificates: &Path, name: &str, options: &str, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let settings = folder.path().join("nginx.conf");
        fs::write(&settings, document(address, &certificates.join(name), options, more)).unwrap();
        let mut child = peer("nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-e", "error.log", "-c"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listens = eventually("nginx listens or ends", || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(address).is_ok().then_some(true),
        });
        listens.then_some(Self { address, child, _folder: folder })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn document(address: SocketAddr, certificate: &Path, options: &str, more: &str) -> String {
    let subject = if more.is_empty() { "" } else { "$ssl_client_s_dn" };
    let certificate = certificate.display();
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000;
    server {{
        listen {address} {options};
        ssl_certificate {certificate}.pem;
        ssl_certificate_key {certificate}.key;
        {more}
        location / {{ return 200 hello{subject}; }}
        location /protocol {{ return 200 $server_protocol; }}
    }}
}}
"
    )
}
