//! Field lines (RFC 9112 section 5): of requests, of answers and of trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Refusal;
use crate::class;
use crate::name::{self, Kind};

/// Room left in a map for the fields that a gateway adds.
const ROOM: usize = 4;
/// Bytes of an ordinary field line. Fewer than most, so that a map seldom has to grow.
const ORDINARY: usize = 40;

/// Reads the fields that begin at `at`, up to the empty line, which must be the end of `head`.
/// `judge` sees each field: its kind, its name as it is written, its value.
///
/// Every byte is looked at once for what it is, and values once more by [`HeaderValue`].
pub(crate) fn parse(
    head: &Bytes,
    mut at: usize,
    limit: usize,
    mut judge: impl FnMut(Kind, &[u8], &[u8]) -> Result<(), Refusal>,
) -> Result<HeaderMap, Refusal> {
    let bytes: &[u8] = head;
    let expected = bytes.len().saturating_sub(at) / ORDINARY;
    let mut map = HeaderMap::with_capacity(expected.min(limit) + ROOM);
    let mut count = 0;
    loop {
        let line = bytes.get(at..).unwrap_or_default();
        let (name, raw) = match class::name_end(line).and_then(|end| line.split_at_checked(end)) {
            Some((name, [b':', raw @ ..])) => (name, raw),
            _ if line == b"\r\n" => return Ok(map),
            _ => return Err(diagnose(line)),
        };
        count += 1;
        if count > limit {
            return Err(Refusal::TooManyFields);
        }
        let end = line_length(raw)?;
        let (from, to) = trim(raw.get(..end).unwrap_or_default());
        let value = raw.get(from..to).unwrap_or_default();
        let (key, kind) = match name::known(name) {
            Some((key, kind)) => (key.clone(), kind),
            None => match HeaderName::from_bytes(name) {
                Ok(key) => (key, Kind::of_unknown(name)),
                Err(_) => return Err(diagnose(line)),
            },
        };
        judge(kind, name, value)?;
        let start = at + name.len() + 1;
        at = start + end + 2;
        let value = match value {
            b"*/*" => HeaderValue::from_static("*/*"),
            b"keep-alive" => HeaderValue::from_static("keep-alive"),
            _ => match HeaderValue::from_maybe_shared(head.slice(start + from..start + to)) {
                Ok(value) => value,
                Err(_) => return Err(Refusal::FieldValue),
            },
        };
        if map.try_append(key, value).is_err() {
            return Err(Refusal::TooManyFields);
        }
    }
}

/// Where the CR is that ends the line.
#[inline]
pub(crate) fn line_length(line: &[u8]) -> Result<usize, Refusal> {
    let at = class::line_end(line).ok_or(Refusal::HeadBounds)?;
    match line.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(at),
        [b'\r'] => Err(Refusal::HeadBounds),
        [b'\r', ..] => Err(Refusal::BareCr),
        [b'\n', ..] => Err(Refusal::BareLf),
        _ => Err(Refusal::Nul),
    }
}

/// What is between the white space around a value (RFC 9110 section 5.5).
#[inline]
fn trim(raw: &[u8]) -> (usize, usize) {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = raw.iter().position(|byte| !white(byte)).unwrap_or(raw.len());
    let rest = raw.get(from..).unwrap_or_default();
    let length = rest.iter().rposition(|byte| !white(byte)).map_or(0, |last| last + 1);
    (from, from + length)
}

/// What is wrong with a line that does not begin with a name and a colon.
#[cold]
fn diagnose(line: &[u8]) -> Refusal {
    let end = match line_length(line) {
        Ok(end) => end,
        Err(refusal) => return refusal,
    };
    let line = line.get(..end).unwrap_or_default();
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    match name {
        // The empty line, but it is not the end.
        [] if line.is_empty() => Refusal::HeadBounds,
        [b' ' | b'\t', ..] => Refusal::Folded,
        _ if name.len() == line.len() => Refusal::NoColon,
        [.., b' ' | b'\t'] => Refusal::SpaceBeforeColon,
        _ => Refusal::FieldName,
    }
}
