//! The real binary, running.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use crate::client::{Client, Reply};
use crate::document::PEPPER;
use crate::patience::{PATIENCE, eventually};

/// A gateway to be started: `exe` is `env!("CARGO_BIN_EXE_demilune")`. Its folder holds the file
/// `pepper`, which a [`Document`](crate::Document) names.
#[must_use]
pub fn gateway(exe: &str) -> GatewayBuilder {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pepper"), PEPPER).unwrap();
    let document = folder.path().join("demilune.yaml");
    GatewayBuilder { exe: exe.into(), folder, document, config: None, env: Vec::new() }
}

/// See [`gateway`].
pub struct GatewayBuilder {
    exe: PathBuf,
    folder: tempfile::TempDir,
    document: PathBuf,
    config: Option<String>,
    env: Vec<(String, String)>,
}

impl GatewayBuilder {
    /// The folder that the document stands in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file beside the document.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The document.
    #[must_use]
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Runs on `name` in the folder, which the test writes by itself, instead of on a document of
    /// ours.
    #[must_use]
    pub fn document(mut self, name: &str) -> Self {
        self.document = self.folder.path().join(name);
        self
    }

    /// What `demilune check` says of the document: whether it is good, and everything printed.
    #[must_use]
    pub fn check(&self) -> (bool, String) {
        self.write();
        let mut command = Command::new(&self.exe);
        let output = command.arg("check").arg(&self.document).envs(self.env.clone()).output();
        let output = output.unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    }

    fn write(&self) {
        if let Some(text) = &self.config {
            fs::write(&self.document, text).unwrap();
        }
    }

    /// Starts it and waits until it is ready. Panics with what it printed where it does not
    /// become so.
    #[must_use]
    pub fn start(self) -> Gateway {
        let gateway = self.spawn();
        gateway.log("gateway.ready");
        gateway
    }

    /// Starts it and waits for nothing: it may be about to end.
    #[must_use]
    pub fn spawn(self) -> Gateway {
        self.write();
        let mut child = Command::new(&self.exe)
            .args(["run", "--workers", "2", "--config"])
            .arg(&self.document)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        let readers = readers.map(|reader| {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    let parsed = serde_json::from_str(&line).ok();
                    output.lines.lock().unwrap().push(Line { text: line, parsed });
                    output.more.notify_all();
                }
            })
        });
        let (folder, document) = (self.folder, self.document);
        Gateway { child, folder, document, output, readers: readers.into() }
    }
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<Line>>,
    more: Condvar,
}

struct Line {
    text: String,
    /// What it says, where it is JSON.
    parsed: Option<Value>,
}

/// A running gateway. It is killed when dropped.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    document: PathBuf,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Where a listener listens; `admin` is the operator's. The last one where it has moved.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let opened = |line: &Value| {
            line["code"] == "listener.opened" && line["fields"]["listener"] == listener
        };
        self.wait(opened);
        let last = self.lines(opened).pop().unwrap();
        last["fields"]["address"].as_str().unwrap().parse().unwrap()
    }

    /// A client of a listener that speaks plain HTTP.
    #[must_use]
    pub fn client(&self, listener: &str) -> Client {
        Client::connect(self.address(listener))
    }

    /// What the operator's endpoint at `path` answers.
    #[must_use]
    pub fn operator(&self, path: &str) -> Reply {
        self.client("admin").get(path, &[])
    }

    /// The value of a metric, its labels as they are shown: `demilune_connections{listener="a"}`.
    #[must_use]
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.operator("/metrics").text();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// The folder that the document stands in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `HUP` or `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(done.success());
    }

    /// Replaces the document as editors do: a new file moved over the old one.
    pub fn rewrite(&self, text: &str) {
        let fresh = self.folder.path().join(".demilune.yaml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, &self.document).unwrap();
    }

    /// Replaces the document, has it loaded, and waits for the line that says whether it is in
    /// force.
    pub fn reload(&self, text: &str) -> Value {
        self.after_reload(|| {
            self.rewrite(text);
            self.signal("HUP");
        })
    }

    /// Waits for the line of the next reload, good or bad, that comes of `change`.
    pub fn after_reload(&self, change: impl FnOnce()) -> Value {
        let reloaded = |line: &Value| {
            matches!(line["code"].as_str(), Some("config.loaded" | "config.rejected"))
        };
        let before = self.lines(reloaded).len();
        change();
        self.wait_many(before + 1, reloaded).remove(before)
    }

    /// The first log line with this code, waited for.
    pub fn log(&self, code: &str) -> Value {
        self.wait(|line| line["kind"] == "log" && line["code"] == code)
    }

    /// The first line that is as wanted, waited for. Panics with all lines where none comes.
    pub fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_many(1, wanted).remove(0)
    }

    /// The first `count` lines that are as wanted, waited for.
    pub fn wait_many(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            let new = lines[looked_at..].iter().filter_map(|line| line.parsed.as_ref());
            found.extend(new.filter(|line| wanted(line)).take(count - found.len()).cloned());
            looked_at = lines.len();
            if found.len() == count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(lines);
                panic!("no such line in\n{}", self.printed());
            }
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The line of the access log for the first exchange with this path, waited for.
    pub fn access(&self, path: &str) -> Value {
        self.wait(|line| line["kind"] == "access" && line["path"] == path)
    }

    /// Ends it, and gives every line that it has written.
    #[must_use]
    pub fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        assert_eq!(self.ended(), Some(0), "{}", self.printed());
        self.lines(|_| true)
    }

    /// All lines so far that are as wanted.
    #[must_use]
    pub fn lines(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let lines = self.output.lines.lock().unwrap();
        let parsed = lines.iter().filter_map(|line| line.parsed.as_ref());
        parsed.filter(|line| wanted(line)).cloned().collect()
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        let lines = self.output.lines.lock().unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| &*line.text).collect();
        texts.join("\n")
    }

    /// Waits for its end and for all it has printed; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let status = eventually("the gateway ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status.code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
