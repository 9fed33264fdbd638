//! The servers of a measurement: configured from `bench/`, started, measured, ended by process id.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// Ports of loopback that were free a moment ago.
pub(crate) struct Ports {
    pub(crate) origin: u16,
    pub(crate) nginx_plain: u16,
    pub(crate) nginx_tls: u16,
    pub(crate) demilune_plain: u16,
    pub(crate) demilune_tls: u16,
}

impl Ports {
    pub(crate) fn choose() -> Result<Self> {
        let open = || TcpListener::bind("127.0.0.1:0");
        let all = [open()?, open()?, open()?, open()?, open()?];
        let [origin, nginx_plain, nginx_tls, demilune_plain, demilune_tls] =
            all.map(|listener| listener.local_addr().map_or(0, |address| address.port()));
        Ok(Self { origin, nginx_plain, nginx_tls, demilune_plain, demilune_tls })
    }

    fn fill(&self, text: &str, folder: &Path) -> String {
        let mut text = text.replace("@FOLDER@", &folder.display().to_string());
        for (name, port) in [
            ("@ORIGIN@", self.origin),
            ("@NGINX_PLAIN@", self.nginx_plain),
            ("@NGINX_TLS@", self.nginx_tls),
            ("@DEMILUNE_PLAIN@", self.demilune_plain),
            ("@DEMILUNE_TLS@", self.demilune_tls),
        ] {
            text = text.replace(name, &port.to_string());
        }
        text
    }
}

/// Writes the configurations and a certificate into `folder`.
pub(crate) fn prepare(templates: &Path, folder: &Path, ports: &Ports) -> Result<()> {
    for name in ["origin.conf", "nginx.conf", "demilune.yaml"] {
        let text = fs::read_to_string(templates.join(name))?;
        fs::write(folder.join(name), ports.fill(&text, folder))?;
    }
    let openssl = process::find("openssl").context("openssl is missing: `cargo xtask peers`")?;
    let made = Command::new(openssl)
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30".split(' '))
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("chain.pem"))
        .stderr(Stdio::null())
        .status()?;
    ensure!(made.success(), "openssl made no certificate");
    Ok(())
}

/// A running server; ended when dropped.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn nginx(nginx: &Path, folder: &Path, config: &str, port: u16) -> Result<Self> {
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder).arg("-c").arg(folder.join(config));
        Self::start(command, folder, config, port)
    }

    pub(crate) fn demilune(binary: &Path, folder: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["run", "--workers", "2", "--config"]).arg(folder.join("demilune.yaml"));
        Self::start(command, folder, "demilune", port)
    }

    fn start(mut command: Command, folder: &Path, name: &str, port: u16) -> Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::inherit());
        let mut server = Self(command.spawn()?);
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.0.try_wait()? {
                bail!("{name} ended at once: {status}");
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("{name} does not listen on port {port}")
    }

    /// User and system time of the process and its children, all threads.
    pub(crate) fn cpu_microseconds(&self) -> Result<f64> {
        let mut ticks = cpu_ticks(self.0.id())?;
        for child in children(self.0.id())? {
            ticks += cpu_ticks(child)?;
        }
        // A tick is 10 ms: USER_HZ is 100 on every Linux that Rust runs on.
        Ok(ticks * 10_000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that nginx ends its workers.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)); the name before them may hold spaces.
fn cpu_ticks(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    field(11).zip(field(12)).map(|(user, system)| user + system).context("an odd /proc/PID/stat")
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}
