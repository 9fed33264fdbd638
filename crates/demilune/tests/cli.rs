//! The command line as its users meet it: the real binary on documents in a folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PEPPER: &str = "an example pepper, of more than thirty-two bytes";

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The exit code and every one of these in what was printed to standard output.
    fn expect(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(self.out.contains(text), "expected `{text}` in {self:#?}");
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    fn hides(&self, canary: &str) {
        let seen = self.out.contains(canary) || self.err.contains(canary);
        assert!(!seen, "{canary} is shown: {self:#?}");
    }
}

/// A folder with documents, in which commands run.
struct Folder(TempDir);

impl Folder {
    fn with(document: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("pepper", PEPPER);
        folder.write("gateway.yaml", document);
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_demilune"))
            .args(args)
            .current_dir(self.0.path())
            .env("CANARY_PEPPER", PEPPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended before this is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

const GOOD: &str = r#"version: 1
secrets:
  key_pepper: { file: pepper }
listeners:
  web: { address: 127.0.0.1:8080 }
upstreams:
  shop: { endpoints: ["http://127.0.0.1:9000"] }
consumers:
  acme: { groups: [partners] }
authenticators:
  keys: { key_auth: { pepper: key_pepper } }
defaults:
  policies:
    - request_size: { body: 1KiB }
routes:
  orders:
    match: { path: "/orders/**" }
    upstream: shop
    authenticate: keys
    policies:
      - ip_restriction: { allow: [127.0.0.0/8] }
  status:
    match: { path: /status }
    upstream: shop
    public: monitors read it
"#;

fn with_hash(hash: &str) -> String {
    let credentials =
        format!("groups: [partners], credentials: [{{ api_key: {{ hash: \"{hash}\" }} }}]");
    GOOD.replace("groups: [partners]", &credentials)
}

#[test]
fn a_good_document_is_ok() {
    let folder = Folder::with(GOOD);
    let ran = folder.run(&["check", "gateway.yaml"]);
    ran.expect(0, &["ok: 2 routes, 1 upstream, 1 listener, 1 consumer; version "]);
    assert_eq!(ran.err, "");
    folder.run(&["check", "--config", "gateway.yaml"]).expect(0, &["ok: "]);
    let ran = folder.run(&["check", "gateway.yaml", "--output", "json"]);
    ran.expect(0, &[]);
    let json = ran.json();
    assert_eq!((&json["ok"], &json["diagnostics"]), (&true.into(), &Value::Array(Vec::new())));
    assert_eq!(json["version"].as_str().unwrap().len(), 16);
}

#[test]
fn a_bad_document_is_told_whole_and_with_places() {
    let bad = GOOD.replace("upstream: shop\n    public", "upstream: shopp\n    publik");
    let folder = Folder::with(&bad);
    let ran = folder.run(&["check", "gateway.yaml"]);
    ran.expect(1, &["--> gateway.yaml:25:5", "did you mean `public`?", "1 problem"]);
    let bad = GOOD.replace("upstream: shop\n", "upstream: shopp\n");
    folder.write("gateway.yaml", &bad);
    let ran = folder.run(&["check", "gateway.yaml", "--output", "json"]);
    ran.expect(1, &[]);
    let json = ran.json();
    assert_eq!((&json["ok"], &json["version"]), (&false.into(), &Value::Null));
    let rows = json["diagnostics"].as_array().unwrap();
    let lines: Vec<_> = rows.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [18, 24]);
    assert_eq!(rows[0]["path"], "routes.orders.upstream");
    assert_eq!(rows[0]["help"], "did you mean `shop`?");
}

#[test]
fn what_only_the_data_plane_can_tell_has_its_place_too() {
    let tls = "address: 127.0.0.1:8443, tls: { certificates: [{ chain: c.pem, key: k.pem }] }";
    let folder = Folder::with(&GOOD.replace("address: 127.0.0.1:8080", tls));
    folder.write("c.pem", "canary-chain");
    folder.write("k.pem", "canary-key");
    let ran = folder.run(&["check", "gateway.yaml"]);
    ran.expect(1, &["error[tls.certificate]", "--> gateway.yaml:5:"]);
    ran.hides("canary-key");
}

#[test]
fn a_document_that_is_not_there_is_named() {
    let folder = Folder::with(GOOD);
    folder.run(&["check", "missing.yaml"]).expect(1, &["missing.yaml", "1 problem"]);
    let ran = folder.run(&["explain", "GET /", "--config", "missing.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error: the document cannot be used: 1 problem"), "{}", ran.err);
}

#[test]
fn a_new_key_opens_the_route_that_its_hash_is_written_for() {
    let folder = Folder::with(GOOD);
    let ran = folder.run(&["key", "new", "--config", "gateway.yaml", "--pepper", "key_pepper"]);
    ran.expect(0, &["key   dml_live_", "hash  hmac-sha256:1:", "- api_key: { hash: \"hmac-"]);
    let word = |name: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (key, hash) = (word("key"), word("hash"));
    assert_eq!(ran.out.matches(&key).count(), 1);
    folder.write("gateway.yaml", &with_hash(&hash));
    let header = format!("x-api-key: {key}");
    for output in ["text", "json"] {
        let ran = folder.run(&[
            "explain",
            "GET http://127.0.0.1:8080/orders/7?x=1",
            "--config",
            "gateway.yaml",
            "--header",
            &header,
            "--header",
            "x-other: canary-header",
            "--output",
            output,
        ]);
        ran.expect(0, &["keys: proved acme", "x-other", "<as given>"]);
        ran.hides(&key);
        ran.hides("canary-header");
    }
    let other = folder.run(&["key", "new", "--pepper-file", "pepper", "--output", "json"]).json();
    let header = format!("x-api-key: {}", other["key"].as_str().unwrap());
    let ran = folder.run(&[
        "explain",
        "GET http://127.0.0.1/orders",
        "--config",
        "gateway.yaml",
        "--header",
        &header,
    ]);
    ran.expect(0, &["verdict: 401 key_auth.unknown"]);
}

#[test]
fn a_pepper_may_stand_in_a_file_or_in_the_environment() {
    let folder = Folder::with(GOOD);
    let sources: [&[&str]; 2] =
        [&["--pepper-file", "pepper"], &["--pepper-env", "CANARY_PEPPER", "--env", "test"]];
    for (source, env) in sources.into_iter().zip(["live", "test"]) {
        let args = [&["key", "new", "--output", "json"], source].concat();
        let ran = folder.run(&args);
        ran.expect(0, &[]);
        let json = ran.json();
        assert!(json["key"].as_str().unwrap().starts_with(&format!("dml_{env}_")));
        assert_eq!(json["credential"]["api_key"]["hash"], json["hash"]);
        ran.hides(PEPPER);
    }
}

#[test]
fn what_is_wrong_with_a_pepper_is_told_without_it() {
    let folder = Folder::with(GOOD);
    folder.write("short", "canary-pepper");
    for args in [
        &["--pepper-file", "short"][..],
        &["--pepper-file", "missing"],
        &["--pepper-env", "UNSET_PEPPER"],
        &["--config", "gateway.yaml", "--pepper", "canary-pepper"],
    ] {
        let ran = folder.run(&[&["key", "new"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:#?}");
        assert!(ran.err.starts_with("error: "), "{ran:#?}");
        ran.hides("canary-pepper");
    }
}

#[test]
fn a_password_is_read_from_standard_input_and_not_shown() {
    let folder = Folder::with(GOOD);
    let password = "correct-horse-canary";
    for input in [password.to_owned(), format!("{password}\n"), format!("{password}\r\n")] {
        let ran = folder.run_with(&["password", "hash"], &input);
        ran.expect(
            0,
            &["hash  $argon2id$v=19$", "- basic: { user: NAME, password_hash: \"$argon2id"],
        );
        ran.hides("canary");
    }
    let json = folder.run_with(&["password", "hash", "--output", "json"], password).json();
    let hash = json["hash"].as_str().unwrap();
    let document = GOOD
        .replace("key_auth: { pepper: key_pepper }", "basic_auth: { plain_text: a test }")
        .replace(
            "groups: [partners]",
            &format!("credentials: [{{ basic: {{ user: u, password_hash: \"{hash}\" }} }}]"),
        );
    folder.write("gateway.yaml", &document);
    let header = "authorization: Basic dTpjb3JyZWN0LWhvcnNlLWNhbmFyeQ==";
    let ran = folder.run(&[
        "explain",
        "GET http://127.0.0.1/orders",
        "--config",
        "gateway.yaml",
        "--header",
        header,
    ]);
    ran.expect(0, &["keys: proved acme"]);
    ran.hides("dTpjb3JyZWN0");
    for bad in
        ["short", "two\nlines-of-canary", "canary-canary-canary", "", "\u{7f}canary-and-more"]
    {
        let ran = folder.run_with(&["password", "hash"], bad);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:#?}");
        ran.hides("canary");
    }
}

#[test]
fn an_explanation_tells_decisions_and_values_with_their_lines() {
    let folder = Folder::with(GOOD);
    let ask =
        |args: &[&str]| folder.run(&[&["explain", "--config", "gateway.yaml"], args].concat());
    let ran = ask(&["POST http://127.0.0.1:8080/orders/7", "--as", "acme", "--body", "{}"]);
    ran.expect(
        0,
        &[
            "listener  web (gateway.yaml:5)",
            "route     orders (gateway.yaml:16)",
            "identity  any of: keys (gateway.yaml:19)",
            "edge          ip_restriction: continue",
            "authenticate  as: proved acme",
            "verdict: the upstream `shop` is asked",
            "  POST /orders/7\n",
            "  x-consumer-groups: partners\n",
            "  x-consumer-name: acme\n",
        ],
    );
    for (key, value, place) in [
        ("request_size.body", "\"1KiB\"", "gateway.yaml:14"),
        ("request_size.target", "\"4KiB\"", "default"),
        ("ip_restriction.allow", "[\"127.0.0.0/8\"]", "gateway.yaml:21"),
    ] {
        let line = ran.out.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, [key, value, place]);
    }
    ask(&["GET http://127.0.0.1/orders", "--from", "192.0.2.7"]).expect(
        0,
        &[
            "from 192.0.2.7",
            "verdict: 403 ip_restriction.address",
            "  403 Forbidden\n",
            "content-type: application/problem+json",
            "\"status\":403",
        ],
    );
    ask(&["GET http://127.0.0.1/status"])
        .expect(0, &["identity  public: monitors read it (gateway.yaml:25)"]);
    ask(&["GET http://127.0.0.1/none"]).expect(0, &["route     none matches", "404 route.none"]);
    folder.write("large", &"x".repeat(2_000));
    ask(&["POST http://127.0.0.1/status", "--body", "@large"])
        .expect(0, &["verdict: 413 request_size.body"]);
    let json = ask(&["GET http://127.0.0.1/orders", "--output", "json"]).json();
    assert_eq!((&json["status"], &json["code"]), (&401.into(), &"authentication.required".into()));
    assert_eq!((&json["route"]["name"], &json["upstream"]), (&"orders".into(), &Value::Null));
}

#[test]
fn a_kept_credential_is_not_shown_on_its_way_to_the_upstream() {
    let kept = GOOD
        .replace("public: monitors read it", "public: all\n    keep_credential: legacy")
        .replace(
            "pepper: key_pepper }",
            "pepper: key_pepper, in_query: { parameter: k, reason: old } }",
        );
    let folder = Folder::with(&kept);
    let ran = folder.run(&[
        "explain",
        "GET http://127.0.0.1/status?k=canary-query",
        "--config",
        "gateway.yaml",
        "--header",
        "x-api-key: canary-key",
        "--header",
        "cookie: canary-cookie",
    ]);
    ran.expect(0, &["x-api-key: <as given>", "cookie: <as given>", "GET /status?<as given>"]);
    ran.hides("canary");
}

#[test]
fn a_question_that_cannot_be_put_is_wrong_usage() {
    let folder = Folder::with(GOOD);
    for args in [
        &["GET"][..],
        &["GET http://127.0.0.1/orders", "--header", "canary-without-colon"],
        &["GET http://127.0.0.1/orders", "--header", "canary name: x"],
        &["GET http://127.0.0.1/orders", "--header", "x: canary\nvalue"],
        &["GET http://127.0.0.1/orders\nx: y"],
        &["GET https://127.0.0.1/orders"],
        &["GET http://127.0.0.1/orders", "--listener", "other"],
        &["GET http://127.0.0.1/orders", "--as", "nobody"],
        &["GET http://127.0.0.1/orders", "--from", "somewhere"],
    ] {
        let ran = folder.run(&[&["explain", "--config", "gateway.yaml"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:#?}");
        assert!(ran.err.starts_with("error: "), "{ran:#?}");
        ran.hides("canary");
    }
}

#[test]
fn what_loosens_is_marked_and_ends_with_one() {
    let folder = Folder::with(GOOD);
    let changed = |from: &str, to: &str| {
        folder.write("after.yaml", &GOOD.replace(from, to));
        folder.run(&["diff", "gateway.yaml", "after.yaml"])
    };
    changed("", "").expect(0, &["both documents mean the same"]);
    changed("body: 1KiB", "body: 512B").expect(
        0,
        &[
            "changes  defaults.policies[request_size].body: 1KiB → 512B \
             (gateway.yaml:14 → after.yaml:14)",
            "1 change, none of which loosens security",
        ],
    );
    changed("authenticate: keys", "public: all").expect(
        1,
        &[
            "loosens  routes.orders.public: added all: anybody may call it (after.yaml:19)",
            "2 changes, 1 of which loosen security",
        ],
    );
    let json = folder.run(&["diff", "gateway.yaml", "after.yaml", "--output", "json"]).json();
    assert_eq!((&json["loosens"], &json["changes"][0]["loosens"]), (&true.into(), &true.into()));
    assert_eq!(json["changes"][0]["after"], "after.yaml:19");
    let hash = format!("hmac-sha256:1:{}", "c0".repeat(32));
    folder.write("after.yaml", &with_hash(&hash));
    let ran = folder.run(&["diff", "gateway.yaml", "after.yaml"]);
    ran.expect(1, &["loosens  consumers.acme.credentials: added api_key"]);
    ran.hides("c0c0c0");
    folder.write("after.yaml", "version: 1\nroutess: {}\n");
    let ran = folder.run(&["diff", "gateway.yaml", "after.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:#?}");
    assert!(ran.err.contains("after.yaml:2:1") && ran.err.contains("did you mean `routes`?"));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated_by_any_command() {
    let key = "dml_test_k5hwFoe4Jp8ud3oC8vWHSLqpHuSIDa_0kGPbv";
    for document in [
        with_hash(key),
        GOOD.replace("{ file: pepper }", key),
        GOOD.replace("pepper: key_pepper", &format!("pepper: {key}")),
        GOOD.replace("key_auth: { pepper: key_pepper }", &format!("key_auth: {{ peper: {key} }}")),
    ] {
        let folder = Folder::with(&document);
        folder.write("good.yaml", GOOD);
        for args in [
            &["check", "gateway.yaml"][..],
            &["check", "gateway.yaml", "--output", "json"],
            &["explain", "GET http://127.0.0.1/", "--config", "gateway.yaml"],
            &["key", "new", "--config", "gateway.yaml", "--pepper", "key_pepper"],
            &["run", "--config", "gateway.yaml"],
        ] {
            let ran = folder.run(args);
            ran.hides("k5hwFoe4Jp8ud3oC8vWHSLqpHuSIDa");
            if args[0] != "key" {
                assert_eq!(ran.code, 1, "{ran:#?}");
            }
        }
        let ran = folder.run(&["diff", "good.yaml", "gateway.yaml"]);
        assert_eq!(ran.code, 1, "{ran:#?}");
    }
}

#[test]
fn help_teaches_and_names_every_command_and_exit_code() {
    let folder = Folder::with(GOOD);
    let help = folder.run(&["--help"]);
    let commands =
        ["run", "demo", "check", "explain", "diff", "schema", "key", "password", "completions"];
    for command in commands {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command}: {}", help.out);
        folder.run(&["help", command]).expect(0, &["Example"]);
        folder.run(&[command, "--help"]).expect(0, &["Usage: demilune ", "Example"]);
    }
    help.expect(0, &["0  fine", "1  the document", "2  the command", "3  the gateway"]);
    folder.run(&["--version"]).expect(0, &["demilune "]);
    assert_eq!(folder.run(&["nonsense"]).code, 2);
    assert_eq!(folder.run(&["run"]).code, 2);
    assert_eq!(folder.run(&["run", "--config", "gateway.yaml", "--workers", "0"]).code, 2);
}

#[test]
fn completions_and_the_schema_are_printed() {
    let folder = Folder::with(GOOD);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        folder.run(&["completions", shell]).expect(0, &["demilune", "explain"]);
    }
    let schema = folder.run(&["schema"]).json();
    assert_eq!(schema["title"], "Demilune's configuration");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let folder = Folder::with(GOOD);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_demilune"))
        .arg("schema")
        .current_dir(folder.0.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
}
