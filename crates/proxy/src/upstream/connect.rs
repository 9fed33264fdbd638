//! Opening a connection to an endpoint: name, TCP, TLS, each under the connect deadline.

use std::io;
use std::time::Duration;

use demilune_core::snapshot::Upstream;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::EndpointState;
use super::connection::Connected;
use crate::http::{Http2Connection, Stream, UpstreamConnection};
use crate::timer::Timers;
use crate::worker::Tasks;

/// Why no connection could be made. In each case nothing of the request was sent.
#[derive(Debug, Clone)]
pub(crate) enum ConnectFailure {
    /// The name is unknown, or the address refused.
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
    let stream = within(settings.connect_timeout, tcp(state)).await?;
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
        return Ok(Connected::Http1(Box::new(UpstreamConnection::new(stream, timers))));
    }
    let opening = async {
        let opened = Http2Connection::open(stream, timers, tasks).await;
        opened.map(Connected::Http2).map_err(ConnectFailure::Http2)
    };
    within(settings.connect_timeout, opening).await
}

async fn tcp(state: &EndpointState) -> Result<TcpStream, ConnectFailure> {
    TcpStream::connect((&*state.endpoint.host, state.endpoint.port))
        .await
        .map_err(|error| ConnectFailure::Unreachable(error.to_string()))
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
