//! Opening a connection to an endpoint: name, TCP, TLS, each under the connect deadline.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use demilune_core::snapshot::Upstream;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::Connected;
use super::pool::{PooledConnection, SharedConnection};
use super::{EndpointState, Place};
use crate::http::{Http2Connection, Stream, UpstreamConnection};
use crate::timer::Timers;
use crate::worker::Tasks;

/// Why no connection could be made. In each case nothing of the request was sent.
#[derive(Debug, Clone)]
pub(crate) enum ConnectFailure {
    /// The name has no address, or nobody answered at any.
    Unreachable(String),
    /// The deadline passed.
    TimedOut,
    /// The certificate did not verify, or the handshake failed.
    Tls(String),
    /// It does not speak HTTP/2, though it said so, or the document does.
    Http2(String),
}

impl ConnectFailure {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason) | Self::Tls(reason) | Self::Http2(reason) => reason,
            Self::TimedOut => "the connect deadline passed",
        }
    }
}

/// Opens a connection; for HTTP/2 where that is wanted and, within TLS, chosen. One of `tasks`
/// then drives it.
pub(crate) async fn connect(
    state: &EndpointState,
    settings: &Upstream,
    (timers, tasks): (&Timers, &Tasks),
    http2: bool,
) -> Result<Connected, ConnectFailure> {
    let (stream, ip) = tcp(state, settings.connect_timeout).await?;
    let _ = stream.set_nodelay(true);
    let (stream, http2) = match &state.tls {
        None => (Stream::Plain(stream), http2),
        Some(tls) => {
            let name = settings.tls.server_name.as_deref().unwrap_or(&state.endpoint.host);
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| ConnectFailure::Tls("not a name that can be verified".to_owned()))?;
            let config = tls.with_http2.as_ref().filter(|_| http2).unwrap_or(&tls.config);
            let connector = TlsConnector::from(std::sync::Arc::clone(config));
            let handshake = async { connector.connect(name, stream).await.map_err(tls_failure) };
            let stream = within(settings.connect_timeout, handshake).await?;
            let chosen = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Stream::Tls(Box::new(stream.into())), chosen)
        }
    };
    if !http2 {
        let wire = UpstreamConnection::new(stream, timers);
        let connection = PooledConnection::new(wire, ip, timers.now());
        return Ok(Connected::Http1(Box::new(connection)));
    }
    let opening = async {
        let wire = Http2Connection::open(stream, timers, tasks).await;
        let wire = wire.map_err(ConnectFailure::Http2)?;
        Ok(Connected::Http2(SharedConnection::new(wire, ip, timers.now())))
    };
    within(settings.connect_timeout, opening).await
}

/// One address after the other, where the endpoint has several: each has its share of `limit`.
async fn tcp(
    state: &EndpointState,
    limit: Duration,
) -> Result<(TcpStream, IpAddr), ConnectFailure> {
    let name = match &state.place {
        Place::Address(ip) => return within(limit, open(*ip, state.endpoint.port)).await,
        Place::Name(name) => name,
    };
    let all = async {
        let candidates = name.candidates().await.map_err(|reason| {
            ConnectFailure::Unreachable(format!("`{}` has no address: {reason}", name.host()))
        })?;
        let share = limit / u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
        let mut last = ConnectFailure::TimedOut;
        for ip in candidates {
            let result = within(share, open(ip, state.endpoint.port)).await;
            name.tried(ip, result.is_ok());
            match result {
                Ok(connected) => return Ok(connected),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    };
    within(limit, all).await
}

async fn open(ip: IpAddr, port: u16) -> Result<(TcpStream, IpAddr), ConnectFailure> {
    match TcpStream::connect((ip, port)).await {
        Ok(stream) => Ok((stream, ip)),
        Err(error) => Err(ConnectFailure::Unreachable(error.to_string())),
    }
}

fn tls_failure(error: io::Error) -> ConnectFailure {
    ConnectFailure::Tls(error.to_string())
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, ConnectFailure>>,
) -> Result<T, ConnectFailure> {
    tokio::time::timeout(limit, step).await.unwrap_or(Err(ConnectFailure::TimedOut))
}
