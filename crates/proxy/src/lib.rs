//! The data plane: listeners, TLS, HTTP, routing, bodies, upstreams. It drives core's pipeline
//! and does not know the name of any policy.
//!
//! Each worker is one thread with its own runtime, its own sockets (`SO_REUSEPORT`) and its own
//! pool of upstream connections: an exchange never leaves the core it began on.

#![warn(missing_docs)]

mod curfew;
mod exchange;
mod generation;
mod http;
mod hygiene;
mod listener;
mod pace;
mod plane;
mod pressure;
mod timer;
mod tls;
mod upstream;
mod worker;

pub use generation::Problem;
pub use http::{SimpleRequest, SimpleResponse, serve_simple};
pub use plane::{Applied, Plane, PlaneSettings};
pub use pressure::watch_memory;
pub use upstream::watch_upstreams;

use demilune_core::{Moment, Snapshot};

/// Parsers of outside bytes, for the fuzz targets only.
#[doc(hidden)]
pub mod fuzz {
    use std::net::{IpAddr, SocketAddr};

    use demilune_core::snapshot::TrustedProxies;

    /// The length and the source of the PROXY protocol's header that `bytes` begin with; `None`
    /// where more are needed.
    ///
    /// # Errors
    /// Where they cannot become one.
    #[expect(clippy::result_unit_err, reason = "whether it is refused is all that is asked")]
    pub fn proxy_header(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, ()> {
        let found = crate::listener::proxy_protocol::parse(bytes).map_err(|_| ())?;
        Ok(found.map(|header| (header.length, header.source)))
    }

    /// The client and the hops that the lines of a header name; `None` where they are refused.
    #[must_use]
    pub fn walk(
        trusted: &TrustedProxies,
        peer: IpAddr,
        lines: &[&[u8]],
    ) -> Option<(IpAddr, Vec<IpAddr>)> {
        let lines = lines.iter().rev().copied();
        let walked = crate::listener::forwarded::walk(trusted, peer, lines).ok()?;
        Some((walked.client, walked.hops))
    }

    /// The length of `body` after the codings that `field` names were undone; `None` where it is
    /// refused.
    #[must_use]
    pub fn decode(body: &[u8], field: &[u8], limit: u64) -> Option<usize> {
        let body = bytes::Bytes::copy_from_slice(body);
        crate::exchange::decode(&body, std::iter::once(field), limit).ok().map(|b| b.len())
    }

    /// As [`decode`], where the body comes in pieces of `piece` bytes.
    #[must_use]
    pub fn decode_pieces(body: &[u8], field: &[u8], limit: u64, piece: usize) -> Option<usize> {
        use crate::exchange::{Decoder, Pulled};
        let mut decoder = Decoder::new(std::iter::once(field)).ok()?;
        let coded = decoder.is_coded();
        let mut length = 0;
        let mut pieces = body.chunks(piece.max(1));
        loop {
            match decoder.pull().ok()? {
                Pulled::Piece(piece) => length += piece.len(),
                Pulled::More => match pieces.next() {
                    Some(piece) => decoder.push(bytes::Bytes::copy_from_slice(piece)),
                    None => decoder.end(),
                },
                Pulled::End => return Some(length),
            }
            if coded && u64::try_from(length).ok()? > limit {
                return None;
            }
        }
    }

    /// What is found in frames of HTTP/2 that come in these pieces: the streams that begin, and
    /// the code of the flood that they are, if they are one.
    #[must_use]
    pub fn frames<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<u32>, Option<&'static str>) {
        crate::http::frames(pieces)
    }
}

/// Checks what only the data plane can: that certificates, keys and authorities are usable, at
/// `now`. Gives what works, but somebody should look at, such as a certificate that has expired.
///
/// # Errors
/// All problems, each with the place in the document.
pub fn check(
    snapshot: &std::sync::Arc<Snapshot>,
    now: Moment,
) -> Result<Vec<Problem>, Vec<Problem>> {
    let generation = generation::Generation::prepare(std::sync::Arc::clone(snapshot), None, now);
    generation.map(|generation| generation.warnings)
}
