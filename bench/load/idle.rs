//! Connections that do nothing, held open while somebody looks at the memory of the other end.

use std::io::Write;

use super::client::{self, Connection};
use super::{Options, Result, wait_for_parent};

/// No kernel's default lets a client have more to one address.
const MOST: usize = 20_000;

pub(crate) fn run(options: &Options) -> Result<()> {
    let port: u16 = options.number("port")?;
    let count = options.number::<usize>("count")?.min(MOST);
    let kind = options.find("kind").ok_or("--kind is missing")?;
    let tls = client::tls_config("x25519")?;
    let request = format!("GET /v1/items/42 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(match kind {
            "silent" => Connection::plain(port)?,
            "kept" => {
                let mut connection = Connection::plain(port)?;
                connection.write_all(request.as_bytes())?;
                match connection.answer()? {
                    200 => connection,
                    status => return Err(format!("a request was answered by {status}").into()),
                }
            }
            "tls" => Connection::tls(port, &tls)?,
            _ => return Err(format!("`{kind}` is no kind of connection").into()),
        });
    }
    println!("ready {}", held.len());
    wait_for_parent()?;
    Ok(())
}
