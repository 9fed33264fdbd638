//! What routes leave open beside them: requests that a guarded route does not take for their
//! method, and that a public one does.

use std::sync::Arc;

use demilune_core::route::{HostPattern, Lookup, Segment};
use demilune_core::{Requirement, Route, RouteIndex};
use http::{HeaderMap, Method};

use super::Compiler;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// The methods that are tried.
const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

impl Compiler<'_> {
    /// Warns of guarded routes whose other methods are public. It may be meant, and is rarely.
    pub(crate) fn warn_of_public_beside(&mut self, index: &RouteIndex, served: &[Arc<Route>]) {
        let guarded = served.iter().filter(|route| {
            !route.matches.methods.is_empty()
                && !matches!(route.chain.requirement(), Requirement::Public)
        });
        for route in guarded {
            let host = match route.matches.hosts.first() {
                Some(HostPattern::Exact(name)) => name.clone(),
                Some(HostPattern::Below(name)) => format!("x.{name}"),
                None => "x.invalid".to_owned(),
            };
            let path = example(route);
            let headers = HeaderMap::new();
            let taken = METHODS.iter().find_map(|method| {
                let lookup = Lookup {
                    host: &host,
                    path: &path,
                    method,
                    preflight: None,
                    headers: &headers,
                    query: None,
                };
                let taker = index.find(&lookup)?;
                let public = matches!(taker.chain.requirement(), Requirement::Public);
                (public && !route.matches.methods.contains(method)).then_some((method, taker))
            });
            let Some((method, taker)) = taken else { continue };
            let reason = format!(
                "`{method} {path}` is not for this route but for `{}`, which is public",
                taker.name
            );
            let place = format!("routes.{}.match.methods", route.name);
            let warning = Diagnostic::warning("config.public_beside", reason)
                .at(self.document.span(&place))
                .path(place)
                .related(self.document.span(&format!("routes.{}", taker.name)), "this one")
                .help("leave `methods` out to guard them all, or give the rest a route of its own");
            if !self.warned(&warning) {
                self.diagnostics.push(warning);
            }
        }
    }

    /// Whether it was said already, for another listener.
    fn warned(&self, warning: &Diagnostic) -> bool {
        let same = |other: &Diagnostic| other.code == warning.code && other.path == warning.path;
        Diagnostics::iter(&self.diagnostics).any(same)
    }
}

/// A path that the route matches.
fn example(route: &Route) -> String {
    let mut path = String::new();
    for segment in route.matches.path.segments() {
        match segment {
            Segment::Literal(text) => path = format!("{path}/{text}"),
            Segment::Parameter(_) => path.push_str("/x"),
            Segment::Rest => {}
        }
    }
    if path.is_empty() { "/".to_owned() } else { path }
}
