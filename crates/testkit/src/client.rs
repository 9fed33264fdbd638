//! A client for HTTP/1.1 whose every byte a test decides.

use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};

use crate::certificate::Authority;
use crate::wire::Wire;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
    /// Whether the body came to its declared end.
    pub whole: bool,
}

impl Reply {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter().filter(|(n, _)| n == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One connection; what can be done with its bytes is a [`Wire`]'s.
pub struct Client {
    wire: Wire,
}

impl Deref for Client {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

impl Client {
    /// Connects.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::new(TcpStream::connect(address).unwrap()) }
    }

    /// Connects by TLS to the server `name`, whom `authority` vouches for. Gives the group that
    /// keys were exchanged in, too.
    #[must_use]
    pub fn connect_tls(
        address: SocketAddr,
        name: &str,
        authority: &Authority,
    ) -> (Self, NamedGroup) {
        Self::connect_alpn(address, name, authority, &[])
    }

    /// [`Self::connect_tls`], with these protocols offered by ALPN.
    #[must_use]
    pub fn connect_alpn(
        address: SocketAddr,
        name: &str,
        authority: &Authority,
        protocols: &[&str],
    ) -> (Self, NamedGroup) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = TcpStream::connect(address).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        let group = session.negotiated_key_exchange_group().unwrap().name();
        let wire = Wire::over(tcp, |tcp| Box::new(StreamOwned::new(session, tcp)));
        (Self { wire }, group)
    }

    /// Sends `GET path` and reads the answer.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", path, headers, None)
    }

    /// Sends a request and reads the answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        let length = body.map(|body| body.len().to_string());
        let mut all = headers.to_vec();
        all.extend(length.as_deref().map(|length| ("content-length", length)));
        self.begin(method, path, &all);
        self.send(body.unwrap_or_default());
        self.read(method == "HEAD").expect("an answer")
    }

    /// Sends the head of a request; its body, if the headers announce one, is up to the test.
    pub fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str("host: api.example.com\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text);
    }

    /// Reads an answer; `None` where the connection ends before its head does. Interim answers
    /// are skipped.
    pub fn read(&mut self, head_only: bool) -> Option<Reply> {
        loop {
            let mut reply = self.head()?;
            if reply.status >= 200 || reply.status == 101 {
                if !head_only {
                    self.read_body(&mut reply);
                }
                return Some(reply);
            }
        }
    }

    /// Reads the head of one answer, an interim one too; its body is up to the test.
    pub fn head(&mut self) -> Option<Reply> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let headers = self.headers()?;
        Some(Reply { status, headers, body: Vec::new(), whole: true })
    }

    fn read_body(&mut self, reply: &mut Reply) {
        if matches!(reply.status, 101 | 204 | 304) {
            return;
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.whole = loop {
                match self.chunk() {
                    Some(chunk) if chunk.is_empty() => break true,
                    Some(chunk) => reply.body.extend_from_slice(&chunk),
                    None => break false,
                }
            };
        } else if let Some(length) = reply.header("content-length").and_then(|l| l.parse().ok()) {
            reply.body = self.up_to(length);
            reply.whole = u64::try_from(reply.body.len()).ok() == Some(length);
        } else {
            reply.body = self.rest();
        }
    }
}
