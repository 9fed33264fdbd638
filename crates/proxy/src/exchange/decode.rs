//! Content codings of request bodies, undone under limits (RFC 9110 section 8.4).

use std::io::Read;

use bytes::Bytes;

/// A body may decode to at most so many times its size: what expands more is a bomb.
const RATIO_LIMIT: u64 = 100;
/// Below this size, in bytes, the ratio is not looked at.
const RATIO_FREE: u64 = 64 * 1024;
/// The most codings one body may have.
const CODINGS_LIMIT: usize = 2;

/// Why a body could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeFailure {
    /// A coding that is not known, or too many of them.
    Unknown,
    /// Not in the coding that it claims, cut short, or with bytes behind its end.
    Broken,
    /// Over the limit, or over the ratio.
    TooLarge,
}

/// Undoes the codings that `fields` (the values of `Content-Encoding`, in order) name, last one
/// first.
pub(crate) fn decode<'f>(
    body: &Bytes,
    fields: impl Iterator<Item = &'f [u8]>,
    limit: u64,
) -> Result<Bytes, DecodeFailure> {
    let mut codings = Vec::new();
    for field in fields {
        let text = std::str::from_utf8(field).map_err(|_| DecodeFailure::Unknown)?;
        codings.extend(text.split(',').map(|coding| coding.trim().to_ascii_lowercase()));
    }
    codings.retain(|coding| coding != "identity");
    if codings.len() > CODINGS_LIMIT {
        return Err(DecodeFailure::Unknown);
    }
    let ratio = size(body).saturating_mul(RATIO_LIMIT).max(RATIO_FREE);
    let mut body = body.clone();
    for coding in codings.iter().rev() {
        body = undo(coding, &body, limit.min(ratio))?;
    }
    Ok(body)
}

fn size(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

fn undo(coding: &str, body: &Bytes, limit: u64) -> Result<Bytes, DecodeFailure> {
    let mut left: &[u8] = body;
    let decoded = match coding {
        "gzip" | "x-gzip" => read(&mut flate2::bufread::GzDecoder::new(&mut left), limit)?,
        // RFC 9110 section 8.4.1.2: the zlib format; a bare deflate stream is refused.
        "deflate" => read(&mut flate2::bufread::ZlibDecoder::new(&mut left), limit)?,
        "br" => {
            // Takes its input byte by byte, so that what stands behind the stream's end is left
            // and seen.
            read(&mut brotli_decompressor::Decompressor::new(&mut left, 1), limit)?
        }
        _ => return Err(DecodeFailure::Unknown),
    };
    // A second member behind the first would be seen by some readers only.
    if left.is_empty() { Ok(decoded) } else { Err(DecodeFailure::Broken) }
}

fn read(decoder: &mut impl Read, limit: u64) -> Result<Bytes, DecodeFailure> {
    let mut out = Vec::new();
    let mut bounded = decoder.take(limit.saturating_add(1));
    bounded.read_to_end(&mut out).map_err(|_| DecodeFailure::Broken)?;
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > limit {
        return Err(DecodeFailure::TooLarge);
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    /// "hello hello hello" by the reference encoder, and something behind its end.
    fn brotli(behind: &[u8]) -> Bytes {
        let mut bytes = vec![0x0b, 0x08, 0x80];
        bytes.extend_from_slice(b"hello hello hello");
        bytes.push(0x03);
        bytes.extend_from_slice(behind);
        bytes.into()
    }

    fn decoded(body: &Bytes, codings: &[&str], limit: u64) -> Result<Bytes, DecodeFailure> {
        decode(body, codings.iter().map(|coding| coding.as_bytes()), limit)
    }

    #[test]
    fn known_codings_are_undone_in_reverse_order() {
        let body = Bytes::from_static(b"hello hello hello");
        assert_eq!(decoded(&body, &[], 100), Ok(body.clone()));
        assert_eq!(decoded(&body, &["identity"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&body), &["GZIP"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&gzip(&body)), &["gzip, gzip"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&gzip(&body)), &["gzip", "gzip"], 100), Ok(body.clone()));
        assert_eq!(decoded(&brotli(b""), &["br"], 100), Ok(body));
    }

    #[test]
    fn what_is_not_what_it_claims_is_refused() {
        let body = Bytes::from_static(b"hello");
        let whole = gzip(&body);
        let cut = whole.slice(..whole.len() - 3);
        let behind = Bytes::from([&whole[..], b"x"].concat());
        let twice = Bytes::from([&whole[..], &whole[..]].concat());
        for broken in [&body, &cut, &behind, &twice, &Bytes::new()] {
            assert_eq!(decoded(broken, &["gzip"], 100), Err(DecodeFailure::Broken));
        }
        assert_eq!(decoded(&body, &["br"], 100), Err(DecodeFailure::Broken));
        assert_eq!(decoded(&brotli(b"x"), &["br"], 100), Err(DecodeFailure::Broken));
        assert_eq!(decoded(&body, &["deflate"], 100), Err(DecodeFailure::Broken));
        for unknown in ["zstd", "compress", "", "gzip,gzip,gzip", "gzip;q=1"] {
            assert_eq!(decoded(&body, &[unknown], 100), Err(DecodeFailure::Unknown), "{unknown}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(decoded(&bomb, &["gzip"], 1 << 20), Err(DecodeFailure::TooLarge));
        assert_eq!(decoded(&bomb, &["gzip"], u64::MAX), Err(DecodeFailure::TooLarge));
        let nested = gzip(&bomb);
        assert_eq!(decoded(&nested, &["gzip, gzip"], u64::MAX), Err(DecodeFailure::TooLarge));
    }
}
