//! What the documentation shows works as it stands there: examples, the README, the demo's lines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use demilune_testkit::{Gateway, Origin, eventually, gateway, peer};

const EXE: &str = env!("CARGO_BIN_EXE_demilune");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The files of a folder whose names end so, from the repository's root.
fn files(folder: &str, end: &str) -> Vec<String> {
    let names = fs::read_dir(root().join(folder)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<String> =
        names.filter(|name| name.ends_with(end)).map(|name| format!("{folder}/{name}")).collect();
    all.sort();
    assert!(!all.is_empty(), "no *{end} in {folder}");
    all
}

fn examples() -> Vec<String> {
    [files("examples", ".yaml"), files("examples/policies", ".yaml")].concat()
}

/// The lines of `text` that begin with `word`, each with those that it goes on in (behind a `\`);
/// `before` is cut off from each line.
fn commands(text: &str, before: &[&str], word: &str) -> Vec<String> {
    let mut lines = text.lines().map(|line| {
        let line = line.trim();
        before.iter().find_map(|before| line.strip_prefix(before)).unwrap_or(line).trim()
    });
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        if !line.starts_with(word) {
            continue;
        }
        let mut command = line.to_owned();
        while command.ends_with('\\') {
            command.push('\n');
            command.push_str(lines.next().unwrap());
        }
        all.push(command);
    }
    all
}

/// Runs a `curl` line as it would be pasted; the status of each answer, in order.
fn statuses(line: &str) -> Vec<u16> {
    // The shell finds it by its name: this says what to install where it does not.
    let _ = peer("curl");
    let told = line.replacen("curl ", "curl -sS -o /dev/null -w '%{http_code} ' --max-time 20 ", 1);
    let output = Command::new("sh").args(["-c", &told]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    out.split_whitespace().map(|status| status.parse().unwrap()).collect()
}

/// The gateway with an example as it stands, but for the ports.
fn started(example: &str, origin: &Origin) -> Gateway {
    let builder = gateway(EXE).document(example);
    for folder in ["examples", "examples/policies"] {
        fs::create_dir(builder.folder().join(folder)).unwrap();
    }
    for file in [examples(), files("examples/policies", ".txt")].concat() {
        let mut text = read(&file);
        for port in ["8080", "8081", "9443"] {
            text = text.replace(&format!("address: 127.0.0.1:{port}"), "address: 127.0.0.1:0");
        }
        let text = text.replace("http://127.0.0.1:9000", &origin.url());
        fs::write(builder.folder().join(file), text).unwrap();
    }
    builder.start()
}

#[test]
fn every_example_is_a_good_document() {
    for example in examples() {
        let output = Command::new(EXE).arg("check").arg(root().join(&example)).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.starts_with("ok: "), "{example}: {out}");
    }
}

#[test]
fn every_example_is_served_and_what_it_says_to_try_works() {
    let origin = Origin::start();
    let mut tried = 0;
    for example in examples() {
        let gateway = started(&example, &origin);
        for line in commands(&read(&example), &["# Try:", "#"], "curl ") {
            let listener = if example.ends_with("gateway.yaml") { "public" } else { "web" };
            let address = gateway.address(listener).to_string();
            let statuses = statuses(&line.replace("127.0.0.1:8080", &address));
            assert!(statuses.iter().all(|s| (200..300).contains(s)), "{line}: {statuses:?}");
            tried += 1;
        }
        drop(gateway.stop());
    }
    assert!(tried > 0, "no example says what to try");
}

#[test]
fn the_readme_shows_the_minimal_example_and_what_it_says_of_it_works() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    assert_eq!(shown, read("examples/minimal.yaml"));
    for word in ["demilune check ", "demilune explain "] {
        let lines = commands(&readme, &[], word);
        assert!(!lines.is_empty(), "the README has no `{word}`");
        for line in lines {
            let line = line.replacen("demilune", EXE, 1);
            let mut shell = Command::new("sh");
            let output = shell.args(["-c", &line]).current_dir(root()).output().unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
        }
    }
    let origin = Origin::start();
    let gateway = started("examples/minimal.yaml", &origin);
    let address = gateway.address("public").to_string();
    let lines = commands(&readme, &[], "curl ");
    assert!(!lines.is_empty(), "the README has no `curl`");
    for line in lines {
        assert_eq!(statuses(&line.replace("127.0.0.1:8080", &address)), [200], "{line}");
    }
    assert_eq!(origin.last().line, "GET /orders/7 HTTP/1.1");
    let mut client = gateway.client("public");
    assert_eq!(client.get("/products/1", &[]).status, 200);
    assert_eq!(client.get("/orders/7", &[]).status, 401);
    assert_eq!(client.get("/other", &[]).status, 404);
}

/// A running demo. It is killed when dropped.
struct Demo {
    child: Child,
    said: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    /// Starts it on a free port and reads what it says at the start.
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let mut command = Command::new(EXE);
        command.args(["demo", "--port", &port]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut demo = Self { child, said: String::new() };
        for line in lines {
            demo.said.push_str(&line.unwrap());
            demo.said.push('\n');
            if demo.said.contains("Ctrl-C ends the demo") {
                assert!(demo.said.contains(&format!("https://localhost:{port}")), "{}", demo.said);
                return demo;
            }
        }
        panic!("the demo ended: {}", demo.said);
    }
}

#[test]
fn every_line_that_the_demo_prints_works_when_pasted() {
    let mut demo = Demo::start();
    let lines = commands(&demo.said, &[], "curl ");
    let answers: Vec<Vec<u16>> = lines.iter().map(|line| statuses(line)).collect();
    let [products, none, orders, order, stock, many, nothing] = &answers[..] else {
        panic!("other lines: {lines:#?}")
    };
    assert_eq!([&products[..], none, orders, order], [&[200][..], &[401], &[200], &[201]]);
    assert_eq!([&stock[..], nothing], [&[403][..], &[404]]);
    assert_eq!((many.len(), many.first(), many.last()), (25, Some(&200), Some(&429)));
    let (_, operator) = demo.said.split_once("operator   ").unwrap();
    let ready = operator.split_whitespace().next().unwrap();
    assert_eq!(statuses(&format!("curl {ready}")), [200]);
    let (_, document) = demo.said.split_once("document   ").unwrap();
    let folder = Path::new(document.split_whitespace().next().unwrap()).parent().unwrap();
    assert!(folder.join("ca.pem").is_file());
    let pid = demo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = eventually("the demo ends", || demo.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    assert!(!folder.exists(), "{} was left behind", folder.display());
}
