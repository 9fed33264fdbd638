//! The real binary, running.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;

/// The longest that a test waits for the gateway to say or do something.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway to be started: `exe` is `env!("CARGO_BIN_EXE_demilune")`.
#[must_use]
pub fn gateway(exe: &str) -> GatewayBuilder {
    let folder = tempfile::tempdir().unwrap();
    GatewayBuilder { exe: exe.into(), folder, config: String::new(), env: Vec::new() }
}

/// See [`gateway`].
pub struct GatewayBuilder {
    exe: PathBuf,
    folder: tempfile::TempDir,
    config: String,
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
        self.config = text.into();
        self
    }

    /// Starts it and waits until it is ready. Panics with what it printed where it does not become so.
    #[must_use]
    pub fn start(self) -> Gateway {
        let path = self.folder.path().join("demilune.yaml");
        fs::write(&path, &self.config).unwrap();
        let mut child = Command::new(&self.exe)
            .args(["run", "--workers", "2", "--config"])
            .arg(&path)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for reader in readers {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    output.lines.lock().unwrap().push(line);
                    output.more.notify_all();
                }
            });
        }
        let gateway = Gateway { child, folder: self.folder, output };
        gateway.log("gateway.ready");
        gateway
    }
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running gateway. It is killed when dropped.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    output: Arc<Output>,
}

impl Gateway {
    /// Where a listener listens.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let opened = self.wait(|line| {
            line["code"] == "listener.opened" && line["listener"] == listener
        });
        opened["address"].as_str().unwrap().parse().unwrap()
    }

    /// A client of a listener that speaks plain HTTP.
    #[must_use]
    pub fn client(&self, listener: &str) -> Client {
        Client::connect(self.address(listener))
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
        let path = self.folder.path().join("demilune.yaml");
        let fresh = self.folder.path().join(".demilune.yaml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, path).unwrap();
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
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            let found: Vec<Value> = lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .filter(&wanted)
                .take(count)
                .collect();
            if found.len() == count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such line in\n{}", lines.join("\n"));
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        self.output.lines.lock().unwrap().join("\n")
    }

    /// Waits for its end; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway did not end; it printed\n{}", self.printed());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
