//! The origin behind every subject: it reads whole requests and answers from memory.
//!
//! One thread, so that it costs little on the core that it shares with the load generator. It
//! trusts what the subjects send: this is no server for anybody else.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Result, wait_for_parent};

const SMALL: &[u8] = b"a small answer of some bytes, from memory\n";
const LARGE: usize = 64 * 1024;
/// Paths that begin so are answered by [`LARGE`] bytes.
const LARGE_PATH: &[u8] = b"/64k";
/// Bodies to paths that begin so are not read for a while, as behind a stalled disk.
const STALLED_PATH: &[u8] = b"/stalled";
const STALL: Duration = Duration::from_secs(2);

pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("port {}", listener.local_addr()?.port());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = wait_for_parent();
        let _ = stop.send(());
    });
    runtime.block_on(async {
        tokio::select! {
            result = accept(&listener) => Ok(result?),
            _ = stopped => Ok(()),
        }
    })
}

async fn accept(listener: &TcpListener) -> io::Result<()> {
    let answers = Answers { small: answer(SMALL), large: answer(&vec![b'x'; LARGE]) };
    let answers: &'static Answers = Box::leak(Box::new(answers));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            // Whoever breaks off, breaks off: the load generator counts what it misses.
            let _ = serve(stream, answers).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

/// As much of a head as a real origin sends.
fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n\
         content-type: text/plain\r\ncontent-length: {}\r\nconnection: keep-alive\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn serve(mut stream: TcpStream, answers: &'static Answers) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        let head = loop {
            let seen = buffer.get(..filled).unwrap_or_default();
            if let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let room = buffer.get_mut(filled..).unwrap_or_default();
            match stream.read(room).await? {
                0 => return Ok(()),
                count => filled += count,
            }
        };
        let request = Request::read(buffer.get(..head).unwrap_or_default());
        if request.stalled {
            tokio::time::sleep(STALL).await;
        }
        buffer.copy_within(head..filled, 0);
        filled -= head;
        filled = if request.chunked {
            read_chunked(&mut stream, &mut buffer, filled).await?
        } else {
            read_sized(&mut stream, &mut buffer, filled, request.length).await?
        };
        let answer = if request.large { &answers.large } else { &answers.small };
        stream.write_all(answer).await?;
        if request.close {
            return Ok(());
        }
    }
}

/// Reads `length` bytes of body; gives how many bytes of what follows are in the buffer.
async fn read_sized(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    filled: usize,
    length: usize,
) -> io::Result<usize> {
    if filled >= length {
        buffer.copy_within(length..filled, 0);
        return Ok(filled - length);
    }
    let mut left = length - filled;
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(buffer.get_mut(..most).unwrap_or_default()).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left -= count,
        }
    }
    Ok(0)
}

/// Reads up to the last chunk. Nobody pipelines behind one, so its last bytes are the last read.
async fn read_chunked(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    filled: usize,
) -> io::Result<usize> {
    let mut tail: Vec<u8> = buffer.get(..filled).unwrap_or_default().to_vec();
    while !tail.ends_with(b"0\r\n\r\n") {
        let count = stream.read(buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tail.extend_from_slice(buffer.get(..count).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(5));
    }
    Ok(0)
}

#[derive(Default)]
struct Request {
    large: bool,
    stalled: bool,
    chunked: bool,
    close: bool,
    length: usize,
}

impl Request {
    fn read(head: &[u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let path = first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let mut request = Self {
            large: path.starts_with(LARGE_PATH),
            stalled: path.starts_with(STALLED_PATH),
            ..Self::default()
        };
        for line in lines {
            let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = line.split_at(at);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                let text = String::from_utf8_lossy(value);
                request.length = text.parse().unwrap_or_default();
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                request.chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if name.eq_ignore_ascii_case(b"connection") {
                request.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        request
    }
}
