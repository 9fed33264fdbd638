//! WebSockets: after the upstream agreed, bytes go both ways until one side ends or both fall
//! silent.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use demilune_core::record::End;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::closing::Closing;
use crate::http::Upgrading;
use crate::upstream::Lease;

/// How long one side may go on after the other has ended. A WebSocket is closed by frames before
/// its connections are (RFC 6455 section 7.1.1): there is little left to say.
const FAREWELL: Duration = Duration::from_secs(1);

/// Two connections that are to become one tunnel.
pub(crate) struct Tunnel {
    pub(crate) client: Upgrading,
    pub(crate) lease: Lease,
    pub(crate) idle: Duration,
}

impl Tunnel {
    /// Runs it as a task of the worker; the exchange is closed when it ends.
    pub(crate) fn run(self, mut closing: Box<Closing>) {
        let clients = closing.worker().clients.clone();
        clients.spawn(async move {
            let Self { client, lease, idle } = self;
            let Some(client) = client.finish().await else { return };
            let Some((upstream, _under_way)) = lease.into_begun() else { return };
            let received = Rc::clone(closing.received());
            let sent = Cell::new(0_u64);
            // Nobody can tell a tunnel to finish what it is doing: in a drain it has until the
            // deadline.
            let end = join(client, upstream, &received, &sent, idle).await;
            closing.sent(sent.get());
            closing.ended(end);
        });
    }
}

async fn join(
    client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    received: &Cell<u64>,
    sent: &Cell<u64>,
    idle: Duration,
) -> End {
    let (client_in, client_out) = tokio::io::split(client);
    let (upstream_in, upstream_out) = tokio::io::split(upstream);
    let both = async {
        let up = pump(client_in, upstream_out, received, End::ClientLeft, End::UpstreamCut);
        let down = pump(upstream_in, client_out, sent, End::UpstreamCut, End::ClientLeft);
        let (mut up, mut down) = (pin!(up), pin!(down));
        let (ended, client_ended) = tokio::select! {
            ended = up.as_mut() => (ended, true),
            ended = down.as_mut() => (ended, false),
        };
        ended?;
        let other = async { if client_ended { down.await } else { up.await } };
        tokio::time::timeout(FAREWELL, other).await.unwrap_or(Ok(()))
    };
    let silent = async {
        loop {
            let before = (received.get(), sent.get());
            tokio::time::sleep(idle).await;
            if before == (received.get(), sent.get()) {
                return;
            }
        }
    };
    tokio::select! {
        ended = both => match ended {
            Ok(()) => End::Complete,
            Err(end) => end,
        },
        () = silent => End::UpstreamCut,
    }
}

/// Copies until the end of `from`, and tells `to` of it. What a failure means depends on whose
/// side it is.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &Cell<u64>,
    cannot_read: End,
    cannot_write: End,
) -> Result<(), End> {
    let mut buffer = vec![0_u8; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| cannot_read)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await.map_err(|_| cannot_write);
        };
        to.write_all(bytes).await.map_err(|_| cannot_write)?;
        to.flush().await.map_err(|_| cannot_write)?;
        count.set(count.get().saturating_add(u64::try_from(read).unwrap_or(u64::MAX)));
    }
}
