//! Text to [`Node`]: the parser's events, made into a strict tree.
//!
//! The events are pulled one by one and the tree is built on an explicit stack, so that no input
//! recurses. What YAML allows and a gateway's document must not contain is refused here, and as
//! much of it as possible in one pass; a mistake of syntax or a limit ends the reading.

mod positions;

use std::ops::ControlFlow;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::diagnostic::{Diagnostic, Diagnostics, FileId, Lines, Span};

use super::input::{Allowance, Bounded};
use super::limits::{MAX_DEPTH, MAX_KEY_BYTES, MAX_NODES, MAX_PENDING_MARKS};
use super::path::{push_index, push_key};
use super::suggest::looks_secret;
use super::text::{decode, first_mark};
use super::{Entry, Mapping, Node, Scalar, Value};

use positions::Positions;

/// Begins the document explicitly, so that what follows it on the line cannot be a key.
const DOCUMENT_START: &str = "--- ";

/// Parses one file. Pure: it reads nothing but `text`, and never panics.
///
/// # Errors
/// All that is wrong with the text as a document: encoding, syntax, limits, keys written twice,
/// aliases, anchors, tags, directives, a second document. Nothing is said yet about what the
/// keys mean.
pub fn parse(file: FileId, text: &[u8]) -> Result<Node, Diagnostics> {
    parse_within(file, text, Bounds::default())
}

/// The limits that a test makes smaller.
#[derive(Clone, Copy)]
struct Bounds {
    nodes: usize,
    pending: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { nodes: MAX_NODES, pending: MAX_PENDING_MARKS }
    }
}

fn parse_within(file: FileId, text: &[u8], bounds: Bounds) -> Result<Node, Diagnostics> {
    let text = decode(file, text).map_err(|diagnostic| whole(file, *diagnostic))?;
    let Some(first) = first_mark(text) else {
        return Err(whole(file, empty()).into());
    };
    let lines = Lines::new(text);
    let start = lines.position(text, first);
    let rest = text.get(first..).unwrap_or_default();
    if rest.starts_with('%') && start.1 == 1 {
        let span = Span { file, line: start.0, column: 1, length: 1 };
        let reason = "a directive (`%`) is not accepted";
        return Err(Diagnostic::error("config.not_accepted", reason).at(span).into());
    }
    // A document in brackets, thus all JSON, could be a key for all the parser knows, and it would
    // hold back every token until the end. After `---` it cannot be one.
    let bracketed = rest.starts_with(['{', '[']);
    let shifted = bracketed.then(|| format!("{DOCUMENT_START}{rest}"));
    let shift = bracketed.then_some(start);
    let mut builder = Builder::new(Positions::new(file, text, lines, shift), bounds.nodes);
    read(shifted.as_deref().unwrap_or(text), bounds.pending, &mut builder);
    builder.finish()
}

/// Files without a better place are named at their first line, so that it is clear which one.
fn whole(file: FileId, diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.at.is_some() {
        return diagnostic;
    }
    diagnostic.at(Span { file, line: 1, column: 1, length: 0 })
}

fn empty() -> Diagnostic {
    Diagnostic::error("config.empty", "the file is empty")
        .help("a document begins with `version: 1`")
}

fn read(text: &str, pending: u32, builder: &mut Builder<'_>) {
    let allowance = Rc::new(Allowance::new(pending));
    let mut parser = Parser::new(Bounded::new(text, Rc::clone(&allowance)));
    while let Some(next) = parser.next_event() {
        if allowance.exceeded() {
            return builder.pending_too_long();
        }
        allowance.renew();
        match next {
            Ok((event, span)) => {
                if builder.event(event, span).is_break() {
                    return;
                }
            }
            Err(error) => return builder.syntax(&error),
        }
    }
}

/// A list or mapping that is still open.
enum Frame {
    Sequence { span: Span, items: Vec<Node> },
    Mapping { span: Span, block: bool, entries: Vec<Entry>, key: Option<(String, Span)> },
}

struct Builder<'t> {
    positions: Positions<'t>,
    open: Vec<Frame>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    max_nodes: usize,
    diagnostics: Diagnostics,
}

impl<'t> Builder<'t> {
    fn new(positions: Positions<'t>, max_nodes: usize) -> Self {
        Self {
            positions,
            open: Vec::new(),
            root: None,
            documents: 0,
            nodes: 0,
            max_nodes,
            diagnostics: Diagnostics::new(),
        }
    }

    fn finish(mut self) -> Result<Node, Diagnostics> {
        let root = self.root.take().filter(|root| !root.is_null());
        if root.is_none() && !self.diagnostics.has_errors() {
            self.diagnostics.push(whole(self.positions.file, empty()));
        }
        match root {
            Some(root) => self.diagnostics.or_value(root),
            None => Err(self.diagnostics),
        }
    }

    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> ControlFlow<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let at = self.positions.scalar(style, span.start, span.end);
                self.extras(anchor, tag.is_some(), at);
                if style == ScalarStyle::Plain && span.start.line() != span.end.line() {
                    self.folded(self.positions.swallows_item(span.start, span.end));
                }
                self.scalar(&text, style, at)
            }
            Event::SequenceStart(anchor, tag) => {
                let at = self.positions.point(span.start);
                self.extras(anchor, tag.is_some(), at);
                self.start(at, Frame::Sequence { span: at, items: Vec::new() })
            }
            Event::MappingStart(anchor, tag) => {
                let at = self.positions.point(span.start);
                self.extras(anchor, tag.is_some(), at);
                let block = span.is_empty();
                self.start(at, Frame::Mapping { span: at, block, entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) => {
                let at = self.positions.point(span.start);
                self.alias(at);
                self.value(Node { span: at, value: Value::Null })
            }
            Event::DocumentStart(_) => self.document(self.positions.point(span.start)),
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {
                ControlFlow::Continue(())
            }
        }
    }

    fn document(&mut self, at: Span) -> ControlFlow<()> {
        self.documents += 1;
        if self.documents == 1 {
            return ControlFlow::Continue(());
        }
        let reason = "a second document begins here";
        self.push(Diagnostic::error("config.not_accepted", reason).at(at).help(
            "a file holds one document: put the other into a file of its own in the same folder",
        ));
        ControlFlow::Break(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Span) -> ControlFlow<()> {
        let plain = style == ScalarStyle::Plain;
        if let Some(Frame::Mapping { span, block, entries, key: key @ None }) = self.open.last_mut()
        {
            if *block && entries.is_empty() {
                *span = at;
            }
            *key = Some((text.to_owned(), at));
            return self.check_key(text, plain, at);
        }
        let value = if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            Value::Null
        } else {
            Value::Scalar(Scalar { text: text.to_owned(), plain })
        };
        let left_out = plain && text.is_empty();
        let span = match self.open.last() {
            Some(Frame::Mapping { key: Some((_, key)), .. }) if left_out => *key,
            _ => at,
        };
        self.value(Node { span, value })
    }

    fn check_key(&mut self, key: &str, plain: bool, at: Span) -> ControlFlow<()> {
        if key.is_empty() {
            self.push(Diagnostic::error("config.not_accepted", "a key is empty").at(at));
        } else if key.len() > MAX_KEY_BYTES {
            let reason = format!("a key is longer than {MAX_KEY_BYTES} bytes");
            self.push(Diagnostic::error("config.too_large", reason).at(at));
            return ControlFlow::Break(());
        } else if plain && key == "<<" {
            let reason = "merge keys (`<<`) are not accepted";
            let help = "write the keys out, or set them once in `defaults`";
            self.push(Diagnostic::error("config.not_accepted", reason).at(at).help(help));
        }
        ControlFlow::Continue(())
    }

    fn start(&mut self, at: Span, frame: Frame) -> ControlFlow<()> {
        if matches!(self.open.last(), Some(Frame::Mapping { key: None, .. })) {
            let reason = "a key must be plain text, not a list or a mapping";
            self.push(Diagnostic::error("config.not_accepted", reason).at(at));
            return ControlFlow::Break(());
        }
        if self.open.len() >= MAX_DEPTH {
            self.push(too_deep(at));
            return ControlFlow::Break(());
        }
        self.open.push(frame);
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<()> {
        let node = match self.open.pop() {
            Some(Frame::Sequence { span, items }) => Node { span, value: Value::Sequence(items) },
            Some(Frame::Mapping { span, entries, .. }) => {
                let mapping = Mapping::new(entries);
                for (first, second) in mapping.duplicates() {
                    if self.diagnostics.is_full() {
                        break;
                    }
                    let conceal = self.conceals(&second.key);
                    self.diagnostics.push(duplicate(first, second, self.path()).conceal(conceal));
                }
                Node { span, value: Value::Mapping(mapping) }
            }
            // The parser pairs its events.
            None => return ControlFlow::Break(()),
        };
        self.value(node)
    }

    fn value(&mut self, node: Node) -> ControlFlow<()> {
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            let reason = format!("the file holds more than {} values", self.max_nodes);
            self.push(Diagnostic::error("config.too_large", reason).at(node.span));
            return ControlFlow::Break(());
        }
        match self.open.last_mut() {
            Some(Frame::Sequence { items, .. }) => items.push(node),
            Some(Frame::Mapping { entries, key, .. }) => {
                let (key, key_span) = key.take().unwrap_or_else(|| (String::new(), node.span));
                entries.push(Entry { key, key_span, value: node });
            }
            None => self.root = Some(node),
        }
        ControlFlow::Continue(())
    }

    fn extras(&mut self, anchor: usize, tag: bool, at: Span) {
        if anchor > 0 {
            let reason = "anchors (`&`) are not accepted";
            self.push(
                Diagnostic::error("config.not_accepted", reason)
                    .at(at)
                    .help("repeat the value; text that begins with `&` needs quotes"),
            );
        }
        if tag {
            let reason = "tags (`!`) are not accepted";
            self.push(
                Diagnostic::error("config.not_accepted", reason)
                    .at(at)
                    .help("leave the tag out; text that begins with `!` needs quotes"),
            );
        }
    }

    fn alias(&mut self, at: Span) {
        let reason = "aliases are not accepted: repeat the value";
        let help = "text that begins with `*` needs quotes";
        self.push(Diagnostic::error("config.not_accepted", reason).at(at).help(help));
    }

    /// An item indented deeper than the one above is text to YAML: `- curl` and `- wget` would
    /// become one item, `curl - wget`, and a list of what to deny would deny neither.
    fn folded(&mut self, item: Option<Span>) {
        if let Some(at) = item {
            let reason = "this item would become part of the text above it";
            self.push(
                Diagnostic::error("config.not_accepted", reason)
                    .at(at)
                    .help("begin it in the column of the item above; or quote the text"),
            );
        }
    }

    fn pending_too_long(&mut self) {
        let at = Span { file: self.positions.file, line: 1, column: 1, length: 0 };
        let reason = "a list or mapping in brackets, or a text, is too long to be read";
        self.push(
            Diagnostic::error("config.too_large", reason)
                .at(at)
                .help("write it in block style, one item a line, or split the file"),
        );
    }

    fn syntax(&mut self, error: &ScanError) {
        let mut at = self.positions.point(*error.marker());
        // The parser notices a missing `:` only at the next key, and an open bracket at the end.
        if error.info().contains("simple key") || self.positions.rest(at).trim().is_empty() {
            at = self.positions.last_before(at);
        }
        match error.info() {
            "while parsing node, found unknown anchor" => self.alias(at),
            "recursion limit exceeded" => self.push(too_deep(at)),
            info => {
                let (reason, help) = explain(info);
                let mut diagnostic = Diagnostic::error("config.syntax", reason).at(at);
                diagnostic.help = help.map(str::to_owned);
                self.push(diagnostic);
            }
        }
    }

    /// Adds what is known about the place.
    fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.is_full() {
            self.diagnostics.push(diagnostic);
            return;
        }
        let line =
            diagnostic.at.and_then(|at| self.positions.lines.line(self.positions.text, at.line));
        // A mistake of syntax may sit in a line whose key was not understood.
        let conceal = line.is_some_and(|line| line.len() > MAX_KEY_BYTES || looks_secret(line));
        let conceal = conceal || self.conceals("");
        self.diagnostics.push(diagnostic.path(self.path()).conceal(conceal));
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.open {
            match frame {
                Frame::Sequence { items, .. } => push_index(&mut path, items.len()),
                Frame::Mapping { key: Some((key, _)), .. } => push_key(&mut path, key),
                Frame::Mapping { key: None, .. } => {}
            }
        }
        path
    }

    /// Whether the key, or one it stands under, may be a secret's.
    fn conceals(&self, key: &str) -> bool {
        let above = self.open.iter().any(|frame| match frame {
            Frame::Mapping { key: Some((key, _)), .. } => looks_secret(key),
            _ => false,
        });
        above || looks_secret(key)
    }
}

fn too_deep(at: Span) -> Diagnostic {
    let reason = format!("lists and mappings are nested deeper than {MAX_DEPTH} levels");
    Diagnostic::error("config.too_large", reason).at(at)
}

pub(super) fn duplicate(first: &Entry, second: &Entry, mut path: String) -> Diagnostic {
    let key = &second.key;
    push_key(&mut path, key);
    let reason = format!("the key `{key}` is written twice; first on line {}", first.key_span.line);
    Diagnostic::error("config.duplicate_key", reason)
        .at(second.key_span)
        .path(path)
        .related(first.key_span, "first written here")
}

/// The parser's words made plainer, with what is usually meant, for the mistakes people make: a
/// part of its message, the reason in its stead (empty to keep it), and help.
const EXPLANATIONS: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "a `:` is not expected here",
        "text that holds `: ` needs quotes; a nested key stands on its own line",
    ),
    ("illegal placement", "a `:` is not expected here", "a bracket may be open on a line above"),
    ("simple key", "a key without its `:`", "check the `:` after it and the indentation"),
    (
        "<document start>",
        "text after the end of the document",
        "check the indentation; brackets and quotes may be closed too early",
    ),
    ("trailing content after", "text after the closing quote", "quote the whole, or nothing"),
    ("tab", "", "indent with spaces"),
    ("expected key", "", "check the indentation: keys of one mapping begin in one column"),
    ("expected '-'", "", "check the indentation: items of one list begin in one column"),
    ("block sequence entries", "a list item is not expected here", "begin it on a line of its own"),
    (
        "unknown escape",
        "",
        "a backslash in double quotes begins an escape: use single quotes, or `\\\\`",
    ),
    (
        "character escape code",
        "",
        "a pair of surrogates (`\\ud83d\\ude00`) is not read: write the character itself",
    ),
    ("unexpected character", "text cannot begin with this character", "put it in quotes"),
    ("comment intercepting", "", "text over several lines cannot hold a comment"),
    ("indentation in quoted scalar", "", "the quote may not be closed"),
    ("end of stream", "", "the quote may not be closed"),
    ("expected ','", "", "a bracket or quote may be open, or a comma missing"),
    ("expected node content", "", "a bracket may be open, or a comma too many"),
];

fn explain(info: &str) -> (&str, Option<&'static str>) {
    match EXPLANATIONS.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, "", help)) => (info, Some(help)),
        Some((_, reason, help)) => (reason, Some(help)),
        None => (info, None),
    }
}

#[cfg(test)]
mod tests;
