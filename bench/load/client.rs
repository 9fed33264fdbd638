//! A client that asks one thing after another on a connection of its own.

use std::fmt::{self, Formatter};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, version,
};

use super::Result;

/// After so long without a byte the other end has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// No head of an answer is longer.
const HEAD: usize = 16 * 1024;

/// A connection to the subject of the measurement.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub(crate) fn plain(port: u16) -> Result<Self> {
        Ok(Self::Plain(connect(port)?))
    }

    /// Connects and completes the handshake, on our side at least.
    pub(crate) fn tls(port: u16, config: &Arc<ClientConfig>) -> Result<Self> {
        let mut tcp = connect(port)?;
        let name = ServerName::try_from("localhost")?;
        let mut tls = ClientConnection::new(Arc::clone(config), name)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// Says goodbye and waits for the other end to close, so that it has seen the whole handshake.
    pub(crate) fn close(mut self) -> Result<()> {
        if let Self::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        let mut rest = [0; 4096];
        loop {
            match self.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads one answer, whose length must be stated; gives its status.
    pub(crate) fn answer(&mut self) -> Result<u16> {
        let mut head = Vec::with_capacity(HEAD);
        let mut chunk = [0; 4096];
        let end = loop {
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let count = self.read(&mut chunk)?;
            if count == 0 || head.len() > HEAD {
                return Err(format!("no answer after {} bytes", head.len()).into());
            }
            head.extend_from_slice(chunk.get(..count).unwrap_or_default());
        };
        let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default()).to_lowercase();
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.ok_or("an answer without a length")?.trim().parse()?;
        let mut left = length.saturating_sub(head.len() - end);
        while left > 0 {
            let count = self.read(&mut chunk)?;
            if count == 0 {
                return Err("a cut answer".into());
            }
            left = left.saturating_sub(count);
        }
        Ok(status.ok_or("an answer without a status")?)
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    Ok(tcp)
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// TLS 1.3 with this one key exchange, and every handshake a full one.
pub(crate) fn tls_config(group: &str) -> Result<Arc<ClientConfig>> {
    let group: &'static dyn SupportedKxGroup = match group {
        "x25519" => aws_lc_rs::kx_group::X25519,
        "x25519mlkem768" => aws_lc_rs::kx_group::X25519MLKEM768,
        _ => return Err(format!("`{group}` is no key exchange known here").into()),
    };
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    let provider = Arc::new(provider);
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes any certificate: it was made for this measurement a moment ago, and nothing is secret.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(if matches!(self, Self::Plain(_)) { "plain" } else { "tls" })
    }
}
