//! Listeners, and which routes each one serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use demilune_core::route::Shadowed;
use demilune_core::snapshot::{CertificateFiles, ClientLimits, Listener, ListenerTls};
use demilune_core::{Route, RouteIndex};

use super::Compiler;
use crate::model::{ClientLimitsConfig, ListenerConfig, ListenerTlsConfig, PlainHttp2Config};

impl Compiler<'_> {
    pub(crate) fn listeners(&mut self, routes: &[Arc<Route>]) -> Vec<Arc<Listener>> {
        let model = &self.document.model;
        if model.listeners.is_empty() {
            self.error("config.missing_key", "", "there is no listener: nobody can connect");
        }
        let mut all = Vec::new();
        // For each route: how many listeners serve it, and on how many it can never win.
        let mut never: BTreeMap<Arc<str>, (usize, Arc<str>)> = BTreeMap::new();
        for (name, config) in &model.listeners {
            for other in all.iter().filter(|other: &&Arc<Listener>| {
                other.address == config.address && config.address.port() != 0
            }) {
                let reason = format!("listener `{}` has this address already", other.name);
                self.error("config.duplicate", &format!("listeners.{name}.address"), reason);
            }
            let served: Vec<Arc<Route>> = routes
                .iter()
                .filter(|route| {
                    let only = model.routes.get(&*route.name).and_then(|r| r.listener.as_ref());
                    only.is_none_or(|only| only == name)
                })
                .cloned()
                .collect();
            let (index, shadowed) = RouteIndex::build(&served);
            self.warn_of_public_beside(&index, &served);
            for Shadowed { route, by } in shadowed {
                never.entry(route).or_insert((0, by)).0 += 1;
            }
            all.push(Arc::new(self.listener(name, config, index)));
        }
        for (route, (times, by)) in never {
            let config = model.routes.get(&*route);
            let only_one = config.is_some_and(|config| config.listener.is_some());
            if times >= if only_one { 1 } else { model.listeners.len() } {
                let reason =
                    format!("route `{route}` is never reached: `{by}` takes all it matches");
                let diagnostic = self
                    .diagnostic("config.unreachable", &format!("routes.{route}.match"), reason)
                    .related(self.document.span(&format!("routes.{by}.match")), "this one wins");
                self.diagnostics.push(diagnostic);
            }
        }
        all
    }

    fn listener(&mut self, name: &str, config: &ListenerConfig, routes: RouteIndex) -> Listener {
        let path = format!("listeners.{name}");
        self.check_reason(&format!("{path}.plain_http"), config.plain_http.as_ref());
        let loopback = config.address.ip().to_canonical().is_loopback();
        match (&config.tls, &config.plain_http) {
            (None, None) if !loopback => {
                let reason =
                    format!("plain HTTP on `{}`, which is not a loopback address", config.address);
                let diagnostic = self
                    .diagnostic("config.plain_http", &path, reason)
                    .help("write `tls:`, or `plain_http: \"why this is right here\"`");
                self.diagnostics.push(diagnostic);
            }
            (Some(_), Some(_)) => {
                let reason = "`plain_http` has no effect beside `tls`";
                self.error("config.no_effect", &format!("{path}.plain_http"), reason);
            }
            _ => {}
        }
        if config.tls.is_some() && config.http2.is_some() {
            let reason = "`http2` has no effect beside `tls`: clients choose it by ALPN";
            self.error("config.no_effect", &format!("{path}.http2"), reason);
        }
        let tls = config.tls.as_ref().map(|tls| self.listener_tls(&path, tls));
        let limits = self.client_limits(&format!("{path}.limits"), &config.limits);
        let prior_knowledge = config.http2 == Some(PlainHttp2Config::PriorKnowledge);
        Listener {
            name: name.into(),
            address: config.address,
            tls,
            prior_knowledge,
            routes,
            limits,
        }
    }

    fn listener_tls(&mut self, path: &str, config: &ListenerTlsConfig) -> ListenerTls {
        let path = format!("{path}.tls.certificates");
        if config.certificates.is_empty() {
            self.error("config.invalid_value", &path, "expected at least one certificate");
        }
        let mut certificates = Vec::new();
        for (i, files) in config.certificates.iter().enumerate() {
            let place = format!("{path}[{i}]");
            if files.key.to_string_lossy().contains("-----BEGIN") {
                let reason = "a private key stands in the document itself";
                let diagnostic = self
                    .diagnostic("config.inline_secret", &format!("{place}.key"), reason)
                    .help("write the path of the key's file, and change the key")
                    .conceal(true);
                self.diagnostics.push(diagnostic);
                continue;
            }
            let chain = self.files.read(&files.chain);
            let key = self.files.read_secret(&files.key);
            match (chain, key) {
                (Ok(chain), Ok(key)) => certificates.push(CertificateFiles { chain, key, place }),
                (chain, key) => {
                    for (field, reason) in [("chain", chain.err()), ("key", key.err())] {
                        if let Some(reason) = reason {
                            self.error("config.unreadable", &format!("{place}.{field}"), reason);
                        }
                    }
                }
            }
        }
        ListenerTls { certificates }
    }

    fn client_limits(&mut self, path: &str, config: &ClientLimitsConfig) -> ClientLimits {
        for (field, period) in [
            ("handshake", config.handshake),
            ("head", config.head),
            ("body_idle", config.body_idle),
            ("write_idle", config.write_idle),
            ("idle", config.idle),
        ] {
            if period.0.is_zero() {
                let reason = "a deadline of zero lets nothing pass";
                self.error("config.invalid_value", &format!("{path}.{field}"), reason);
            }
        }
        if config.connections == 0 {
            let reason = "no connection at all: take the listener out instead";
            self.error("config.invalid_value", &format!("{path}.connections"), reason);
        }
        if !(8 << 10..=256 << 10).contains(&config.head_size.0) {
            let reason = "expected `8KiB` to `256KiB`";
            self.error("config.invalid_value", &format!("{path}.head_size"), reason);
        }
        ClientLimits {
            connections: usize::try_from(config.connections).unwrap_or(usize::MAX),
            handshake: config.handshake.0,
            head: config.head.0,
            body_idle: config.body_idle.0,
            write_idle: config.write_idle.0,
            idle: config.idle.0,
            head_size: usize::try_from(config.head_size.0).unwrap_or(usize::MAX),
        }
    }
}
