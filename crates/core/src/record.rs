//! The closed exchange: everything that is known of it, for telemetry to read.

use std::time::Duration;

use crate::consumer::Identity;
use crate::head::{Downstream, RequestId};
use crate::time::Moment;
use crate::trail::Trail;

/// Facts, trail and timings of one exchange that has ended, however it ended. Header values,
/// bodies and queries are not in it: that is where secrets are.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The exchange's id.
    pub id: RequestId,
    /// When it began.
    pub started: Moment,
    /// From the first byte of the head understood to the last byte of the answer handed over.
    pub duration: Duration,
    /// Until the request had passed all policies (or was refused).
    pub admitted_after: Duration,
    /// Who connected.
    pub downstream: &'a Downstream,
    /// `HTTP/1.1` or such; empty where the head could not be parsed.
    pub version: &'static str,
    /// Empty where the head could not be parsed.
    pub method: &'a str,
    /// Empty where the head could not be parsed.
    pub host: &'a str,
    /// The canonical path without the query; as received where it was refused.
    pub path: &'a str,
    /// What the client says it is.
    pub user_agent: &'a str,
    /// The status sent; 0 where the client left before any was. For a refusal that a gRPC caller
    /// was told as `grpc-status`, the one that everybody else is told.
    pub status: u16,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// Who was calling.
    pub identity: Option<&'a Identity>,
    /// Every decision.
    pub trail: &'a Trail,
    /// Where it was sent.
    pub attempt: Option<Attempt<'a>>,
    /// Bytes of the request's body read from the client.
    pub received: u64,
    /// Bytes of the answer's body handed to the client's connection.
    pub sent: u64,
    /// How the answer ended.
    pub end: End,
}

/// What is known of the exchange with an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// The endpoint that was used last.
    pub endpoint: &'a str,
    /// How many endpoints were tried.
    pub attempts: u32,
    /// From sending the request to the answer's head.
    pub head_after: Duration,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The whole answer was handed over.
    Complete,
    /// The upstream's body broke off; the client was shown that it did.
    UpstreamCut,
    /// We cut it off: a hook refused the rest, or its content coding could not be undone. The
    /// client was shown that it is cut.
    Cut,
    /// The client left first.
    ClientLeft,
}

impl End {
    /// Its word in the access log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::UpstreamCut => "upstream_cut",
            Self::Cut => "cut",
            Self::ClientLeft => "client_left",
        }
    }
}
