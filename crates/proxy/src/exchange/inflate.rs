//! The deflate coding (RFC 1951) in its two wrappings: gzip (RFC 1952) and zlib (RFC 1950).
//!
//! flate2's own readers ask for more input before they give what is left inside of them, so that
//! the end of what has come of a stream would wait for what comes next. Here the inside comes
//! first.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Reads what `source` decodes to, from one stream. Where the source would block, what is inside
/// is given first; it can be gone on with later.
pub(super) struct Inflate<R> {
    /// `None` only while the wrapping is being changed.
    source: Option<Wrapped<R>>,
    inflater: Decompress,
    crc: Crc,
}

enum Wrapped<R> {
    /// In gzip's header, which flate2 reads.
    Header(GzDecoder<R>),
    Gzip(R),
    /// In gzip's trailer, of which so many bytes were read.
    Trailer(R, [u8; TRAILER], usize),
    /// The inflater looks at header and trailer by itself.
    Zlib(R),
    Over(R),
}

/// Checksum and length, four bytes each.
const TRAILER: usize = 8;

impl<R: BufRead> Inflate<R> {
    pub(super) fn gzip(source: R) -> Self {
        let source = Some(Wrapped::Header(GzDecoder::new(source)));
        Self { source, inflater: Decompress::new(false), crc: Crc::new() }
    }

    pub(super) fn zlib(source: R) -> Self {
        let source = Some(Wrapped::Zlib(source));
        Self { source, inflater: Decompress::new(true), crc: Crc::new() }
    }

    /// What is behind the stream, once it is over.
    pub(super) fn source(&mut self) -> Option<&mut R> {
        match &mut self.source {
            Some(Wrapped::Over(source)) => Some(source),
            _ => None,
        }
    }

    /// Goes on to the next part of the wrapping, unless it is over.
    fn turn(&mut self) {
        self.source = self.source.take().map(|source| match source {
            Wrapped::Header(header) => Wrapped::Gzip(header.into_inner()),
            Wrapped::Gzip(source) => Wrapped::Trailer(source, [0; TRAILER], 0),
            Wrapped::Trailer(source, ..) | Wrapped::Zlib(source) | Wrapped::Over(source) => {
                Wrapped::Over(source)
            }
        });
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Self { source, inflater, crc } = self;
            match source {
                // With room for nothing it reads the header, and no further.
                Some(Wrapped::Header(header)) => {
                    header.read(&mut [])?;
                }
                Some(Wrapped::Gzip(source)) => {
                    let length = inflate(source, inflater, buffer)?;
                    crc.update(buffer.get(..length).unwrap_or_default());
                    if length > 0 {
                        return Ok(length);
                    }
                }
                Some(Wrapped::Trailer(source, trailer, read)) => {
                    while let Some(left) = trailer.get_mut(*read..).filter(|l| !l.is_empty()) {
                        match source.read(left)? {
                            0 => return Err(ErrorKind::UnexpectedEof.into()),
                            length => *read += length,
                        }
                    }
                    let mut told = [0; TRAILER];
                    let (sum, length) = told.split_at_mut(TRAILER / 2);
                    sum.copy_from_slice(&crc.sum().to_le_bytes());
                    length.copy_from_slice(&crc.amount().to_le_bytes());
                    if told != *trailer {
                        return Err(ErrorKind::InvalidData.into());
                    }
                }
                Some(Wrapped::Zlib(source)) => {
                    let length = inflate(source, inflater, buffer)?;
                    if length > 0 {
                        return Ok(length);
                    }
                }
                Some(Wrapped::Over(_)) | None => return Ok(0),
            }
            self.turn();
        }
    }
}

/// The next bytes decoded; none at the end of the deflate stream.
fn inflate(
    source: &mut impl BufRead,
    inflater: &mut Decompress,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        let (input, blocked) = match source.fill_buf() {
            Ok(input) => (input, false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => (&[][..], true),
            Err(error) => return Err(error),
        };
        let over = input.is_empty() && !blocked;
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(input, buffer, FlushDecompress::None)
            .map_err(|_| ErrorKind::InvalidData)?;
        let taken = usize::try_from(inflater.total_in() - taken).unwrap_or(usize::MAX);
        let given = usize::try_from(inflater.total_out() - given).unwrap_or(usize::MAX);
        source.consume(taken);
        match status {
            _ if given > 0 => return Ok(given),
            Status::StreamEnd => return Ok(0),
            _ if blocked => return Err(ErrorKind::WouldBlock.into()),
            _ if over => return Err(ErrorKind::UnexpectedEof.into()),
            _ if taken == 0 => return Err(ErrorKind::InvalidData.into()),
            // Header bytes of a block, of which nothing comes yet.
            _ => {}
        }
    }
}
