//! `demilune explain`: what would happen to a request, and why.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use demilune_backends::SystemClock;
use demilune_config::explain::{Question, explain};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cli::{ExplainArgs, Format};
use crate::document::usable;
use crate::exit::{self, Usage};
use crate::output::Output;

mod told;

pub(crate) fn run(args: &ExplainArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    let given = headers(&args.headers)?;
    let question = question(args, &given)?;
    let usable = match usable(&args.config)? {
        Ok(usable) => usable,
        Err(rejected) => return Ok(exit::reject(&rejected)),
    };
    let (document, snapshot) = (&usable.document, &usable.snapshot);
    let explanation = explain(document, snapshot, &SystemClock, &question, HeaderMap::new())
        .map_err(|reason| anyhow!(Usage(reason)))?;
    let told =
        told::Told { document, question: &question, given: &given, explanation: &explanation };
    match args.output {
        Format::Text => out.line(told.text().trim_end())?,
        Format::Json => out.json(&told.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn question(args: &ExplainArgs, given: &HeaderMap) -> anyhow::Result<Question> {
    if args.request.contains(['\r', '\n']) {
        return Err(anyhow!(Usage("expected `METHOD URL` on one line".to_owned())));
    }
    let mut question = Question::parse(&args.request).map_err(|reason| anyhow!(Usage(reason)))?;
    for name in given.keys() {
        question.head.headers.remove(name);
    }
    for (name, value) in given {
        question.head.headers.append(name.clone(), value.clone());
    }
    if let Some(body) = &args.body {
        question.body = match body.strip_prefix('@') {
            Some(path) => std::fs::read(path)
                .with_context(|| format!("reading the body from `{path}`"))?
                .into(),
            None => body.clone().into_bytes().into(),
        };
        question.head.content_length = u64::try_from(question.body.len()).ok();
    }
    if let Some(from) = args.from {
        question.from = from;
    }
    question.consumer.clone_from(&args.consumer);
    question.listener.clone_from(&args.listener);
    Ok(question)
}

/// The headers given. What is wrong with one is told without it: it may be a secret.
fn headers(given: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (index, line) in given.iter().enumerate() {
        let invalid = || {
            let number = index + 1;
            anyhow!(Usage(format!("--header number {number} is not of the form `name: value`")))
        };
        let (name, value) = line.split_once(':').ok_or_else(invalid)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| invalid())?;
        headers.append(name, value);
    }
    Ok(headers)
}
