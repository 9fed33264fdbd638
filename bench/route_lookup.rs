//! What finding a route costs among 10 and among 10,000 of them:
//! `cargo run --release -p demilune-core --example route_lookup`.

#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use demilune_core::route::{HostPattern, Lookup, Matches, Route, Template};
use demilune_core::{Chain, Requirement, RouteIndex};
use http::{HeaderMap, Method};

const LOOKUPS: u32 = 2_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    for count in [10, 10_000] {
        let routes: Result<Vec<_>, Box<dyn Error>> =
            (0..count).map(|number| route(number).map(Arc::new)).collect();
        let (index, shadowed) = RouteIndex::build(&routes?);
        if !shadowed.is_empty() {
            return Err("a route of the measurement can never win".into());
        }
        let (method, headers) = (Method::GET, HeaderMap::new());
        let paths: Vec<String> = (0..64)
            .map(|i| format!("/api/v1/service{}/items/{i}/notes", i * 7919 % count))
            .collect();
        let began = Instant::now();
        let mut found = 0_u32;
        for path in paths.iter().cycle().take(usize::try_from(LOOKUPS)?) {
            let lookup = Lookup {
                host: "api.example.com",
                path: black_box(path),
                method: &method,
                preflight: None,
                headers: &headers,
                query: None,
            };
            found += u32::from(black_box(index.find(&lookup)).is_some());
        }
        let each = began.elapsed() / LOOKUPS;
        println!("{count:>6} routes: {each:?} a look-up, {found} of {LOOKUPS} found");
    }
    Ok(())
}

fn route(number: u32) -> Result<Route, Box<dyn Error>> {
    Ok(Route {
        name: format!("service{number}").into(),
        source: "".into(),
        matches: Matches {
            hosts: vec![HostPattern::parse("api.example.com")?],
            path: Template::parse(&format!("/api/v1/service{number}/items/{{id}}/**"))?,
            methods: vec![Method::GET, Method::POST],
            ..Matches::default()
        },
        upstream: "u".into(),
        chain: Chain::new(Requirement::Public, Vec::new(), Vec::new()),
        websocket: false,
        path_exceptions: demilune_core::PathExceptions::default(),
    })
}
