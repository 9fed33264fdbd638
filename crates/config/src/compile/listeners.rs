//! Listeners, and which routes each one serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use demilune_core::route::Shadowed;
use demilune_core::snapshot::{ClientLimits, ForwardedHeader, Listener, TrustedProxies};
use demilune_core::{Network, Networks, Route, RouteIndex};

use super::Compiler;
use crate::model::{ClientLimitsConfig, ForwardedHeaderConfig, ListenerConfig, PlainHttp2Config};

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
                .filter(|_| config.redirect.is_none())
                .filter(|route| {
                    let only = model.routes.get(&*route.name).and_then(|r| r.listener.as_ref());
                    only.is_none_or(|only| only == name)
                })
                .cloned()
                .collect();
            self.check_endpoints(&served);
            let (index, shadowed) = RouteIndex::build(&served);
            self.warn_of_public_beside(&index, &served);
            for Shadowed { route, by } in shadowed {
                never.entry(route).or_insert((0, by)).0 += 1;
            }
            all.push(Arc::new(self.listener(name, config, index)));
        }
        let serving = all.iter().filter(|listener| !listener.redirects).count();
        if serving == 0 && !all.is_empty() {
            let reason = "every listener redirects: no route is served anywhere";
            self.error("config.missing_key", "listeners", reason);
        }
        self.check_redirected();
        for (route, (times, by)) in never {
            let config = model.routes.get(&*route);
            let only_one = config.is_some_and(|config| config.listener.is_some());
            if times >= if only_one { 1 } else { serving } {
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

    /// A route that asks for a listener which serves none.
    fn check_redirected(&mut self) {
        let model = &self.document.model;
        for (name, route) in &model.routes {
            let listener = route.listener.as_ref().and_then(|it| model.listeners.get(it));
            if listener.is_some_and(|listener| listener.redirect.is_some()) {
                let reason = "this listener redirects all requests: it serves no route";
                self.error("config.no_effect", &format!("routes.{name}.listener"), reason);
            }
        }
    }

    fn listener(&mut self, name: &str, config: &ListenerConfig, routes: RouteIndex) -> Listener {
        let path = format!("listeners.{name}");
        self.check_reason(&format!("{path}.plain_http"), config.plain_http.as_ref());
        let loopback = config.address.ip().to_canonical().is_loopback();
        match (&config.tls, &config.plain_http) {
            (Some(_), _) if config.redirect.is_some() => {
                let reason = "a listener with `tls` has nowhere to redirect to";
                self.error("config.no_effect", &format!("{path}.redirect"), reason);
            }
            (None, Some(_)) if config.redirect.is_some() => {
                let reason = "`plain_http` has no effect beside `redirect`: nothing is served";
                self.error("config.no_effect", &format!("{path}.plain_http"), reason);
            }
            (None, None) if !loopback && config.redirect.is_none() => {
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
        let prior_knowledge = config.http2 == Some(PlainHttp2Config::PriorKnowledge);
        let tls = config.tls.as_ref().map(|tls| self.listener_tls(&format!("{path}.tls"), tls));
        let limits = self.client_limits(&format!("{path}.limits"), &config.limits);
        let proxy_protocol = config
            .proxy_protocol
            .as_ref()
            .map(|from| self.networks(&format!("{path}.proxy_protocol.from"), &from.from));
        let trusted_proxies = config.trusted_proxies.as_ref().map(|config| TrustedProxies {
            networks: self.networks(&format!("{path}.trusted_proxies.networks"), &config.networks),
            header: match config.header {
                ForwardedHeaderConfig::XForwardedFor => ForwardedHeader::XForwardedFor,
                ForwardedHeaderConfig::Forwarded => ForwardedHeader::Forwarded,
            },
        });
        Listener {
            name: name.into(),
            address: config.address,
            tls,
            prior_knowledge,
            proxy_protocol,
            trusted_proxies,
            redirects: config.redirect.is_some(),
            routes,
            limits,
        }
    }

    /// Networks of peers that are believed: some, and never everybody.
    fn networks(&mut self, path: &str, list: &[Network]) -> Networks {
        if list.is_empty() {
            let reason = "expected at least one network or address";
            self.error("config.invalid_value", path, reason);
        }
        for (i, network) in list.iter().enumerate() {
            if network.as_ref().prefix_len() == 0 {
                let diagnostic = self
                    .diagnostic(
                        "config.invalid_value",
                        &format!("{path}[{i}]"),
                        "everybody would be believed about who they are",
                    )
                    .help("write the networks that the proxies themselves are in");
                self.diagnostics.push(diagnostic);
            }
        }
        Networks::new(list)
    }

    fn client_limits(&mut self, path: &str, config: &ClientLimitsConfig) -> ClientLimits {
        for (field, period) in [
            ("handshake", config.handshake),
            ("head", config.head),
            ("body_idle", config.body_idle),
            ("write_idle", config.write_idle),
            ("idle", config.idle),
            ("request", config.request.unwrap_or(config.idle)),
        ] {
            if period.0.is_zero() {
                let reason = "a deadline of zero lets nothing pass";
                self.error("config.invalid_value", &format!("{path}.{field}"), reason);
            }
        }
        for (field, limit) in [
            ("connections", config.connections),
            ("connections_per_address", config.connections_per_address),
            ("handshakes", config.handshakes),
        ] {
            if limit == 0 {
                let reason = "no connection at all: take the listener out instead";
                self.error("config.invalid_value", &format!("{path}.{field}"), reason);
            }
        }
        if config.least_rate.0 == 0 {
            let reason = "expected at least `1B`: a client that moves nothing is not waited for";
            self.error("config.invalid_value", &format!("{path}.least_rate"), reason);
        }
        if !(8 << 10..=256 << 10).contains(&config.head_size.0) {
            let reason = "expected `8KiB` to `256KiB`";
            self.error("config.invalid_value", &format!("{path}.head_size"), reason);
        }
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        ClientLimits {
            connections: count(config.connections),
            connections_per_address: count(config.connections_per_address),
            handshakes: count(config.handshakes),
            handshake: config.handshake.0,
            head: config.head.0,
            body_idle: config.body_idle.0,
            write_idle: config.write_idle.0,
            idle: config.idle.0,
            request: config.request.map(|period| period.0),
            least_rate: config.least_rate.0,
            head_size: usize::try_from(config.head_size.0).unwrap_or(usize::MAX),
        }
    }
}
