//! `cargo xtask bench --memory`: what a connection costs that does nothing, and what large uploads
//! cost while they pass.
//!
//! Resident memory of the subject's processes; what the kernel holds for sockets is not in it, and
//! is the same for all.

use std::io::{BufRead, BufReader};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::servers::{Origin, Server, end};
use super::subjects::{DEMILUNE, PROXIES, Subject};
use super::tables::mebibytes;
use super::tools::Tools;
use crate::process;

/// Time for a subject to accept everybody, and for its allocator to give back what it will.
const SETTLE: Duration = Duration::from_secs(2);

/// A subject keeps no more connections to the origin than that, and may close them at any time.
const ORIGIN_CONNECTIONS: usize = 64;

/// Connections that stay open and idle.
struct Case {
    title: &'static str,
    kind: &'static str,
    count: u32,
}

const CASES: &[Case] = &[
    Case { title: "5,000 that never sent a byte", kind: "silent", count: 5_000 },
    Case { title: "5,000 kept alive after one request", kind: "kept", count: 5_000 },
    Case { title: "1,000 over TLS after the handshake", kind: "tls", count: 1_000 },
];

const UPLOADS: u32 = 60;
const UPLOAD_BYTES: u32 = 50_000_000;

pub(crate) fn run(tools: &Tools) -> Result<ExitCode> {
    let subjects = || PROXIES.iter().filter(|subject| tools.has(subject.program));
    println!("| idle connections | subject | bytes a connection | MiB before | MiB after |");
    println!("| --- | --- | --- | --- | --- |");
    for case in CASES {
        for subject in subjects() {
            idle(tools, case, subject)?;
        }
    }
    println!("\n| {UPLOADS} uploads of 50 MB | subject | MiB before | peak MiB | CPU s |");
    println!("| --- | --- | --- | --- | --- |");
    for (title, path) in
        [("as fast as they go", "/uploads"), ("origin reads after 2 s", "/stalled")]
    {
        for subject in subjects().filter(|subject| is_bare(subject)) {
            uploads(tools, title, path, subject)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether bodies of 50 MB pass: the five policies refuse them.
fn is_bare(subject: &Subject) -> bool {
    subject.program != DEMILUNE.program || *subject == DEMILUNE
}

fn idle(tools: &Tools, case: &Case, subject: &Subject) -> Result<()> {
    let origin = Origin::start(tools)?;
    let server = tools.start(subject, origin.port)?;
    let port = if case.kind == "tls" { server.ports.tls } else { server.ports.plain };
    // Whatever is made once is made before; few, since what they leave free is used again.
    drop(Held::open(tools, port, case.kind, 10)?);
    sleep(SETTLE);
    let (before, files) = (server.resident_memory()?, server.open_files()?);
    let held = Held::open(tools, port, case.kind, case.count)?;
    sleep(SETTLE);
    let after = server.resident_memory()?;
    let open = server.open_files()?.saturating_sub(files);
    drop(held);
    let wanted = usize::try_from(case.count)?;
    // Connections to the origin may have gone meanwhile.
    ensure!(
        open + ORIGIN_CONNECTIONS >= wanted,
        "{} holds {open} of {wanted} connections",
        server.name
    );
    println!(
        "| {} | {} | {} | {} | {} |",
        case.title,
        server.name,
        after.saturating_sub(before) / u64::from(case.count),
        mebibytes(before),
        mebibytes(after),
    );
    Ok(())
}

fn uploads(tools: &Tools, title: &str, path: &str, subject: &Subject) -> Result<()> {
    let origin = Origin::start(tools)?;
    let server = tools.start(subject, origin.port)?;
    let upload = |count: u32, bytes: u32| send(tools, &server, path, count, bytes);
    upload(UPLOADS, 1)?;
    sleep(SETTLE);
    let (before, time) = (server.resident_memory()?, server.processor_time()?);
    server.reset_peak()?;
    upload(UPLOADS, UPLOAD_BYTES)?;
    let time = server.processor_time()?.saturating_sub(time);
    let peak = server.peak_memory()?;
    println!(
        "| {title} | {} | {} | {} | {:.1} |",
        server.name,
        mebibytes(before),
        mebibytes(peak),
        time.as_secs_f64()
    );
    Ok(())
}

fn send(tools: &Tools, server: &Server, path: &str, count: u32, bytes: u32) -> Result<()> {
    let (port, count) = (server.ports.plain.to_string(), count.to_string());
    let bytes = bytes.to_string();
    let words = ["uploads", "--port", &port, "--path", path, "--count", &count, "--bytes", &bytes];
    let text = process::output(&mut tools.client(&words))?;
    ensure!(text.lines().any(|line| line == "failed 0"), "{}: uploads failed", server.name);
    Ok(())
}

/// Connections that a process of ours holds open; closed when dropped.
struct Held(Child);

impl Held {
    fn open(tools: &Tools, port: u16, kind: &str, count: u32) -> Result<Self> {
        let (port, count) = (port.to_string(), count.to_string());
        let words = ["idle", "--port", &port, "--kind", kind, "--count", &count];
        let mut command = tools.load(&words);
        let mut held = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        let output = held.0.stdout.take().context("the client has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.starts_with("ready "), "not all connections could be opened");
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}
