//! What loosens in everything but routes: who can connect, who can call, and whom upstreams are
//! trusted to be.

use std::net::{IpAddr, SocketAddr};

use demilune_core::Scheme;

use super::{Judgements, Pair};
use crate::compile::locked;
use crate::model::{
    ClientCertificatesMode, ClientLimitsConfig, ConsumerConfig, EndpointUrl, HostConfig,
    ListenerConfig, ListenerTlsConfig, UpstreamConfig,
};

pub(super) fn judge(pair: Pair<'_>, judgements: &mut Judgements) {
    let (before, after) = (&pair.before.model, &pair.after.model);
    for (name, new) in &after.listeners {
        let path = format!("listeners.{name}");
        match before.listeners.get(name) {
            Some(old) => listener(&path, old, new, judgements),
            None => judgements.at(path, format!("another way in, at {}", new.address)),
        }
    }
    for (name, new) in &after.upstreams {
        if let Some(old) = before.upstreams.get(name) {
            upstream(&format!("upstreams.{name}"), old, new, judgements);
        }
    }
    for (name, new) in &after.consumers {
        let path = format!("consumers.{name}");
        match before.consumers.get(name) {
            Some(old) => consumer(&path, old, new, judgements),
            None => judgements.at(path, "another caller"),
        }
    }
    for name in after.authenticators.keys().filter(|name| before.authenticators.contains_key(*name))
    {
        judgements.below(format!("authenticators.{name}"), "callers are proved in another way");
    }
    let address = |admin: &crate::model::AdminConfig| admin.address;
    match (before.admin.as_ref().map(address), after.admin.as_ref().map(address)) {
        (None, Some(_)) => judgements.at("admin", "the operator's endpoints can be reached"),
        (Some(old), Some(new)) if old != new => {
            judgements.at("admin.address", "the operator's endpoints move");
        }
        _ => {}
    }
    floor(pair, judgements);
}

/// Default policies that no route could replace, and now one can.
fn floor(pair: Pair<'_>, judgements: &mut Judgements) {
    let (before, after) = (&pair.before.model.defaults, &pair.after.model.defaults);
    for policy in &after.policies {
        let key = policy.key();
        let was = before.policies.iter().any(|old| old.key() == key && locked(before, old));
        if was && !locked(after, policy) {
            judgements.at("defaults.locked", format!("routes can replace `{key}`"));
        }
    }
}

fn listener(path: &str, old: &ListenerConfig, new: &ListenerConfig, judgements: &mut Judgements) {
    if old.tls.is_some() && new.tls.is_none() {
        judgements.at(format!("{path}.tls"), "clients talk to it in the clear");
    }
    if let (Some(old), Some(new)) = (&old.tls, &new.tls) {
        listener_tls(&format!("{path}.tls"), old, new, judgements);
    }
    if let Some(why) = moved(old.address, new.address) {
        judgements.at(format!("{path}.address"), why);
    }
    if old.redirect.is_some() && new.redirect.is_none() {
        judgements.at(format!("{path}.redirect"), "routes are served where clients were sent on");
    }
    for field in ["proxy_protocol", "trusted_proxies"] {
        judgements.below(format!("{path}.{field}"), "clients are known by other addresses");
    }
    limits(&format!("{path}.limits"), &old.limits, &new.limits, judgements);
}

fn listener_tls(
    path: &str,
    old: &ListenerTlsConfig,
    new: &ListenerTlsConfig,
    judgements: &mut Judgements,
) {
    if new.minimum_version < old.minimum_version {
        judgements.at(format!("{path}.minimum_version"), "an older version is spoken");
    }
    let added = new.cipher_suites.iter().any(|suite| !old.cipher_suites.contains(suite));
    if !old.cipher_suites.is_empty() && (added || new.cipher_suites.is_empty()) {
        judgements.at(format!("{path}.cipher_suites"), "more cipher suites are offered");
    }
    let path = format!("{path}.client_certificates");
    match (&old.client_certificates, &new.client_certificates) {
        (Some(_), None) => judgements.at(path, "clients are not asked for certificates"),
        (Some(old), Some(new)) => {
            if old.authorities != new.authorities {
                let why = "clients are trusted on another authority's word";
                judgements.at(format!("{path}.authorities"), why);
            }
            if (old.mode, new.mode)
                == (ClientCertificatesMode::Required, ClientCertificatesMode::Optional)
            {
                judgements.at(format!("{path}.mode"), "clients need no certificate");
            }
            if old.revocation.iter().any(|list| !new.revocation.contains(list)) {
                let why = "a list of revoked certificates is not looked at";
                judgements.at(format!("{path}.revocation"), why);
            }
        }
        _ => {}
    }
}

fn moved(old: SocketAddr, new: SocketAddr) -> Option<&'static str> {
    let [old, new] = [old, new].map(|address| address.ip().to_canonical());
    let loopback = |address: IpAddr| address.is_loopback();
    if loopback(old) && !loopback(new) {
        Some("other machines can connect")
    } else if !old.is_unspecified() && new.is_unspecified() {
        Some("clients can connect to any address of the machine")
    } else {
        None
    }
}

fn limits(
    path: &str,
    old: &ClientLimitsConfig,
    new: &ClientLimitsConfig,
    judgements: &mut Judgements,
) {
    for (field, raised) in [
        ("connections", new.connections > old.connections),
        ("connections_per_address", new.connections_per_address > old.connections_per_address),
        ("handshakes", new.handshakes > old.handshakes),
        ("handshake", new.handshake > old.handshake),
        ("head", new.head > old.head),
        ("body_idle", new.body_idle > old.body_idle),
        ("write_idle", new.write_idle > old.write_idle),
        ("idle", new.idle > old.idle),
        ("request", old.request.is_some_and(|old| new.request.is_none_or(|new| new > old))),
        ("least_rate", new.least_rate < old.least_rate),
        ("head_size", new.head_size > old.head_size),
    ] {
        if raised {
            judgements.at(format!("{path}.{field}"), "a limit on clients is raised");
        }
    }
}

/// Whether an endpoint of `new` is talked to without TLS, where `old` had it.
pub(super) fn in_the_clear(old: &UpstreamConfig, new: &UpstreamConfig) -> Option<String> {
    let encrypted = old.endpoints.iter().any(|endpoint| endpoint.url.scheme == Scheme::Https);
    let mut plain = new.endpoints.iter().filter(|endpoint| endpoint.url.scheme == Scheme::Http);
    let known = |url: &EndpointUrl| old.endpoints.iter().any(|endpoint| endpoint.url == *url);
    let endpoint = plain.find(|endpoint| encrypted && !known(&endpoint.url))?;
    Some(format!("`{}` is talked to in the clear", endpoint.url))
}

fn upstream(path: &str, old: &UpstreamConfig, new: &UpstreamConfig, judgements: &mut Judgements) {
    if let Some(why) = in_the_clear(old, new) {
        judgements.at(format!("{path}.endpoints"), why);
    }
    let authorities = |config: &UpstreamConfig| config.tls.as_ref()?.authorities.clone();
    let server_name = |config: &UpstreamConfig| config.tls.as_ref()?.server_name.clone();
    // Where `tls` comes or goes as a whole, that is the change to mark.
    let place = |field: &str| {
        let both = old.tls.is_some() && new.tls.is_some();
        if both { format!("{path}.tls.{field}") } else { format!("{path}.tls") }
    };
    if authorities(old) != authorities(new) {
        judgements.at(place("authorities"), "endpoints are trusted on another authority's word");
    }
    if server_name(old) != server_name(new) {
        judgements.at(place("server_name"), "endpoints prove another name");
    }
    let tls = |config: &UpstreamConfig| config.tls.clone().unwrap_or_default();
    let (was, is) = (tls(old), tls(new));
    if was.subject_alternative_names != is.subject_alternative_names {
        judgements.at(place("subject_alternative_names"), "endpoints prove another name");
    }
    let added = is.public_keys.iter().any(|key| !was.public_keys.contains(key));
    if !was.public_keys.is_empty() && (is.public_keys.is_empty() || added) {
        judgements.at(place("public_keys"), "endpoints with another key are trusted");
    }
    if is.minimum_version < was.minimum_version {
        judgements.at(place("minimum_version"), "an older TLS is spoken");
    }
    if (old.host, new.host) == (HostConfig::Endpoint, HostConfig::Client) {
        judgements.at(format!("{path}.host"), "clients choose the `Host` that it reads");
    }
}

/// Credentials are judged where they are compared.
fn consumer(path: &str, old: &ConsumerConfig, new: &ConsumerConfig, judgements: &mut Judgements) {
    if new.groups.iter().any(|group| !old.groups.contains(group)) {
        judgements.at(format!("{path}.groups"), "it may do what they may");
    }
}
