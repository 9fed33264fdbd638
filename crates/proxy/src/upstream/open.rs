//! A connection for a request: a kept one, a place on a shared one, or a fresh one.

use demilune_core::snapshot::Upstream;

use super::EndpointState;
use super::connect::{ConnectFailure, connect};
use super::connection::PooledConnection;
use super::pool::Opening;
use crate::worker::Worker;

/// A connection, and whether it was there before. Where HTTP/2 may be spoken, requests wait for a
/// connection that another one is opening already: it will have room for them.
pub(crate) async fn open(
    worker: &Worker,
    endpoint: &EndpointState,
    settings: &Upstream,
    websocket: bool,
) -> Result<(PooledConnection, bool), ConnectFailure> {
    let (pool, id) = (&worker.pool, endpoint.id);
    // WebSockets need a connection to themselves.
    let http2 = endpoint.http2 && !websocket;
    loop {
        if let Some(stream) = http2.then(|| pool.join(id)).flatten() {
            return Ok((PooledConnection::Http2(Box::new(stream)), true));
        }
        if let Some(connection) = pool.take(id) {
            return Ok((PooledConnection::Http1(connection), true));
        }
        let turn = if http2 { pool.opening(id) } else { Opening::Alone };
        let turn = match turn {
            Opening::Alone => None,
            Opening::Turn(turn) => Some(turn),
            Opening::Wait(mut other) => {
                if let Ok(told) = other.wait_for(Option::is_some).await
                    && let Some(Err(failure)) = &*told
                {
                    return Err(failure.clone());
                }
                continue;
            }
        };
        let on = (&worker.timers, &worker.background);
        let connected = match connect(endpoint, settings, on, http2).await {
            Ok(connected) => connected,
            Err(failure) => {
                if let Some(turn) = turn {
                    turn.tell(Err(failure.clone()));
                }
                return Err(failure);
            }
        };
        if http2 {
            pool.learn(id, &connected);
        }
        let connection = connected.begin();
        if let Some(turn) = turn {
            turn.tell(Ok(()));
        }
        let taken = "the endpoint takes no request on a new connection";
        let connection = connection.ok_or_else(|| ConnectFailure::Http2(taken.to_owned()))?;
        return Ok((connection, false));
    }
}
