//! One end of a connection, byte for byte: what clients and origins are made of.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::patience::PATIENCE;

/// Bytes both ways, in clear or under TLS.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One end of a connection.
pub struct Wire {
    reader: BufReader<Box<dyn Stream>>,
    tcp: TcpStream,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self::over(tcp, |tcp| Box::new(tcp))
    }

    /// What `over` makes of a TCP connection.
    pub(crate) fn over(tcp: TcpStream, over: impl FnOnce(TcpStream) -> Box<dyn Stream>) -> Self {
        // What these fail for, the next read or write fails for too.
        let _ = tcp.set_read_timeout(Some(PATIENCE));
        let _ = tcp.set_write_timeout(Some(PATIENCE));
        let _ = tcp.set_nodelay(true);
        let stream = over(tcp.try_clone().unwrap());
        Self { reader: BufReader::new(stream), tcp }
    }

    /// The connection below.
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// The port at this end.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    /// Sends bytes; what the other end does not take is lost.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.sends(bytes);
    }

    /// Sends bytes; false where the other end does not take them all.
    pub fn sends(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = self.reader.get_mut();
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).is_ok()
    }

    /// Sends bytes in pieces of this size, until the other end says something.
    pub fn send_in(&mut self, size: usize, bytes: impl AsRef<[u8]>) {
        for piece in bytes.as_ref().chunks(size) {
            if self.is_spoken_to() || !self.sends(piece) {
                return;
            }
        }
    }

    /// Whether bytes of the other end are there, or its end.
    fn is_spoken_to(&self) -> bool {
        let _ = self.tcp.set_nonblocking(true);
        let silent = self.tcp.peek(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        let _ = self.tcp.set_nonblocking(false);
        !silent
    }

    /// Sends one chunk of a chunked body; an empty one is its end.
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk);
    }

    /// Reads a line, without its end.
    pub fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        self.reader.read_until(b'\n', &mut bytes).ok().filter(|n| *n > 0)?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads headers up to the empty line; names in lower case.
    pub(crate) fn headers(&mut self) -> Option<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(headers);
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// Reads one chunk of a chunked body, empty at its end (trailers included); `None` where it
    /// breaks off.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line()?.split(';').next()?, 16).ok()?;
        if size == 0 {
            self.headers()?;
            return Some(Vec::new());
        }
        let chunk = self.bytes(size)?;
        self.bytes(2)?;
        Some(chunk)
    }

    /// Reads so many bytes; `None` where there are fewer.
    pub fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Reads what comes next, at least one byte; empty where the connection has ended.
    pub fn some(&mut self) -> Vec<u8> {
        let bytes = self.reader.fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
        self.reader.consume(bytes.len());
        bytes
    }

    /// At most so many bytes, fewer where the connection ends before.
    pub(crate) fn up_to(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        bytes
    }

    /// Everything until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader.read_to_end(&mut bytes);
        bytes
    }

    /// Everything until the connection ends, and whether it ended: false where it was reset.
    pub fn rest_and_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let ended = self.reader.read_to_end(&mut bytes).is_ok();
        (bytes, ended)
    }

    /// Waits for the connection's end; false where something else is said, or nothing at all
    /// happens.
    pub fn ends(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Says that nothing more will be sent; reading goes on.
    pub fn finish(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// When this is dropped, the connection is reset, where it would have ended.
    pub fn reset_when_dropped(&mut self) {
        let reset = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        reset.unwrap();
    }
}
