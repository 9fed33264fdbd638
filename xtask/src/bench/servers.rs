//! Servers: started, measured by what the kernel says of them, ended by process id.

#![expect(clippy::disallowed_methods, reason = "it waits for real servers, though not forever")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::tools::Tools;

/// So long may a server take to listen, and to end once asked to: valgrind is slow at both.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a subject listens on loopback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
}

/// A server that is to be started.
pub(crate) struct Start {
    pub(crate) command: Command,
    pub(crate) folder: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) ports: Ports,
}

/// A running server; ended when dropped, and its folder with its logs goes too.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) ports: Ports,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(start: Start) -> Result<Self> {
        let Start { mut command, folder, name, ports } = start;
        let log = File::create(folder.join("stdout"))?;
        command.stdin(Stdio::null()).stdout(log).stderr(File::create(folder.join("stderr"))?);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { child, folder, name, ports };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", ports.plain)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended at once, by {status}: {}", server.complaint());
            }
            if began.elapsed() > PATIENCE {
                bail!("{name} does not listen on port {}: {}", ports.plain, server.complaint());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        Ok(server)
    }

    fn complaint(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        [read("stderr"), read("stdout")].concat().chars().take(2000).collect()
    }

    /// User and system time of the process and its children, all threads, ended ones included.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut ticks = 0;
        for process in self.processes()? {
            ticks += processor_ticks(process)?;
        }
        // A tick is 10 ms: USER_HZ is 100 on every Linux that Rust runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// From now on, [`Self::peak_memory`] knows nothing of what was before (proc(5), `clear_refs`).
    pub(crate) fn reset_peak(&self) -> Result<()> {
        for process in self.processes()? {
            fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// The most bytes that were resident, in all processes together.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.sum("VmHWM:")
    }

    /// The bytes that are resident, in all processes together.
    pub(crate) fn resident_memory(&self) -> Result<u64> {
        self.sum("VmRSS:")
    }

    fn sum(&self, field: &str) -> Result<u64> {
        let mut kibibytes = 0;
        for process in self.processes()? {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next());
            kibibytes += number.context("an odd /proc/PID/status")?.parse::<u64>()?;
        }
        Ok(kibibytes * 1024)
    }

    /// Files open in all processes together, sockets among them.
    pub(crate) fn open_files(&self) -> Result<usize> {
        let mut files = 0;
        for process in self.processes()? {
            files += fs::read_dir(format!("/proc/{process}/fd"))?.count();
        }
        Ok(files)
    }

    fn processes(&self) -> Result<Vec<u32>> {
        let parent = self.child.id();
        let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let children = text.split_whitespace().filter_map(|child| child.parse().ok());
        Ok(std::iter::once(parent).chain(children).collect())
    }

    /// Ends it as its operator would and waits for that; its folder stays.
    pub(crate) fn end(mut self) -> PathBuf {
        end(&mut self.child);
        std::mem::take(&mut self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        if self.folder != Path::new("") {
            // Access logs of a measurement are large, and nobody reads them.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The origin; ended when dropped.
pub(crate) struct Origin {
    child: Child,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn start(tools: &Tools) -> Result<Self> {
        let mut command = tools.load(&["origin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut origin = Self { child: command.spawn()?, port: 0 };
        let mut line = String::new();
        let output = origin.child.stdout.take().context("the origin has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().strip_prefix("port ").and_then(|port| port.parse().ok());
        origin.port = port.context("the origin does not say its port")?;
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Asks the process to end, waits, and kills it where it does not.
pub(crate) fn end(child: &mut Child) {
    // Asked first, so that nginx ends its workers. A process that was waited for is gone, and its
    // number may be another's.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)); the name before them may hold spaces.
fn processor_ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next(), fields.next());
    Ok(user.context("an odd /proc/PID/stat")?? + system.context("an odd /proc/PID/stat")??)
}
