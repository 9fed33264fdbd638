//! A connection for a request: a kept one, a place on a shared one, or a fresh one.

use std::sync::Arc;

use demilune_core::snapshot::Upstream;

use super::EndpointState;
use super::connect::{ConnectFailure, connect};
use super::connection::{Carried, Connected};
use super::pool::Opening;
use crate::worker::Worker;

/// For whom a connection is wanted: the endpoint, and whether it is to become a WebSocket, which
/// needs one to itself.
type On<'a> = (&'a Worker, &'a Arc<EndpointState>, bool);

/// A connection that is there.
pub(crate) fn find((worker, endpoint, websocket): On<'_>) -> Option<Carried> {
    let (pool, id) = (&worker.pool, endpoint.id);
    if endpoint.http2
        && !websocket
        && let Some(stream) = pool.join(id)
    {
        return Some(Carried::Http2(Box::new(stream)));
    }
    pool.take(id).map(Carried::Http1)
}

/// A connection, and whether it was there before. Where HTTP/2 may be spoken, requests wait for a
/// connection that another one is opening already: it will have room for them.
pub(crate) async fn open(
    on: On<'_>,
    settings: &Upstream,
) -> Result<(Carried, bool), ConnectFailure> {
    let (worker, endpoint, websocket) = on;
    let (pool, id) = (&worker.pool, endpoint.id);
    let http2 = endpoint.http2 && !websocket;
    loop {
        if let Some(connection) = find(on) {
            return Ok((connection, true));
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
        let mut connected = match connect(endpoint, settings, on, http2).await {
            Ok(connected) => connected,
            Err(failure) => {
                if let Some(turn) = turn {
                    turn.tell(Err(failure.clone()));
                }
                return Err(failure);
            }
        };
        if http2 {
            pool.learn(endpoint, settings.keep_alive, &connected);
        }
        if let Connected::Http1(connection) = &mut connected
            && !connection.is_unspoken()
        {
            let reason = "it spoke before it was asked".to_owned();
            return Err(ConnectFailure::Unreachable(reason));
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
