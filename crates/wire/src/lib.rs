//! HTTP/1.1 as bytes, for both sides of a gateway: strict parsing and writing, no I/O.
//!
//! What two careful readers could understand differently is refused, each kind of fault with its
//! own [`Refusal`]; what is accepted has one meaning, and is written again from that meaning:
//! never a byte of the peer's framing is passed on. Follows RFC 9110 and RFC 9112; where these let
//! a recipient be lenient, it is not.
//!
//! A message is read in steps: [`HeadFinder`] says where its head ends, [`parse_request`] or
//! [`parse_response`] reads it, and by its [`BodyLength`] the body is so many bytes, or what
//! [`ChunkedDecoder`] makes of them. None of them cares how the bytes were cut on their way.

#![warn(missing_docs)]

mod chunked;
mod class;
mod connection;
mod field;
mod find;
mod framing;
mod name;
mod refusal;
mod request;
mod response;
mod write;

pub use chunked::{Chunk, ChunkedDecoder, is_forbidden_trailer};
pub use find::{HeadFinder, HeadLimits};
pub use framing::BodyLength;
pub use name::looks_alike;
pub use refusal::Refusal;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use write::{
    CHUNK_END, Framing, LAST_CHUNK, Persistence, write_chunk_head, write_last_chunk, write_request,
    write_response,
};
