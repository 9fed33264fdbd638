//! `cargo xtask bench --instructions`: user instructions a request, counted by valgrind.
//!
//! Each subject runs twice under the same client, for few requests and for many; the difference is
//! free of what starting, the first requests and ending cost. Between runs such figures move by
//! about 2 %, where processor time moves by 30 %.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::loads::KEY;
use super::profile::Profile;
use super::servers::Origin;
use super::subjects::{DEMILUNE, FIVE, HAPROXY, NGINX, NGINX_CHAIN, Program, Subject, TEN};
use super::tools::Tools;
use crate::process;

const FEW: u32 = 500;
const MANY: u32 = 8_500;
/// Functions that are printed.
const DEAREST: usize = 25;

/// What one kept connection asks for.
struct Case {
    title: &'static str,
    tls: bool,
    header: Option<&'static str>,
    subjects: &'static [Subject],
}

const PROXIES: &[Subject] = &[NGINX, HAPROXY, DEMILUNE, FIVE];

const CASES: &[Case] = &[
    Case { title: "plain GET", tls: false, header: None, subjects: PROXIES },
    Case { title: "TLS GET", tls: true, header: None, subjects: PROXIES },
    Case {
        title: "GET, ten policies",
        tls: false,
        header: Some(KEY),
        subjects: &[NGINX_CHAIN, TEN],
    },
];

pub(crate) fn run(tools: &Tools) -> Result<ExitCode> {
    println!("| instructions a request | subject | instructions | ratio to nginx |");
    println!("| --- | --- | --- | --- |");
    let mut shown = None;
    for case in CASES {
        let mut nginx = None;
        for subject in case.subjects {
            let few = counted(tools, case, subject, FEW)?;
            let many = counted(tools, case, subject, MANY)?;
            let each = many.total.saturating_sub(few.total) / u64::from(MANY - FEW);
            if subject.program == Program::Nginx {
                nginx = Some(each);
            }
            // Less than 2^32 for every request that anybody would wait for.
            let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let ratio = nginx.map_or(f64::NAN, |nginx| float(each) / float(nginx));
            println!("| {} | {} | {each} | {ratio:.2} |", case.title, subject.name);
            if *subject == FIVE && !case.tls {
                shown = Some((few, many));
            }
        }
    }
    println!("\nDifference of {MANY} and {FEW} requests on one kept connection.");
    println!("Profiles: callgrind_annotate {}/*.callgrind", tools.folder.display());
    if let Some((few, many)) = shown {
        println!("\nWhere they go, {}, plain GET, instructions a request:", FIVE.name);
        for (title, own) in [("with what is called", false), ("by itself", true)] {
            println!("\n| {title} | function |\n| --- | --- |");
            for (each, name) in many.dearest(&few, MANY - FEW, own).into_iter().take(DEAREST) {
                println!("| {each} | `{name}` |");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All instructions of `subject` from its start to its end, `requests` in between.
fn counted(tools: &Tools, case: &Case, subject: &Subject, requests: u32) -> Result<Profile> {
    let name = format!("{}-{}-{requests}", subject.name, case.title);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let file: String = name.chars().map(plain).collect();
    let profile = tools.folder.join(format!("{file}.callgrind"));
    let origin = Origin::start(tools)?;
    let wrapper = [
        process::find("valgrind").context("valgrind: `cargo xtask peers`")?.display().to_string(),
        "--tool=callgrind".to_owned(),
        "--trace-children=yes".to_owned(),
        format!("--callgrind-out-file={}", profile.display()),
    ];
    // One process, the worker and nothing else.
    let server = tools.start_under(subject, origin.port, &wrapper, "off")?;
    let port = if case.tls { server.ports.tls } else { server.ports.plain }.to_string();
    let requests = requests.to_string();
    let mut words = vec!["kept", "--port", &port, "--requests", &requests];
    if case.tls {
        words.extend(["--tls", "x25519"]);
    }
    if let Some(header) = case.header {
        words.extend(["--header", header]);
    }
    process::output(&mut tools.client(&words)).with_context(|| name.clone())?;
    let folder = server.end();
    let complaint = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
    let _ = fs::remove_dir_all(&folder);
    Profile::read(&profile).with_context(|| format!("{name}: {complaint}"))
}
