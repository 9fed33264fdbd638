//! What we accept, other parsers accept too, and read alike: httparse, which hyper is built on, and
//! nginx, which shares no line with either of us.
//!
//! A corpus of seeds is mutated with a fixed seed. What we refuse is nobody's concern here: being
//! stricter is the point. Each exception to "alike" stands in the code with its reason.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports what it finds by panicking"
)]

mod httparse_reads;
mod nginx;
mod nginx_reads;
mod nginx_relays;
mod seeds;

use bytes::{Bytes, BytesMut};
use demilune_wire::{
    BodyLength, Chunk, ChunkedDecoder, HeadFinder, HeadLimits, RequestHead, ResponseHead,
    parse_request, parse_response,
};
use http::Method;

const LIMITS: HeadLimits = HeadLimits { line: 2000, size: 4000, fields: 40 };

/// A message that we accept as a whole.
struct Message<H> {
    head: H,
    /// Its body, without its framing.
    body: Vec<u8>,
    /// Bytes of the message, without what follows it.
    length: usize,
}

/// The head's end and the head, where we accept it.
fn head<H>(bytes: &[u8], parse: impl Fn(Bytes) -> Option<H>) -> Option<(usize, H)> {
    let end = HeadFinder::default().find(bytes, &LIMITS).ok()??;
    Some((end, parse(Bytes::copy_from_slice(&bytes[..end]))?))
}

/// The body after a head, and its length on the wire, where all of it is there.
fn body(rest: &[u8], length: BodyLength) -> Option<(Vec<u8>, usize)> {
    match length {
        BodyLength::Known(length) => {
            let length = usize::try_from(length).ok()?;
            Some((rest.get(..length)?.to_vec(), length))
        }
        BodyLength::UntilClose => Some((rest.to_vec(), rest.len())),
        BodyLength::Chunked => {
            let mut buffer = BytesMut::from(rest);
            let mut decoder = ChunkedDecoder::new();
            let mut body = Vec::new();
            loop {
                match decoder.decode(&mut buffer).ok()? {
                    Chunk::Pending => return None,
                    Chunk::Data(data) => body.extend_from_slice(&data),
                    Chunk::End(_) => return Some((body, rest.len() - buffer.len())),
                }
            }
        }
    }
}

fn request(bytes: &[u8]) -> Option<Message<RequestHead>> {
    let (end, head) = head(bytes, |head| parse_request(head, &LIMITS).ok())?;
    let (body, length) = body(&bytes[end..], head.body)?;
    Some(Message { head, body, length: end + length })
}

fn answer(bytes: &[u8]) -> Option<Message<ResponseHead>> {
    let (end, head) = head(bytes, |head| parse_response(head, &Method::GET, &LIMITS).ok())?;
    let (body, length) = body(&bytes[end..], head.body)?;
    Some(Message { head, body, length: end + length })
}
