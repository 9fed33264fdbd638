//! Routes: what they match, their identity decision, their chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use demilune_core::chain::{NamedAuthenticator, Part};
use demilune_core::hook::{Authenticator, Carrier};
use demilune_core::route::{HostPattern, Matches, Template};
use demilune_core::{Chain, Env, PathExceptions, Place, Requirement, Route};
use http::{HeaderName, Method};

use super::Compiler;
use super::policies::BuiltDefaults;
use crate::model::{Authenticate, MatchConfig, RouteConfig};

type Authenticators = BTreeMap<String, Arc<dyn Authenticator>>;

impl Compiler<'_> {
    /// All routes, and the one for requests that none of them matches.
    pub(crate) fn routes(&mut self) -> (Vec<Arc<Route>>, Arc<Route>) {
        let model = &self.document.model;
        let authenticators = self.authenticators();
        let defaults = self.build_defaults();
        // A header that any authenticator reads may hold a secret, on whichever route it is sent.
        let mut carriers: Vec<Carrier> = Vec::new();
        for carrier in authenticators.values().flat_map(|a| a.carriers()) {
            if !carriers.contains(&carrier) {
                carriers.push(carrier);
            }
        }
        let mut all = Vec::new();
        for (name, config) in &model.routes {
            let route = self.route(name, config, &authenticators, &defaults, &carriers);
            all.extend(route.map(Arc::new));
        }
        (all, Arc::new(self.unmatched(&defaults)))
    }

    /// The default policies, before a 404.
    fn unmatched(&self, defaults: &BuiltDefaults) -> Route {
        let parts = self.default_parts(defaults);
        Route {
            name: "none".into(),
            source: self.document.location("defaults").into(),
            matches: Matches::default(),
            upstream: "none".into(),
            chain: Chain::new(Requirement::Public, parts, Vec::new()),
            websocket: false,
            path_exceptions: PathExceptions::default(),
        }
    }

    fn authenticators(&mut self) -> Authenticators {
        let mut all = BTreeMap::new();
        for (name, config) in &self.document.model.authenticators {
            let path = format!("authenticators.{name}");
            let place = Place { path: path.clone(), source: self.document.location(&path).into() };
            let env = Env {
                directory: &self.directory,
                counters: &self.services.counters,
                compute: &self.services.compute,
                secrets: &self.files,
                place: &place,
            };
            match config.build(&env) {
                Ok(authenticator) => {
                    all.insert(name.clone(), authenticator);
                }
                Err(invalid) => self.invalid(&format!("{path}.{}", config.meta().name), invalid),
            }
        }
        all
    }

    fn route(
        &mut self,
        name: &str,
        config: &RouteConfig,
        authenticators: &Authenticators,
        defaults: &BuiltDefaults,
        carriers: &[Carrier],
    ) -> Option<Route> {
        let path = format!("routes.{name}");
        let model = &self.document.model;
        if !model.upstreams.contains_key(&config.upstream) {
            let known = model.upstreams.keys().map(String::as_str);
            self.unresolved(&format!("{path}.upstream"), "upstream", &config.upstream, known);
        }
        if let Some(listener) =
            config.listener.as_ref().filter(|l| !model.listeners.contains_key(*l))
        {
            let known = model.listeners.keys().map(String::as_str);
            self.unresolved(&format!("{path}.listener"), "listener", listener, known);
        }
        for (field, reason) in [
            ("public", &config.public),
            ("keep_credential", &config.keep_credential),
            ("websocket", &config.websocket),
        ] {
            self.check_reason(&format!("{path}.{field}"), reason.as_ref());
        }
        for (field, reason) in config.path_exceptions.reasons() {
            self.check_reason(&format!("{path}.path_exceptions.{field}"), reason.as_ref());
        }
        let matches = self.matches(&format!("{path}.match"), &config.matches);
        let requirement = self.requirement(&path, config, authenticators);
        let parts = self.route_parts(name, config, defaults);
        if let Some(matches) = &matches {
            self.check_parameters(&path, &matches.path, &parts);
        }
        let strip = if config.keep_credential.is_some() { Vec::new() } else { carriers.to_vec() };
        let chain = Chain::new(requirement?, parts, strip);
        self.check_strangers(&path, &chain);
        Some(Route {
            name: name.into(),
            source: self.document.location(&path).into(),
            matches: matches?,
            upstream: config.upstream.as_str().into(),
            chain,
            websocket: config.websocket.is_some(),
            path_exceptions: config.path_exceptions.granted(),
        })
    }

    /// What policies read from the path must be there to be read.
    fn check_parameters(&mut self, path: &str, template: &Template, parts: &[Part]) {
        for part in parts {
            for name in part.hooks.parameters() {
                if !template.names().any(|known| known == name) {
                    let reason = format!(
                        "`{}` reads `{{{name}}}`, which this path does not have",
                        part.policy
                    );
                    self.error("config.unresolved", &format!("{path}.match.path"), reason);
                }
            }
        }
    }

    /// The stated identity decision.
    fn requirement(
        &mut self,
        path: &str,
        config: &RouteConfig,
        authenticators: &Authenticators,
    ) -> Option<Requirement> {
        let authenticate = match (&config.authenticate, &config.public) {
            (Some(authenticate), None) => authenticate,
            (None, Some(_)) => return Some(Requirement::Public),
            (None, None) => {
                let reason = "the route does not say who may call it";
                let diagnostic = self
                    .diagnostic("config.identity_missing", path, reason)
                    .help("write `authenticate: NAME`, or `public: \"why anybody may\"`");
                self.diagnostics.push(diagnostic);
                return None;
            }
            (Some(_), Some(_)) => {
                let reason = "the route says both `authenticate` and `public`";
                self.error("config.identity_doubled", &format!("{path}.public"), reason);
                return None;
            }
        };
        let place = format!("{path}.authenticate");
        let list = match authenticate {
            Authenticate::AnyOf { .. } => "any_of",
            Authenticate::AllOf(_) => "all_of",
        };
        let tree = &self.document.tree;
        let item = |i: usize| {
            let item = format!("{place}.{list}[{i}]");
            if tree.at_path(&item).exact { item } else { place.clone() }
        };
        let mut found = Vec::new();
        for (i, name) in authenticate.names().iter().enumerate() {
            if authenticate.names().iter().take(i).any(|other| other == name) {
                let reason = format!("authenticator `{name}` is named twice");
                self.error("config.duplicate", &item(i), reason);
            }
            if let Some(authenticator) = authenticators.get(name) {
                let authenticator = Arc::clone(authenticator);
                found.push(NamedAuthenticator { name: name.as_str().into(), authenticator });
            } else if !self.document.model.authenticators.contains_key(name) {
                let known = self.document.model.authenticators.keys().map(String::as_str);
                self.unresolved(&item(i), "authenticator", name, known);
            }
        }
        Some(match authenticate {
            Authenticate::AllOf(_) => Requirement::AllOf(found),
            Authenticate::AnyOf { anonymous, .. } => {
                self.check_reason(&format!("{place}.anonymous"), anonymous.as_ref());
                Requirement::AnyOf { authenticators: found, anonymous: anonymous.is_some() }
            }
        })
    }

    fn matches(&mut self, path: &str, config: &MatchConfig) -> Option<Matches> {
        let before = self.diagnostics.len();
        let mut matches = Matches::default();
        for (i, host) in config.hosts.iter().enumerate() {
            match HostPattern::parse(host) {
                Ok(host) if !matches.hosts.contains(&host) => matches.hosts.push(host),
                Ok(_) => {
                    let path = format!("{path}.hosts[{i}]");
                    self.error("config.duplicate", &path, "this host is written twice");
                }
                Err(invalid) => {
                    let path = format!("{path}.hosts[{i}]");
                    self.error("config.invalid_value", &path, invalid.to_string());
                }
            }
        }
        match Template::parse(&config.path) {
            Ok(template) => matches.path = template,
            Err(invalid) => {
                self.error("config.invalid_value", &format!("{path}.path"), invalid.to_string());
            }
        }
        for (i, method) in config.methods.iter().enumerate() {
            let path = format!("{path}.methods[{i}]");
            match method.parse::<Method>() {
                Ok(Method::CONNECT | Method::TRACE) => {
                    let reason = format!("{method} is not offered");
                    self.error("config.invalid_value", &path, reason);
                }
                Ok(_) if method.bytes().any(|b| b.is_ascii_lowercase()) => {
                    let reason = "methods are case-sensitive, and written in capitals";
                    self.error("config.invalid_value", &path, reason);
                }
                Ok(parsed) if matches.methods.contains(&parsed) => {
                    self.error("config.duplicate", &path, "this method is written twice");
                }
                Ok(parsed) => matches.methods.push(parsed),
                Err(_) => {
                    let reason = format!("`{method}` is no method");
                    self.error("config.invalid_value", &path, reason);
                }
            }
        }
        let value = |text: &String| (text != "*").then(|| text.clone());
        for (name, wanted) in &config.headers {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(parsed) => matches.headers.push((parsed, value(wanted))),
                Err(_) => {
                    let reason = format!("`{name}` is no header's name");
                    self.error("config.invalid_value", &format!("{path}.headers"), reason);
                }
            }
        }
        matches.query = config.query.iter().map(|(n, v)| (n.clone(), value(v))).collect();
        (self.diagnostics.len() == before).then_some(matches)
    }
}
