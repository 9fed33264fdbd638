//! Policies on requests, without a network: three strings.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use demilune_backends::{MemoryCounters, Pool, TestClock};
use demilune_config::explain::{Explanation, Question, explain};
use demilune_config::{Compiled, Document, Services, compile, load_text};
use demilune_core::{Clock, Moment};
use http::HeaderMap;

use crate::document::{PEPPER, callers};

/// The API key of the consumer `alice`.
pub const ALICE_KEY: &str = "dml_test_k5hwFoe4Jp8ud3oC8vWHSLqpHuSIDa_0kGPbv";
/// The password of the user `alice`.
pub const ALICE_PASSWORD: &str = "correct-horse-battery-staple";
/// The API key of the consumer `bob`.
pub const BOB_KEY: &str = "dml_test_HJs2RHQkB80ueNHSjDvfTgQDvizFQl_1i7ced";

/// Runs a route's policies on one request.
///
/// `policies` is YAML of a route: `authenticate: keys` (or `passwords`; without it the route is
/// public) and
/// `policies: […]`. `request` is `GET /path from 192.0.2.7`, then headers a line each, then after
/// an empty line a body. `expected` is `STATUS | step; step`, `…` for any number of steps; then
/// lines `> name: value` for a header that the upstream is sent, `> name:` for one that it is
/// not, `> GET /path` for its request line, and `< name: value` or `< name:` for the answer's
/// headers.
pub fn check(policies: &str, request: &str, expected: &str) {
    Harness::new(policies).check(request, expected);
}

/// Policies with their counters and a clock that stands still, for several requests in a row.
pub struct Harness {
    document: Document,
    compiled: Compiled,
    clock: Arc<TestClock>,
}

impl Harness {
    /// Compiles a document with one route of these policies. Panics where it does not compile.
    #[must_use]
    pub fn new(policies: &str) -> Self {
        Self::try_new(policies).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// As [`Harness::new`]; the rendered problems where it does not compile.
    ///
    /// # Errors
    /// The problems as an operator would read them.
    pub fn try_new(policies: &str) -> Result<Self, String> {
        let start = Moment { wall: Duration::from_secs(1_800_000_000), monotonic: Duration::ZERO };
        let clock = Arc::new(TestClock::at(start));
        let services = Services {
            counters: Arc::new(MemoryCounters::new(10_000)),
            compute: Arc::new(Pool::new(1, 8).unwrap()),
        };
        let text = document(policies);
        let document =
            load_text("test.yaml", &text, &folder()).map_err(|rejected| rejected.to_string())?;
        let compiled =
            compile(&document, &services).map_err(|found| found.render(&document.sources))?;
        Ok(Self { document, compiled, clock })
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// As [`check`].
    pub fn check(&self, request: &str, expected: &str) {
        let explanation = self.ask(request);
        let mut lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().expect("an expectation");
        let (status, steps) = first.split_once('|').unwrap_or((first, "…"));
        let told = tell(&explanation);
        assert_eq!(status.trim(), explanation.status.as_str(), "status of\n{told}");
        let trail = explanation.exchange.trail();
        let actual: Vec<String> = trail.steps().iter().map(ToString::to_string).collect();
        let wanted: Vec<&str> = steps.split(';').map(str::trim).filter(|s| !s.is_empty()).collect();
        assert!(fits(&wanted, &actual), "expected steps {wanted:?} in\n{told}");
        for line in lines {
            assert!(holds(line, &explanation), "expected `{line}` in\n{told}");
        }
    }

    /// What happens to a request.
    #[must_use]
    pub fn ask(&self, request: &str) -> Explanation {
        let mut question = Question::parse(request).expect("a request");
        if !request.lines().next().unwrap_or_default().contains(" from ") {
            question.from = [198, 51, 100, 1].into();
        }
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("server", "origin/1.0"),
            ("x-powered-by", "origin"),
        ] {
            upstream.insert(name, value.parse().unwrap());
        }
        let clock: &dyn Clock = &*self.clock;
        explain(&self.document, &self.compiled.snapshot, clock, &question, upstream)
            .expect("a question that can be put")
    }
}

fn tell(explanation: &Explanation) -> String {
    let mut text = format!("{} | {}\n", explanation.status.as_str(), explanation.exchange.trail());
    if let Some(outgoing) = &explanation.outgoing {
        let target = outgoing.target.as_path_and_query();
        let _ = writeln!(text, "> {} {target}", outgoing.method);
        for (name, value) in &outgoing.headers {
            let _ = writeln!(text, "> {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    for (name, value) in &explanation.response.headers {
        let _ = writeln!(text, "< {name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let _ = write!(text, "\n{}", String::from_utf8_lossy(&explanation.body));
    text
}

fn fits(wanted: &[&str], actual: &[String]) -> bool {
    match wanted.split_first() {
        None => actual.is_empty(),
        Some((&"…", rest)) => (0..=actual.len()).any(|skip| fits(rest, &actual[skip..])),
        Some((first, rest)) => {
            actual.split_first().is_some_and(|(a, more)| a == first && fits(rest, more))
        }
    }
}

fn holds(line: &str, explanation: &Explanation) -> bool {
    let header = |headers: &HeaderMap, text: &str| {
        let (name, value) = text.split_once(':').expect("`name: value`");
        let all = headers.get_all(name.trim());
        let mut all = all.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        match value.trim() {
            "" => all.next().is_none(),
            value => all.any(|actual| actual == value),
        }
    };
    match line.split_at(1) {
        ("<", rest) => header(&explanation.response.headers, rest.trim()),
        (">", rest) => {
            let outgoing = explanation.outgoing.as_ref().expect("a request to the upstream");
            match rest.trim().split_once(' ') {
                Some((method, target)) if !method.ends_with(':') => {
                    outgoing.method == *method
                        && outgoing.target.as_path_and_query().as_str() == target
                }
                _ => header(&outgoing.headers, rest.trim()),
            }
        }
        _ => panic!("expectation `{line}` begins with neither `<` nor `>`"),
    }
}

/// A folder with the files that the test document names; one a process.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("pepper", PEPPER), ("chain", "-"), ("key", "-")] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    });
    folder.path().to_owned()
}

fn document(policies: &str) -> String {
    static CALLERS: OnceLock<String> = OnceLock::new();
    let callers = CALLERS.get_or_init(callers);
    let identity =
        if policies.contains("authenticate:") { "" } else { "    public: for the test\n" };
    let policies: String = policies.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "version: 1
listeners:
  plain: {{ address: 127.0.0.1:80 }}
  secure:
    address: 127.0.0.1:443
    tls: {{ certificates: [{{ chain: chain, key: key }}] }}
upstreams:
  origin: {{ endpoints: [\"http://127.0.0.1:9\"] }}
{callers}routes:
  all:
    match: {{ path: /** }}
    upstream: origin
{identity}{policies}"
    )
}
