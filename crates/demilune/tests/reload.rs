//! The document replaced while the gateway runs: all or nothing, and nobody's request is lost.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use demilune_identity::{ApiKey, Pepper};
use demilune_testkit::{Authority, Client, Document, Gateway, Nginx, Origin, eventually, gateway};
use serde_json::Value;

const EXE: &str = env!("CARGO_BIN_EXE_demilune");
const LISTENERS: &str = "listeners:\n";

fn document(origin: &Origin) -> String {
    Document::before(origin).into()
}

/// With further listeners, a line each.
fn listeners(document: &str, more: &str) -> String {
    document.replace(LISTENERS, &format!("{LISTENERS}{more}"))
}

/// With another route, besides `all`.
fn with_route(document: &str, name: &str) -> String {
    let route = format!("match: {{ path: /{name} }}, upstream: origin, public: for the test");
    format!("{document}  {name}: {{ {route} }}\n")
}

/// The route that serves `path` now.
fn route(gateway: &Gateway, path: &str) -> String {
    let count = gateway.lines(|line| line["kind"] == "access" && line["path"] == path).len();
    let reply = gateway.client("main").get(path, &[]);
    let lines = gateway.wait_many(count + 1, |l| l["kind"] == "access" && l["path"] == path);
    assert_eq!(lines[count]["status"], reply.status);
    lines[count]["route"].as_str().unwrap_or("none").to_owned()
}

fn code(line: &Value) -> &str {
    line["code"].as_str().unwrap()
}

fn refuses(address: SocketAddr) {
    let refused = || TcpStream::connect(address).is_err().then_some(());
    eventually("connections are refused", refused);
}

fn ready(gateway: &Gateway) -> Value {
    let reply = gateway.operator("/readyz");
    assert_eq!(reply.status, 200);
    reply.json()
}

#[test]
fn a_bad_document_changes_nothing_but_what_the_operator_is_told() {
    let origin = Origin::start();
    let good = document(&origin);
    let gateway = gateway(EXE).config(&good).start();
    let before = ready(&gateway);
    assert_eq!(before["config"]["rejected"], Value::Null);
    let bad = good.replace("upstream: origin", "upstream: origni");
    let line = 1 + bad.lines().position(|line| line.contains("origni")).unwrap();
    let rejected = gateway.reload(&bad);
    assert_eq!((code(&rejected), &rejected["level"]), ("config.rejected", &"error".into()));
    assert_eq!(rejected["fields"]["problems"], "1");
    let told = rejected["fields"]["diagnostics"].as_str().unwrap();
    assert!(told.contains("error[config.unresolved]"), "{told}");
    assert!(told.contains(&format!("demilune.yaml:{line}:")), "{told}");
    assert!(told.contains("did you mean `origin`?"), "{told}");
    let now = ready(&gateway);
    assert_eq!(now["ready"], true);
    assert_eq!(now["config"]["version"], before["config"]["version"]);
    assert_eq!(now["config"]["rejected"], told);
    assert_eq!(gateway.metric("demilune_config_last_reload_successful"), Some(0.0));
    assert_eq!(gateway.metric("demilune_config_reloads_total{result=\"failure\"}"), Some(1.0));
    assert_eq!(gateway.metric("demilune_config_reloads_total{result=\"success\"}"), Some(1.0));
    assert_eq!(route(&gateway, "/still"), "all");
    let loaded = gateway.reload(&with_route(&good, "more"));
    assert_eq!((code(&loaded), &loaded["fields"]["loosens"]), ("config.loaded", &"true".into()));
    let changes = loaded["fields"]["changes"].as_str().unwrap();
    assert!(changes.contains("loosens  routes.more: "), "{changes}");
    assert_eq!(loaded["fields"]["before"], before["config"]["version"]);
    let now = ready(&gateway);
    assert_eq!(now["config"]["version"], loaded["fields"]["version"]);
    assert_ne!(now["config"]["version"], before["config"]["version"]);
    assert_eq!(now["config"]["rejected"], Value::Null);
    assert_eq!(gateway.metric("demilune_config_last_reload_successful"), Some(1.0));
    assert_eq!(gateway.metric("demilune_config_reloads_total{result=\"success\"}"), Some(2.0));
    assert_eq!(route(&gateway, "/more"), "more");
}

#[test]
fn what_a_reload_says_of_a_change_that_tightens_is_that_it_does_not_loosen() {
    let origin = Origin::start();
    let before = with_route(&document(&origin), "more");
    let gateway = gateway(EXE).config(&before).start();
    let after = before.replace(
        "main: { address: 127.0.0.1:0 }",
        "main: { address: 127.0.0.1:0, \
                                limits: { head: 5s } }",
    );
    let loaded = gateway.reload(&after);
    assert_eq!(loaded["fields"]["loosens"], "false", "{loaded}");
    let changes = loaded["fields"]["changes"].as_str().unwrap();
    assert!(changes.starts_with("changes  listeners.main.limits.head: "), "{changes}");
    assert_eq!(changes.lines().count(), 1, "{changes}");
}

#[test]
fn a_hangup_reloads_even_where_no_file_has_changed() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let loaded = gateway.after_reload(|| gateway.signal("HUP"));
    assert_eq!((code(&loaded), &loaded["fields"]["changes"]), ("config.loaded", &"".into()));
}

#[test]
fn a_changed_file_is_loaded_by_itself_whether_moved_or_edited_in_place() {
    let origin = Origin::start();
    let good = document(&origin);
    let gateway = gateway(EXE).config(&good).start();
    let loaded = gateway.after_reload(|| gateway.rewrite(&with_route(&good, "moved")));
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(route(&gateway, "/moved"), "moved");
    let path = gateway.folder().join("demilune.yaml");
    let loaded = gateway.after_reload(|| fs::write(&path, with_route(&good, "edited")).unwrap());
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(route(&gateway, "/moved"), "all");
    assert_eq!(route(&gateway, "/edited"), "edited");
    // A bad one is told once, not at each look; and the one in force may be put back.
    let rejected = gateway.after_reload(|| fs::write(&path, "version: [").unwrap());
    assert_eq!(code(&rejected), "config.rejected");
    let loaded = gateway.after_reload(|| fs::write(&path, with_route(&good, "edited")).unwrap());
    assert_eq!((code(&loaded), &loaded["fields"]["changes"]), ("config.loaded", &"".into()));
    assert_eq!(ready(&gateway)["config"]["rejected"], Value::Null);
}

#[test]
fn files_that_come_and_go_in_a_folder_are_loaded() {
    let origin = Origin::start();
    let builder = gateway(EXE).document("conf.d");
    let folder = builder.folder().join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::copy(builder.folder().join("pepper"), folder.join("pepper")).unwrap();
    fs::write(folder.join("a.yaml"), document(&origin)).unwrap();
    let gateway = builder.start();
    assert_eq!(route(&gateway, "/more"), "all");
    let more = with_route("routes:\n", "more");
    let loaded = gateway.after_reload(|| fs::write(folder.join("b.yaml"), more).unwrap());
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(route(&gateway, "/more"), "more");
    let loaded = gateway.after_reload(|| fs::remove_file(folder.join("b.yaml")).unwrap());
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(route(&gateway, "/more"), "all");
}

#[test]
fn a_mounted_config_map_that_is_swapped_is_loaded() {
    let origin = Origin::start();
    let builder = gateway(EXE).document("conf.d");
    let folder = builder.folder().join("conf.d");
    let version = |name: &str, text: &str| {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::copy(builder.folder().join("pepper"), folder.join(name).join("pepper")).unwrap();
        fs::write(folder.join(name).join("gateway.yaml"), text).unwrap();
    };
    version("..first", &document(&origin));
    version("..second", &with_route(&document(&origin), "more"));
    symlink("..first", folder.join("..data")).unwrap();
    for name in ["gateway.yaml", "pepper"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
    let gateway = builder.start();
    assert_eq!(route(&gateway, "/more"), "all");
    let loaded = gateway.after_reload(|| {
        symlink("..second", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    });
    assert_eq!(code(&loaded), "config.loaded", "{loaded}");
    assert_eq!(route(&gateway, "/more"), "more");
}

#[test]
fn a_secret_that_changes_alone_is_taken_up() {
    let origin = Origin::start();
    let key = ApiKey::generate("test").unwrap();
    let [first, second] = ["first", "second"].map(|word| format!("{word:-<40}"));
    let hash = key.digest(&Pepper::new(1, second.as_bytes()).unwrap());
    let text = format!(
        "version: 1
secrets: {{ key_pepper: {{ file: key-pepper }} }}
listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}
consumers: {{ acme: {{ credentials: [ {{ api_key: {{ hash: \"{hash}\" }} }} ] }} }}
authenticators: {{ own: {{ key_auth: {{ pepper: key_pepper }} }} }}
routes: {{ all: {{ match: {{ path: /** }}, upstream: origin, authenticate: own }} }}
",
        origin.url()
    );
    let gateway = gateway(EXE).file("key-pepper", &first).config(text).start();
    let mut client = gateway.client("main");
    let headers = [("x-api-key", key.reveal())];
    assert_eq!(client.get("/", &headers).status, 401);
    let path = gateway.folder().join("key-pepper");
    let loaded = gateway.after_reload(|| fs::write(&path, &second).unwrap());
    assert_eq!((code(&loaded), &loaded["fields"]["changes"]), ("config.loaded", &"".into()));
    assert_eq!(client.get("/", &headers).status, 200);
    // One that cannot be a pepper is refused, and its cure alone is seen.
    let rejected = gateway.after_reload(|| fs::write(&path, "short").unwrap());
    assert_eq!(code(&rejected), "config.rejected");
    assert_eq!(client.get("/", &headers).status, 200);
    let loaded = gateway.after_reload(|| fs::write(&path, &first).unwrap());
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(client.get("/", &headers).status, 401);
}

#[test]
fn listeners_appear_and_one_that_vanishes_finishes_what_it_does() {
    let (origin, gate) = Origin::held();
    let text = document(&origin);
    let old = listeners(&text, "  old: { address: 127.0.0.1:0 }\n");
    let gateway = gateway(EXE).config(old).start();
    let address = gateway.address("old");
    let (mut idle, mut busy) = (gateway.client("old"), gateway.client("old"));
    assert_eq!(idle.get("/", &[]).status, 200);
    busy.begin("GET", "/slow", &[]);
    origin.wait_seen(2);
    let new = listeners(&text, "  new: { address: 127.0.0.1:0 }\n");
    let loaded = gateway.reload(&new);
    assert_eq!(code(&loaded), "config.loaded");
    let closed = gateway.log("listener.closed");
    assert_eq!(closed["fields"]["listener"], "old");
    assert_eq!(closed["fields"]["address"], address.to_string());
    assert_eq!(gateway.client("new").get("/", &[]).status, 200);
    refuses(address);
    assert!(idle.ends(), "an idle connection goes on");
    drop(gate);
    let reply = busy.read(false).unwrap();
    assert_eq!((reply.status, &*reply.text()), (200, "hello"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(busy.ends());
    assert_eq!(gateway.access("/slow")["listener"], "old");
}

#[test]
fn where_one_address_is_taken_nothing_of_the_new_document_is_in_force() {
    let origin = Origin::start();
    let good = document(&origin);
    let gateway = gateway(EXE).config(&good).start();
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = somebody.local_addr().unwrap();
    let both = format!("  free: {{ address: 127.0.0.1:0 }}\n  taken: {{ address: {taken} }}\n");
    let wanted = with_route(&listeners(&good, &both), "more");
    let line = 1 + wanted.lines().position(|line| line.contains("taken:")).unwrap();
    let rejected = gateway.reload(&wanted);
    assert_eq!(code(&rejected), "config.rejected");
    let told = rejected["fields"]["diagnostics"].as_str().unwrap();
    assert!(told.contains("error[listener.bind]"), "{told}");
    assert!(told.contains(&format!("demilune.yaml:{line}:")), "{told}");
    let opened = |name: &str| {
        let opened = gateway.lines(|l| l["code"] == "listener.opened");
        opened.iter().any(|line| line["fields"]["listener"] == name)
    };
    assert!(!opened("free") && !opened("taken"));
    assert_eq!(route(&gateway, "/more"), "all");
    drop(somebody);
    let loaded = gateway.after_reload(|| gateway.signal("HUP"));
    assert_eq!(code(&loaded), "config.loaded");
    assert_eq!(gateway.address("taken"), taken);
    assert_eq!(gateway.client("taken").get("/more", &[]).status, 200);
    assert_eq!(gateway.client("free").get("/more", &[]).status, 200);
}

#[test]
fn the_operators_address_may_move_and_stays_where_the_new_one_is_taken() {
    let origin = Origin::start();
    let good = document(&origin);
    let gateway = gateway(EXE).config(&good).start();
    let first = gateway.address("admin");
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = somebody.local_addr().unwrap();
    let admin = "admin: { address: 127.0.0.1:0 }";
    assert!(good.contains(admin));
    let moved = good.replace(admin, &format!("admin: {{ address: {second} }}"));
    let rejected = gateway.reload(&moved);
    let told = rejected["fields"]["diagnostics"].as_str().unwrap();
    assert!(told.contains("error[listener.bind]") && told.contains("yaml:2:"), "{told}");
    assert_eq!(Client::connect(first).get("/livez", &[]).status, 200);
    drop(somebody);
    gateway.after_reload(|| gateway.signal("HUP"));
    assert_eq!(gateway.address("admin"), second);
    assert_eq!(gateway.operator("/livez").status, 200);
    refuses(first);
    let loaded = gateway.reload(&good.replace(admin, ""));
    assert_eq!(code(&loaded), "config.loaded");
    refuses(second);
    assert_eq!(route(&gateway, "/"), "all");
}

#[test]
fn requests_under_way_finish_on_the_upstream_that_they_began_with() {
    let ((old, gate), new) = (Origin::held(), Origin::start());
    let text = document(&old);
    let gateway = gateway(EXE).config(&text).start();
    let (mut busy, mut other) = (gateway.client("main"), gateway.client("main"));
    busy.begin("GET", "/slow", &[]);
    other.get("/before", &[]);
    old.wait_seen(2);
    gateway.reload(&text.replace(&old.url(), &new.url()));
    assert_eq!(other.get("/after", &[]).status, 200);
    assert_eq!(new.last().line, "GET /after HTTP/1.1");
    drop(gate);
    let reply = busy.read(false).unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, None));
    assert_eq!(gateway.access("/slow")["upstream"]["endpoint"], old.url());
    assert_eq!(busy.get("/again", &[]).status, 200);
    assert_eq!((old.seen().len(), new.seen().len()), (2, 2));
    // Nobody will ask the old one again: connections to it are closed.
    other.get("/later", &[]);
    old.wait_ended(old.connections());
}

#[test]
fn what_a_limit_has_counted_survives_a_reload() {
    let origin = Origin::start();
    let limit = "policies: [ { rate_limit: { per: address, limit: 3/h } } ]";
    let text: String = Document::before(&origin).route(limit).into();
    let gateway = gateway(EXE).config(&text).start();
    let mut client = gateway.client("main");
    assert_eq!([0; 2].map(|_| client.get("/", &[]).status), [200, 200]);
    gateway.reload(&with_route(&text, "more"));
    assert_eq!([0; 2].map(|_| client.get("/", &[]).status), [200, 429]);
}

/// Keeps asking until told to stop; how often it was answered stands in `count`.
fn ask(connect: &dyn Fn() -> Client, reuse: bool, count: &AtomicUsize, stop: &AtomicBool) {
    let mut client = connect();
    while !stop.load(Ordering::Relaxed) {
        if !reuse {
            client = connect();
        }
        let reply = client.get("/load", &[]);
        assert_eq!((reply.status, &*reply.text()), (200, "hello"), "{reply:?}");
        assert_eq!(reply.header("connection"), None, "{reply:?}");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ten reloads while `each` clients reuse their connections and as many open a new one for each
/// request. Every reload changes a route, another listener, and the upstream, so that its
/// connections are new too.
fn ten_reloads(
    gateway: &Gateway,
    document: impl Fn() -> Document,
    each: usize,
    connect: &(dyn Fn() -> Client + Sync),
) {
    let stop = AtomicBool::new(false);
    let counts: Vec<AtomicUsize> = (0..2 * each).map(|_| AtomicUsize::new(0)).collect();
    // All have been answered again since this was called.
    let all_go_on = || {
        let goals: Vec<usize> = counts.iter().map(|n| n.load(Ordering::Relaxed) + 3).collect();
        let all = || counts.iter().zip(&goals).all(|(n, goal)| n.load(Ordering::Relaxed) >= *goal);
        eventually("all clients are answered", || all().then_some(()));
    };
    std::thread::scope(|scope| {
        for (number, count) in counts.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || ask(connect, number % 2 == 0, count, stop));
        }
        // Whatever goes wrong, the clients end: the scope waits for them.
        let _stop = Stop(&stop);
        for turn in 0..10 {
            all_go_on();
            let idle = format!("timeouts: {{ idle: {}s }}", 100 + turn);
            let text: String = document().upstream(&idle).into();
            let text = with_route(&text, &format!("more{turn}"));
            let extra = format!("  extra{turn}: {{ address: 127.0.0.1:0 }}\n");
            let loaded = gateway.reload(&listeners(&text, &extra));
            assert_eq!(code(&loaded), "config.loaded", "{loaded}");
            let changes = loaded["fields"]["changes"].as_str().unwrap();
            let all = ["timeouts.idle", "listeners.extra", "routes.more"];
            assert!(all.iter().all(|change| changes.contains(change)), "{changes}");
        }
        all_go_on();
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_reloads_in_a_row_under_load_lose_no_request() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let address = gateway.address("main");
    ten_reloads(&gateway, || Document::before(&origin), 4, &|| Client::connect(address));
}

#[test]
fn ten_reloads_in_a_row_under_load_lose_no_request_between_tls_on_both_sides() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    authority.issue(builder.folder(), "api", &["api.example"]);
    authority.issue(builder.folder(), "origin", &["127.0.0.1"]);
    let _ = authority.write(builder.folder());
    let nginx = Nginx::start(builder.folder(), "origin");
    let document = || {
        Document::default()
            .endpoint(&format!("https://{}", nginx.address))
            .listener("tls: { certificates: [ { chain: api.pem, key: api.key } ] }")
            .upstream("tls: { authorities: authority.pem }")
    };
    let gateway = builder.config(document()).start();
    let address = gateway.address("main");
    let connect = || Client::connect_tls(address, "api.example", &authority).0;
    ten_reloads(&gateway, document, 2, &connect);
}

#[test]
fn a_kept_connection_without_tls_is_not_served_once_its_listener_asks_for_tls() {
    let origin = Origin::start();
    let text = document(&origin);
    let builder = gateway(EXE);
    Authority::new().issue(builder.folder(), "api", &["api.example"]);
    let gateway = builder.config(listeners(&text, "  api: { address: 127.0.0.1:0 }\n")).start();
    let mut client = gateway.client("api");
    assert_eq!(client.get("/", &[]).status, 200);
    let tls = "tls: { certificates: [{ chain: api.pem, key: api.key }] }";
    let secure = listeners(&text, &format!("  api: {{ address: 127.0.0.1:0, {tls} }}\n"));
    assert_eq!(code(&gateway.reload(&secure)), "config.loaded");
    let reply = client.get("/kept", &[]);
    assert_eq!(reply.status, 503);
    assert_eq!(gateway.access("/kept")["code"], "listener.gone");
    assert_eq!(origin.seen().len(), 1);
}
