//! What a listener's TLS can be told: versions, client certificates, stapling, tickets; judged by
//! sslyze, OpenSSL and curl.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use demilune_testkit::{Authority, Gateway, GatewayBuilder, Origin, eventually, gateway, peer};

const FAILURES: &str = "demilune_tls_handshake_failures_total{listener=\"secure\"}";
const CLIENT: &str = "client_certificates: { authorities: authority.pem";

fn builder(authority: &Authority) -> GatewayBuilder {
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    let _ = authority.write(builder.folder());
    builder
}

/// A document whose listeners have the certificate `api` and these further settings of `tls`.
fn document(listeners: &[(&str, &str)], upstream: &str) -> String {
    let mut text = "version: 1\nadmin: { address: 127.0.0.1:0 }\nlisteners:\n".to_owned();
    for (name, more) in listeners {
        let certificates = if more.contains("certificates: [") {
            ""
        } else {
            "certificates: [{ chain: api.pem, key: api.key }], "
        };
        text.push_str(&format!(
            "  {name}: {{ address: 127.0.0.1:0, tls: {{ {certificates}{more} }} }}\n"
        ));
    }
    text.push_str(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{upstream}\"] }}\nroutes:\n  all: {{ match: {{ \
         path: /** }}, upstream: origin, public: for the test }}\n"
    ));
    text
}

/// What curl made of `https://NAME/PATH` of a listener: its exit code, and the status.
fn curl(gateway: &Gateway, listener: &str, url: &str, args: &[&str]) -> (Option<i32>, String) {
    let address = gateway.address(listener);
    let output = peer("curl")
        .args(["--silent", "--max-time", "20", "--noproxy", "*", "--cacert", "authority.pem"])
        .args(["--connect-to", &format!("::{address}"), "--output", "/dev/null"])
        .args(["--write-out", "%{http_code}"])
        .args(args)
        .arg(url)
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn served() -> (Option<i32>, String) {
    (Some(0), "200".to_owned())
}

/// Everything that `openssl s_client` tells of a handshake in which it says nothing further.
fn s_client(gateway: &Gateway, listener: &str, args: &[&str]) -> String {
    let address = gateway.address(listener).to_string();
    let mut command = peer("openssl");
    command.args(["s_client", "-connect", &address, "-servername", "api.example"]).args(args);
    let output = command.current_dir(gateway.folder()).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn sslyze_finds_the_settings_compliant_with_mozillas_recommendations() {
    let authority = Authority::new();
    let builder = builder(&authority);
    authority.issue_for(builder.folder(), "api", &["localhost"], 80);
    let listeners = [("intermediate", ""), ("modern", "minimum_version: \"1.3\"")];
    let gateway = builder.config(document(&listeners, "http://127.0.0.1:9")).start();
    for (profile, _) in listeners {
        let address = format!("localhost:{}", gateway.address(profile).port());
        let output = peer("sslyze")
            .args(["--mozilla_config", profile, "--certinfo_ca_file"])
            .arg(gateway.folder().join("authority.pem"))
            .arg(address)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("OK - Compliant"), "{profile}: {told}");
    }
}

#[test]
fn a_minimum_version_and_suites_are_kept_to() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let builder = builder(&authority);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let few = "cipher_suites: [TLS_CHACHA20_POLY1305_SHA256, \
               TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let listeners = [("secure", "minimum_version: \"1.3\""), ("few", few)];
    let gateway = builder.config(document(&listeners, &origin.url())).start();
    let url = "https://api.example/";
    assert_eq!(curl(&gateway, "secure", url, &["--tlsv1.3"]), served());
    assert_eq!(curl(&gateway, "secure", url, &["--tls-max", "1.2"]).0, Some(35));
    for (args, suite) in [
        (&["-tls1_3"][..], "TLS_CHACHA20_POLY1305_SHA256"),
        (&["-tls1_2"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ] {
        let told = s_client(&gateway, "few", args);
        assert!(told.contains(&format!("Cipher is {suite}")), "{told}");
    }
    for args in [
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ] {
        let told = s_client(&gateway, "few", args);
        assert!(told.contains("alert"), "{told}");
    }
}

/// A gateway that asks for client certificates, and the certificates `acme`, `bad` and, of nobody
/// it knows, `stranger`.
fn asking(
    more: &str,
    origin: &Origin,
    prepare: impl Fn(&Authority, &Path),
) -> (Authority, Gateway) {
    let authority = Authority::new();
    let builder = builder(&authority);
    let folder = builder.folder();
    authority.issue(folder, "api", &["api.example"]);
    authority.issue_client(folder, "acme", "spiffe://example.com/acme");
    authority.issue_client(folder, "bad", "spiffe://example.com/bad");
    Authority::new().issue_client(folder, "stranger", "spiffe://example.com/acme");
    prepare(&authority, folder);
    let settings = format!("{CLIENT}{more} }}");
    let gateway = builder.config(document(&[("secure", &settings)], &origin.url())).start();
    (authority, gateway)
}

fn as_client(gateway: &Gateway, name: &str) -> (Option<i32>, String) {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let args = ["--cert", &*certificate, "--key", &*key];
    curl(gateway, "secure", "https://api.example/", &args)
}

#[test]
fn a_client_certificate_is_required_of_an_authority_that_is_named() {
    let origin = Origin::start();
    let (_, gateway) = asking("", &origin, |_, _| {});
    assert_eq!(as_client(&gateway, "acme"), served());
    let line = gateway.access("/");
    let shown = line["client_certificate"].as_str().unwrap().to_owned();
    let openssl = peer("openssl")
        .args(["x509", "-in", "acme.pem", "-noout", "-fingerprint", "-sha256"])
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    let told = String::from_utf8(openssl.stdout).unwrap().replace(':', "").to_ascii_lowercase();
    assert!(told.contains(&shown), "{told} {shown}");
    assert_ne!(curl(&gateway, "secure", "https://api.example/", &[]).0, Some(0));
    assert_ne!(as_client(&gateway, "stranger").0, Some(0));
    eventually("both are counted", || gateway.metric(FAILURES).filter(|n| *n == 2.0));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn where_it_is_optional_none_is_served_and_a_strangers_is_refused() {
    let origin = Origin::start();
    let (_, gateway) = asking(", mode: optional", &origin, |_, _| {});
    assert_eq!(as_client(&gateway, "acme"), served());
    assert_eq!(curl(&gateway, "secure", "https://api.example/none", &[]), served());
    assert_eq!(gateway.access("/none").get("client_certificate"), None);
    assert_ne!(as_client(&gateway, "stranger").0, Some(0));
}

#[test]
fn a_revoked_certificate_is_refused_as_soon_as_the_list_says_so() {
    let origin = Origin::start();
    let list = ", revocation: [list.crl]";
    let (authority, gateway) = asking(list, &origin, |authority, folder| {
        authority.revoke(&folder.join("list.crl"), &["bad"], 2200);
    });
    assert_eq!(as_client(&gateway, "acme"), served());
    assert_ne!(as_client(&gateway, "bad").0, Some(0));
    let loaded = gateway.after_reload(|| {
        authority.revoke(&gateway.folder().join("list.crl"), &["bad", "acme"], 2200);
    });
    assert_eq!(loaded["code"], "config.loaded", "{loaded}");
    assert_ne!(as_client(&gateway, "acme").0, Some(0));
}

#[test]
fn a_list_that_has_expired_or_is_of_another_authority_vouches_for_nobody() {
    let origin = Origin::start();
    let list = ", revocation: [list.crl]";
    let (_, gateway) = asking(list, &origin, |authority, folder| {
        authority.revoke(&folder.join("list.crl"), &[], 2025);
    });
    assert_ne!(as_client(&gateway, "acme").0, Some(0));
    let line = gateway.log("tls.revocation_expired");
    assert_eq!(line["fields"]["place"], "listeners.secure.tls.client_certificates.revocation[0]");
    let (_, gateway) = asking(list, &origin, |_, folder| {
        Authority::new().revoke(&folder.join("list.crl"), &[], 2200);
    });
    assert_ne!(as_client(&gateway, "acme").0, Some(0));
    assert!(origin.seen().is_empty());
}

#[test]
fn client_certificate_files_that_cannot_be_used_are_told_with_their_place() {
    let authority = Authority::new();
    for (field, code, more) in [
        ("authorities", "tls.authorities", "api.key }"),
        ("revocation", "tls.revocation", "authority.pem, revocation: [api.pem] }"),
    ] {
        let builder = builder(&authority);
        authority.issue(builder.folder(), "api", &["api.example"]);
        let settings = format!("client_certificates: {{ authorities: {more}");
        let (good, told) = builder.config(document(&[("secure", &settings)], "http://a")).check();
        assert!(!good && told.contains(&format!("error[{code}]")), "{field}: {told}");
        assert!(told.contains("demilune.yaml:4:"), "{field}: {told}");
    }
}

/// Has OpenSSL keep the session it is given for `listener` in the file `session`.
fn session(gateway: &Gateway, listener: &str, version: &str) {
    let address = gateway.address(listener).to_string();
    let mut command = peer("openssl");
    command.args(["s_client", "-connect", &address, "-servername", "api.example", version]);
    command.args(["-sess_out", "session", "-ign_eof", "-quiet"]);
    // Tickets come after the handshake: with the answer at the latest.
    let request = "GET / HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n\r\n";
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.current_dir(gateway.folder()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), request.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_session_is_good_for_its_own_listener_only_and_not_after_a_reload() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let builder = builder(&authority);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let optional = format!("{CLIENT}, mode: optional }}");
    let listeners = [("one", ""), ("two", ""), ("asks", &*optional)];
    let gateway = builder.config(document(&listeners, &origin.url())).start();
    for (round, version) in ["-tls1_3", "-tls1_2"].into_iter().enumerate() {
        let resumed = |listener: &str| {
            let told = s_client(&gateway, listener, &[version, "-sess_in", "session"]);
            assert!(told.contains("Reused, TLS") || told.contains("New, TLS"), "{told}");
            told.contains("Reused, TLS")
        };
        session(&gateway, "one", version);
        let all = ["one", "two", "asks"].map(resumed);
        assert_eq!(all, [true, false, false], "{version}");
        // Who asks for certificates sees each of them again.
        let kept = gateway.folder().join("session");
        let _ = fs::remove_file(&kept);
        session(&gateway, "asks", version);
        assert!(!kept.exists() || !resumed("asks"), "{version}");
        session(&gateway, "one", version);
        let drain = format!("shutdown: {{ drain: {}s }}\n", round + 5);
        let text = document(&listeners, &origin.url()) + &drain;
        assert_eq!(gateway.reload(&text)["code"], "config.loaded");
        assert!(!resumed("one"), "{version}");
    }
}

#[test]
fn an_ocsp_response_is_stapled_where_there_is_one_and_renewed_with_its_file() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let builder = builder(&authority);
    let folder = builder.folder();
    authority.write_key(folder);
    authority.issue(folder, "api", &["api.example"]);
    respond(&authority, folder, "V\t300101000000Z\t\t");
    let stapled = "certificates: [{ chain: api.pem, key: api.key, ocsp: api.ocsp }]";
    let listeners = [("secure", stapled), ("plain", "")];
    let gateway = builder.config(document(&listeners, &origin.url())).start();
    let told = s_client(&gateway, "secure", &["-status"]);
    assert!(told.contains("Cert Status: good"), "{told}");
    let told = s_client(&gateway, "plain", &["-status"]);
    assert!(told.contains("OCSP response: no response sent"), "{told}");
    let loaded = gateway.after_reload(|| {
        respond(&authority, gateway.folder(), "R\t300101000000Z\t240101000000Z\t");
    });
    assert_eq!(loaded["code"], "config.loaded", "{loaded}");
    let told = s_client(&gateway, "secure", &["-status"]);
    assert!(told.contains("Cert Status: revoked"), "{told}");
    let rejected = gateway.after_reload(|| {
        fs::write(gateway.folder().join("api.ocsp"), "junk").unwrap();
    });
    assert_eq!(rejected["code"], "config.rejected", "{rejected}");
    let told = rejected["fields"]["diagnostics"].as_str().unwrap();
    assert!(told.contains("the OCSP response is not a response in DER"), "{told}");
}

/// Has OpenSSL write `api.ocsp`; `entry` is how its index begins to tell of the certificate.
fn respond(authority: &Authority, folder: &Path, entry: &str) {
    let entry = format!("{entry}{}\tunknown\t/CN=api\n", authority.serial("api"));
    fs::write(folder.join("index"), entry).unwrap();
    let openssl = |args: &str| {
        let mut command = peer("openssl");
        command.arg("ocsp").args(args.split(' ')).current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("-issuer authority.pem -cert api.pem -reqout request -no_nonce");
    openssl(
        "-index index -CA authority.pem -rsigner authority.pem -rkey authority.key \
         -reqin request -respout fresh -ndays 7",
    );
    fs::rename(folder.join("fresh"), folder.join("api.ocsp")).unwrap();
}

#[test]
fn a_certificate_outside_its_time_is_served_and_told_of() {
    let authority = Authority::new();
    let builder = builder(&authority);
    authority.issue_expired(builder.folder(), "old", &["old.example"]);
    authority.issue_early(builder.folder(), "early", &["early.example"]);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let names =
        ["old", "early", "api"].map(|name| format!("{{ chain: {name}.pem, key: {name}.key }}"));
    let settings = format!("certificates: [{}]", names.join(", "));
    let builder = builder.config(document(&[("secure", &settings)], "http://127.0.0.1:9"));
    let (good, told) = builder.check();
    assert!(good, "{told}");
    for code in ["tls.expired", "tls.not_yet_valid"] {
        assert_eq!(told.matches(&format!("warning[{code}]")).count(), 1, "{told}");
    }
    let gateway = builder.start();
    for (code, at) in [("tls.expired", 0), ("tls.not_yet_valid", 1)] {
        let place = format!("listeners.secure.tls.certificates[{at}]");
        assert_eq!(gateway.log(code)["fields"]["place"], *place);
    }
    let series = "demilune_tls_certificate_expiry_timestamp_seconds{listener=\"secure\",\
                  place=\"listeners.secure.tls.certificates[0]\"}";
    // The first of January 2020.
    assert_eq!(gateway.metric(series), Some(1_577_836_800.0));
}

#[test]
fn over_http_2_each_request_has_the_client_that_its_proxy_names() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let builder = builder(&authority);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let trusted = "trusted_proxies: { networks: [127.0.0.1], header: x-forwarded-for }";
    let text = document(&[("secure", "")], &origin.url());
    let text = text.replacen("} }", &format!("}}, {trusted} }}"), 1);
    let gateway = builder.config(text).start();
    let url = |path: &str| format!("https://api.example{path}");
    let named = |address: &str| format!("x-forwarded-for: {address}");
    let (one, two) = (named("192.0.2.1"), named("192.0.2.2"));
    for (path, header) in [("/one", &one), ("/two", &two)] {
        assert_eq!(curl(&gateway, "secure", &url(path), &["--http2", "-H", header]), served());
    }
    for (path, client) in [("/one", "192.0.2.1"), ("/two", "192.0.2.2")] {
        let line = gateway.access(path);
        assert_eq!((&line["client"], &line["version"]), (&client.into(), &"HTTP/2".into()));
    }
}

#[test]
fn one_name_is_not_reached_behind_the_face_of_another() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let builder = builder(&authority);
    authority.issue(builder.folder(), "one", &["one.example", "also.example"]);
    authority.issue(builder.folder(), "two", &["two.example"]);
    let names = ["one", "two"].map(|name| format!("{{ chain: {name}.pem, key: {name}.key }}"));
    let settings = format!("certificates: [{}]", names.join(", "));
    let gateway = builder.config(document(&[("secure", &settings)], &origin.url())).start();
    let ask = |name: &str, host: &str, version: &str| {
        let host = format!("host: {host}");
        curl(&gateway, "secure", &format!("https://{name}/"), &["-H", &host, version]).1
    };
    for version in ["--http1.1", "--http2"] {
        assert_eq!(ask("one.example", "one.example", version), "200");
        assert_eq!(ask("one.example", "ONE.example:443", version), "200");
        // As browsers do: the certificate is good for it.
        assert_eq!(ask("one.example", "also.example", version), "200");
        assert_eq!(ask("one.example", "two.example", version), "421");
        assert_eq!(ask("two.example", "one.example", version), "421");
        assert_eq!(ask("two.example", "other.example", version), "421");
    }
    let line = gateway.wait(|line| line["status"] == 421);
    assert_eq!(line["code"], "tls.misdirected", "{line}");
}

#[test]
fn a_redirecting_listener_sends_clients_to_https_and_serves_nothing() {
    let origin = Origin::start();
    let text = format!(
        "version: 1
listeners:
  main: {{ address: 127.0.0.1:0 }}
  redirect: {{ address: 0.0.0.0:0, redirect: https }}
upstreams:
  origin: {{ endpoints: [\"{}\"] }}
routes:
  all: {{ match: {{ path: /** }}, upstream: origin, public: for the test }}
",
        origin.url()
    );
    let gateway = gateway(env!("CARGO_BIN_EXE_demilune")).config(text).start();
    let mut client = gateway.client("redirect");
    for (method, path, host, place) in [
        ("GET", "/a/../b?c=d&e", "API.example:8080", "https://api.example/b?c=d&e"),
        ("POST", "/", "[::1]:80", "https://[::1]/"),
        ("HEAD", "/%41//x", "api.example", "https://api.example/A/x"),
    ] {
        let reply = client.request(method, path, &[("host", host)], None);
        assert_eq!((reply.status, reply.header("location")), (308, Some(place)));
        assert!(reply.body.is_empty());
    }
    for host in ["a b", "u@a", "a/b", "a\r\nhost: b"] {
        let mut client = gateway.client("redirect");
        let reply = client.request("GET", "/", &[("host", host)], None);
        assert_eq!((reply.status, reply.header("location")), (400, None), "{host:?}");
    }
    assert!(origin.seen().is_empty());
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    assert_eq!(gateway.access("/b")["status"], 308);
}
