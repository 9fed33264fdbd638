//! Large bodies sent at the same time, as fast as the other end takes them.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;

use super::client::Connection;
use super::{Options, Result};

/// A few large writes, as a client that sends a file makes them.
const CHUNK: usize = 128 * 1024;

pub(crate) fn run(options: &Options) -> Result<()> {
    let port: u16 = options.number("port")?;
    let count = options.number::<u32>("count")?.min(1000);
    let bytes = options.number::<usize>("bytes")?.min(1 << 30);
    let path = options.find("path").unwrap_or("/uploads").to_owned();
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || upload(port, &path, bytes))
        })
        .collect();
    let (mut answers, mut failed) = (BTreeMap::<u16, u32>::new(), 0_u32);
    for thread in threads {
        match thread.join().map_err(|_| "a thread of the load panicked")? {
            Ok(status) => *answers.entry(status).or_default() += 1,
            Err(error) => {
                failed += 1;
                eprintln!("an upload failed: {error}");
            }
        }
    }
    for (status, count) in answers {
        if status == 200 {
            println!("requests {count}");
        } else {
            failed += count;
            eprintln!("{count} uploads were answered by {status}");
        }
    }
    println!("failed {failed}");
    Ok(())
}

fn upload(port: u16, path: &str, bytes: usize) -> Result<u16> {
    let mut connection = Connection::plain(port)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {bytes}\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    let chunk = vec![b'u'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(CHUNK);
        connection.write_all(chunk.get(..count).unwrap_or_default())?;
        left -= count;
    }
    connection.answer()
}
