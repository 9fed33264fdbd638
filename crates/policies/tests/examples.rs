//! Every policy and authenticator has an example in `examples/policies/` that loads and uses it,
//! and that does what its comments say.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use demilune_backends::{MemoryCounters, Pool, TestClock};
use demilune_config::explain::{Explanation, Question, explain};
use demilune_config::{Compiled, Document, Services, compile, load};
use demilune_core::Moment;
use demilune_policies::{AUTHENTICATORS, POLICIES};
use http::HeaderMap;

fn example(name: &str) -> (Document, Compiled) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let document = load(&folder.join(format!("{name}.yaml")))
        .unwrap_or_else(|rejected| panic!("{name}: {rejected}"));
    let counters = Arc::new(MemoryCounters::new(16));
    let services = Services { counters, compute: Arc::new(Pool::new(1, 1).unwrap()) };
    let compiled = compile(&document, &services)
        .unwrap_or_else(|found| panic!("{name}: {}", found.render(&document.sources)));
    (document, compiled)
}

fn ask(name: &str, request: &str) -> Explanation {
    let (document, compiled) = example(name);
    let question = Question::parse(request).unwrap();
    let clock = TestClock::at(Moment::default());
    explain(&document, &compiled.snapshot, &clock, &question, HeaderMap::new()).unwrap()
}

#[test]
fn every_policy_has_an_example_that_loads_and_uses_it() {
    for meta in POLICIES.iter().chain(AUTHENTICATORS) {
        let name = meta.name;
        let (document, _) = example(name);
        let model = &document.model;
        let routes = model.routes.values().flat_map(|route| &route.policies);
        let policies = model.defaults.policies.iter().chain(routes).map(|policy| policy.meta());
        let authenticators = model.authenticators.values().map(|config| config.meta());
        let used = policies.chain(authenticators).any(|meta| meta.name == name);
        assert!(used, "{name}.yaml does not use {name}");
    }
}

#[test]
fn the_key_and_the_password_that_the_examples_give_away_work() {
    let key = "dml_example_ThisIsOnlyAnExampleDoNotUseIt0_3Et5Bh";
    let request = format!("GET http://127.0.0.1:8080/orders\nx-api-key: {key}");
    assert_eq!(ask("key_auth", &request).status, 200);
    let request = format!("POST http://127.0.0.1:8080/scans/1?api_key={key}");
    assert_eq!(ask("key_auth", &request).status, 200);
    let basic = STANDARD.encode("acme:example only, not a secret");
    let request = format!("GET http://127.0.0.1:8080/orders\nauthorization: Basic {basic}");
    assert_eq!(ask("basic_auth", &request).status, 200);
}

#[test]
fn the_requests_in_the_comments_end_as_told() {
    let preflight = "OPTIONS http://127.0.0.1:8080/cart/1\norigin: https://app.example.com\n\
                     access-control-request-method: PUT\n\
                     access-control-request-headers: content-type";
    assert_eq!(ask("cors", preflight).status, 204);
    for (sent, forwarded) in [
        ("/v1/tenants/acme/orders/7?full=1", "/orders/acme/orders/7?full=1"),
        ("/v2/orders", "/orders"),
    ] {
        let outgoing = ask("rewrite", &format!("GET http://127.0.0.1:8080{sent}")).outgoing;
        assert_eq!(outgoing.unwrap().target.as_path_and_query(), forwarded);
    }
}
