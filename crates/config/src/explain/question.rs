//! A request as a person writes it down.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use demilune_core::head::Scheme;
use demilune_core::path::PathRefusal;
use demilune_core::{Host, PathExceptions, RequestHead, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

/// A request to be explained.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its head.
    pub head: RequestHead,
    /// Its body.
    pub body: Bytes,
    /// The client's address.
    pub from: IpAddr,
    /// The consumer to be, instead of proving who is calling.
    pub consumer: Option<String>,
    /// The listener to go through, instead of the one that the URL names.
    pub listener: Option<String>,
}

impl Question {
    /// Reads a request line `GET https://host/path`, headers as `name: value` a line each, and
    /// after an empty line the body. The line may end with `from ADDRESS`; where it names no scheme
    /// and host, they are `https` and `localhost`.
    ///
    /// # Errors
    /// What is not understood, or what the gateway would refuse before any route is looked for.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let mut words = first.split_whitespace();
        let (Some(method), Some(url)) = (words.next(), words.next()) else {
            return Err(format!("expected `METHOD URL`, found `{first}`"));
        };
        let from = match (words.next(), words.next(), words.next()) {
            (None, _, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (Some("from"), Some(address), None) => {
                address.parse().map_err(|_| format!("`{address}` is no address"))?
            }
            _ => return Err(format!("expected `METHOD URL [from ADDRESS]`, found `{first}`")),
        };
        let method: Method = method.parse().map_err(|_| format!("`{method}` is no method"))?;
        let (scheme, host, target) = split_url(url)?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("`{line}` is no header"))?;
            let name = HeaderName::from_bytes(name.trim().as_bytes())
                .map_err(|_| format!("`{name}` is no header's name"))?;
            let value = HeaderValue::from_str(value.trim())
                .map_err(|_| format!("the value of `{name}` is not valid"))?;
            headers.append(name, value);
        }
        let host = Host::parse(host).map_err(|e| format!("`{host}`: {e}"))?;
        if !headers.contains_key(http::header::HOST)
            && let Ok(value) = HeaderValue::from_str(host.as_str())
        {
            headers.insert(http::header::HOST, value);
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let head = RequestHead {
            method,
            scheme,
            host,
            target: read(target).map_err(|e| format!("`{target}`: {e}"))?,
            version: Version::HTTP_11,
            headers,
            content_length: u64::try_from(body.len()).ok(),
        };
        Ok(Self { head, body, from, consumer: None, listener: None })
    }
}

/// A target of which the route decides what it admits.
fn read(target: &str) -> Result<Target, PathRefusal> {
    let all = PathExceptions {
        encoded_slash: true,
        double_encoding: true,
        semicolon: true,
        not_utf8: true,
    };
    Target::parse_with(target, all)
}

fn split_url(url: &str) -> Result<(Scheme, &str, &str), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok((Scheme::Https, "localhost", url));
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => return Err(format!("`{other}` is no scheme of HTTP")),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at_checked(at).unwrap_or((rest, ""));
    Ok((scheme, host, if target.is_empty() { "/" } else { target }))
}
