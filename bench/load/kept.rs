//! One kept connection, one request after the other: the load under which instructions are counted.

use std::io::Write;

use super::client::{self, Connection};
use super::{Options, Result};

/// A client that asks for more is mistaken.
const MOST: u32 = 1_000_000;

pub(crate) fn run(options: &Options) -> Result<()> {
    let port: u16 = options.number("port")?;
    let requests = options.number::<u32>("requests")?.min(MOST);
    let path = options.find("path").unwrap_or("/v1/items/42");
    let header = options.find("header").map(|line| format!("{line}\r\n")).unwrap_or_default();
    let mut connection = match options.find("tls") {
        None => Connection::plain(port)?,
        Some(group) => Connection::tls(port, &client::tls_config(group)?)?,
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{header}\r\n");
    for number in 1..=requests {
        connection.write_all(request.as_bytes())?;
        let status = connection.answer()?;
        if status != 200 {
            return Err(format!("request {number} was answered by {status}").into());
        }
    }
    println!("requests {requests}");
    Ok(())
}
