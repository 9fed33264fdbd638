//! Opening a connection to an endpoint: name, TCP, TLS, each under the connect deadline.

use std::io;
use std::time::Duration;

use demilune_core::snapshot::Upstream;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::EndpointState;
use super::pool::PooledConnection;
use crate::http::{Stream, UpstreamConnection};
use crate::timer::Timers;

/// Why no connection could be made. In each case nothing of the request was sent.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// The name is unknown, or the address refused.
    Unreachable(String),
    /// The deadline passed.
    TimedOut,
    /// The certificate did not verify, or the handshake failed.
    Tls(String),
}

impl ConnectFailure {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason) | Self::Tls(reason) => reason,
            Self::TimedOut => "the connect deadline passed",
        }
    }
}

/// Opens a connection for HTTP/1.1.
pub(crate) async fn connect(
    state: &EndpointState,
    settings: &Upstream,
    timers: &Timers,
) -> Result<PooledConnection, ConnectFailure> {
    let stream = within(settings.connect_timeout, tcp(state)).await?;
    let _ = stream.set_nodelay(true);
    let stream = match &state.tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            let name = settings.tls.server_name.as_deref().unwrap_or(&state.endpoint.host);
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| ConnectFailure::Tls("not a name that can be verified".to_owned()))?;
            let connector = TlsConnector::from(std::sync::Arc::clone(&tls.config));
            let handshake = async { connector.connect(name, stream).await.map_err(tls_failure) };
            let stream = within(settings.connect_timeout, handshake).await?;
            Stream::Tls(Box::new(stream.into()))
        }
    };
    Ok(UpstreamConnection::new(stream, timers))
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
