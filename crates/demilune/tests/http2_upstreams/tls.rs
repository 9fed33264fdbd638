//! HTTP/2 where an endpoint chooses it within TLS; nginx as a real one.

use demilune_testkit::{Authority, Document, Gateway, Nginx, gateway, peer};

/// Before an nginx, with HTTP/2 offered to it or not.
fn before(nginx: impl Fn(&std::path::Path) -> Nginx, upstream: &str) -> (Gateway, Nginx) {
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    let authority = Authority::new();
    let _ = authority.write(builder.folder());
    authority.issue(builder.folder(), "origin", &["localhost"]);
    let nginx = nginx(builder.folder());
    let document = Document::default()
        .endpoint(&format!("https://localhost:{}", nginx.address.port()))
        .upstream("tls: { authorities: authority.pem }")
        .upstream(upstream)
        .listener("http2: prior_knowledge");
    (builder.config(document).start(), nginx)
}

fn spoken(gateway: &Gateway) -> String {
    gateway.client("main").get("/protocol", &[]).text()
}

#[test]
fn http_2_is_spoken_where_it_is_offered_and_chosen_and_nowhere_else() {
    let with = |folder: &std::path::Path| Nginx::http2(folder, "origin");
    let without = |folder: &std::path::Path| Nginx::start(folder, "origin");
    let (gateway, _nginx) = before(with, "http2: alpn");
    assert_eq!(spoken(&gateway), "HTTP/2.0");
    let (gateway, _nginx) = before(with, "retry: { attempts: 1 }");
    assert_eq!(spoken(&gateway), "HTTP/1.1");
    let (gateway, _nginx) = before(without, "http2: alpn");
    for _ in 0..3 {
        assert_eq!(spoken(&gateway), "HTTP/1.1");
    }
}

#[test]
fn a_real_origin_answers_many_requests_over_http_2() {
    let with = |folder: &std::path::Path| Nginx::http2(folder, "origin");
    let (gateway, _nginx) = before(with, "http2: alpn");
    let url = format!("http://{}/", gateway.address("main"));
    let args = ["-n", "3000", "-c", "4", "-m", "50", "-N", "60"];
    let output = peer("h2load").args(args).arg(url).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("status codes: 3000 2xx"), "{told}");
}
