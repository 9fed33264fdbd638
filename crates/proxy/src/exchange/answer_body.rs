//! Bodies of answers that hooks look at: made readable first, and read whole where a hook wants
//! that. Nothing of such an answer leaves before its whole-body hooks have passed it.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use demilune_core::chain::ResponseNeed;
use demilune_core::pipeline::response_too_large;
use demilune_core::{Body, Denial, Ending, ResponseHead, Stage};
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::Job;
use super::closing::Closing;
use super::decode::{DecodeFailure, Decoder, Pulled, RATIO_FREE};
use super::download::Download;
use super::filtered::Filtered;
use super::metered::Refusal;
use crate::http::STALLED;
use crate::upstream::Lease;

/// An answer's body on its way in.
pub(super) struct Incoming {
    pub(super) lease: Lease,
    pub(super) idle: Duration,
    /// As the upstream declared it.
    pub(super) length: Option<u64>,
    /// Why the request's body, which may still be on its way, was refused.
    pub(super) refusal: Refusal,
}

/// Passes an answer's body by the hooks, and gives what the client gets with its length, where
/// that is known. `head` then says what is true of it.
pub(super) async fn pass(
    job: &Job,
    closing: &mut Closing,
    head: &mut ResponseHead,
    incoming: Incoming,
    need: ResponseNeed,
) -> Result<(Download, Option<u64>), Ending> {
    let chain = &job.route.chain;
    if is_partial(head) {
        let public = "the upstream answered with a part of what it was asked for";
        return Err(refuse(closing, bad("response.partial", public)));
    }
    head.headers.remove(ACCEPT_RANGES);
    let decoder = Decoder::new(codings(&head.headers));
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status)
        || job.head.method == Method::HEAD;
    if bodiless {
        let Incoming { lease, idle, length, refusal } = incoming;
        let as_it_was = describe_unseen(head, chain.rewrites_response_body());
        return Ok((Download::streamed(lease, idle, refusal), length.filter(|_| as_it_was)));
    }
    let decoder = decoder.map_err(|failure| refuse(closing, undone(failure)))?;
    if decoder.is_coded() {
        describe(&mut head.headers, Change::Decoded);
    } else {
        // `identity` is no coding, though some write it.
        head.headers.remove(CONTENT_ENCODING);
    }
    let request = job.request(closing);
    let worker = Rc::clone(closing.worker());
    let limit = match need {
        ResponseNeed::Whole(limit) => limit,
        ResponseNeed::Chunks => {
            let exchange = closing.exchange_mut();
            let chunks = exchange.begin_response_chunks(chain, request, head, worker.clock())?;
            if chunks.is_empty() && !decoder.is_coded() {
                let Incoming { lease, idle, length, refusal } = incoming;
                return Ok((Download::streamed(lease, idle, refusal), length));
            }
            if chunks.may_rewrite() {
                describe(&mut head.headers, Change::Rewritten);
            }
            // Without a length even where the upstream declared one: its framing then shows the
            // client an answer that is cut off, and the hooks see the end before the client does.
            let filtered = Filtered::new(incoming, decoder, chunks, closing);
            return Ok((Download::filtered(filtered), None));
        }
    };
    let whole = collect(incoming, decoder, limit).await.map_err(|d| refuse(closing, d))?;
    let body = Body { decoded: whole.clone() };
    let exchange = closing.exchange_mut();
    let body = exchange.pass_response_body(chain, request, head, body, worker.clock()).await?;
    if body.decoded != whole {
        describe(&mut head.headers, Change::Rewritten);
    }
    let length = u64::try_from(body.decoded.len()).ok();
    Ok((Download::whole(body.decoded, None), length))
}

/// Reads a body whole, and undoes its content codings as it comes.
async fn collect(
    incoming: Incoming,
    mut decoder: Decoder,
    limit: u64,
) -> Result<Bytes, Box<Denial>> {
    let Incoming { mut lease, idle, length, refusal: _ } = incoming;
    // A coded body may be longer than what comes of it, but not by much.
    let most = if decoder.is_coded() { limit.saturating_add(RATIO_FREE) } else { limit };
    if length.is_some_and(|length| length > most) {
        return Err(Box::new(response_too_large()));
    }
    let (mut received, mut first, mut more) = (0_u64, Bytes::new(), BytesMut::new());
    loop {
        match decoder.pull().map_err(undone)? {
            Pulled::End => break,
            Pulled::Piece(piece) => {
                // One chunk, the usual case where nothing is coded, is not copied.
                if first.is_empty() && more.is_empty() {
                    first = piece;
                } else {
                    more.extend_from_slice(&std::mem::take(&mut first));
                    more.extend_from_slice(&piece);
                }
                if u64::try_from(first.len().max(more.len())).unwrap_or(u64::MAX) > limit {
                    return Err(Box::new(response_too_large()));
                }
            }
            Pulled::More => match next(&mut lease, idle).await? {
                None => decoder.end(),
                Some(data) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    received = received.saturating_add(length);
                    if received > most {
                        return Err(Box::new(response_too_large()));
                    }
                    decoder.push(data);
                }
            },
        }
    }
    lease.release();
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// The next bytes of a body; `None` at its end.
async fn next(lease: &mut Lease, idle: Duration) -> Result<Option<Bytes>, Box<Denial>> {
    let data = std::future::poll_fn(|cx| lease.connection.poll_data(cx, idle)).await;
    data.transpose().map_err(|error| match error.code {
        Some(STALLED) => stalled(),
        _ => Box::new(bad(CUT, "the upstream broke its answer off").log(error.reason)),
    })
}

fn stalled() -> Box<Denial> {
    Box::new(bad(STALLED, "the upstream's answer did not come to its end in time"))
}

/// The upstream broke its answer off.
const CUT: &str = "response.cut";

fn refuse(closing: &mut Closing, denial: impl Into<Box<Denial>>) -> Ending {
    let denial = denial.into();
    match denial.code {
        CUT | STALLED => closing.refuse("upstream", Stage::Upstream, *denial),
        _ => closing.refuse("response", Stage::Response, *denial),
    }
}

fn bad(code: &'static str, public: &'static str) -> Denial {
    Denial::new(StatusCode::BAD_GATEWAY, code, public)
}

/// The refusal of an answer whose content coding cannot be undone.
pub(super) fn undone(failure: DecodeFailure) -> Box<Denial> {
    Box::new(match failure {
        DecodeFailure::TooLarge => response_too_large(),
        DecodeFailure::Unknown => {
            bad("response.coding", "the upstream's answer is in a content coding that is not read")
        }
        DecodeFailure::Broken => {
            let public = "the upstream's answer is not what its content coding says";
            bad("response.broken_coding", public)
        }
    })
}

fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes)
}

/// Whether an answer is a part of something, or the difference to something (RFC 3229), though
/// nobody asked for that: a hook would not see what it is a part of.
fn is_partial(head: &ResponseHead) -> bool {
    [StatusCode::PARTIAL_CONTENT, StatusCode::IM_USED].contains(&head.status)
        || head.headers.contains_key(CONTENT_RANGE)
}

/// What was done to a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Its content coding was undone: another representation of the same.
    Decoded,
    /// A hook changed it: the upstream never had it.
    Rewritten,
}

/// What describes the bytes that the upstream sent, and no others.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("content-md5"),
];

/// Takes out of a head what is no longer true of its body.
///
/// A strong `ETag` names one sequence of bytes (RFC 9110 section 8.8.1), so that it cannot stay
/// strong for bytes decoded. The weak one still says which state of the resource they are: the
/// upstream compares `If-None-Match` weakly (section 13.1.2) and may answer 304. What a hook
/// changed the upstream has no name for: such an answer has none.
fn describe(headers: &mut HeaderMap, change: Change) {
    headers.remove(CONTENT_ENCODING);
    for name in DIGESTS {
        headers.remove(name);
    }
    let mut tags = headers.get_all(ETAG).iter();
    let weak = match (change, tags.next(), tags.next()) {
        (Change::Decoded, Some(tag), None) if tag.as_bytes().starts_with(b"W/") => return,
        (Change::Decoded, Some(tag), None) => {
            HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()
        }
        _ => None,
    };
    headers.remove(ETAG);
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// As [`describe`], where the answer has no body but describes one: the one that `GET` would get,
/// or the one that the client has. Gives whether its length is still true.
fn describe_unseen(head: &mut ResponseHead, may_be_rewritten: bool) -> bool {
    let coded = head.headers.contains_key(CONTENT_ENCODING);
    let change = match head.status {
        // What the client has, it has under the weak tag or under one that was left as it is: the
        // weak one fits both (RFC 9111 section 4.3.4).
        StatusCode::NOT_MODIFIED => Change::Decoded,
        _ if may_be_rewritten => Change::Rewritten,
        _ if coded => Change::Decoded,
        _ => return true,
    };
    describe(&mut head.headers, change);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(fields: &[(&'static str, &'static str)], change: Change) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        describe(&mut headers, change);
        let tell = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        headers.iter().map(tell).collect()
    }

    #[test]
    fn a_head_says_what_is_true_of_its_body() {
        let all = [
            ("vary", "accept-encoding"),
            ("content-encoding", "gzip"),
            ("digest", "x"),
            ("content-digest", "x"),
            ("repr-digest", "x"),
            ("content-md5", "x"),
            ("etag", "\"a\""),
        ];
        let vary = "vary: accept-encoding";
        assert_eq!(described(&all, Change::Decoded), [vary, "etag: W/\"a\""]);
        assert_eq!(described(&all, Change::Rewritten), [vary]);
        assert_eq!(described(&[("etag", "W/\"a\"")], Change::Decoded), ["etag: W/\"a\""]);
        let two = [("etag", "\"a\""), ("etag", "\"b\"")];
        assert!(described(&two, Change::Decoded).is_empty());
    }
}
