//! What went wrong while a type was read, before it has a place.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use crate::diagnostic::Diagnostic;
use crate::tree::{Node, Value, may_hold_secret};

use super::scalar;

/// The longest value repeated in a message, in characters.
const MAX_QUOTED: usize = 60;

/// The error of reading a type from a node. It becomes a positioned diagnostic at the node where it
/// happened; a type's own `Deserialize` makes one with `D::Error::custom("what was expected")`.
#[derive(Debug)]
pub struct Error(pub(super) Box<Kind>);

#[derive(Debug)]
pub(super) enum Kind {
    /// Happened at the node being read.
    Here(Message),
    /// A key that the node being read lacks.
    Missing(String),
    /// Has its place already, at the node being read or at one of its keys.
    Placed(Diagnostic),
    /// A part of the node being read was refused before, so nothing more can be said about it.
    Spoiled,
    /// Recorded, at a node within the one being read.
    Recorded,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) reason: String,
    /// The reason without the value.
    pub(super) concealed: String,
    pub(super) help: Option<String>,
}

impl Error {
    pub(super) fn new(kind: Kind) -> Self {
        Self(Box::new(kind))
    }

    pub(super) fn plain(reason: String) -> Self {
        let concealed = reason.clone();
        Self::new(Kind::Here(Message { reason, concealed, help: None }))
    }

    pub(super) fn mismatch(expected: &dyn Display, found: String, concealed: String) -> Self {
        let reason = format!("expected {expected}, found {found}");
        let concealed = format!("expected {expected}, found {concealed}");
        Self::new(Kind::Here(Message { reason, concealed, help: None }))
    }

    pub(super) fn help(mut self, text: &str) -> Self {
        if let Kind::Here(message) = self.0.as_mut() {
            message.help = Some(text.to_owned());
        }
        self
    }

    pub(super) fn help_if(self, condition: bool, text: &str) -> Self {
        if condition { self.help(text) } else { self }
    }

    /// A key that is only missing because it was mistyped was reported as mistyped.
    pub(super) fn unless_missing(self, mistyped: &[&str]) -> Self {
        match self.0.as_ref() {
            Kind::Missing(key) if mistyped.contains(&key.as_str()) => Self::new(Kind::Spoiled),
            _ => self,
        }
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref() {
            Kind::Here(message) => formatter.write_str(&message.concealed),
            Kind::Missing(key) => write!(formatter, "the key `{key}` is missing"),
            Kind::Placed(diagnostic) => formatter.write_str(&diagnostic.reason),
            Kind::Spoiled | Kind::Recorded => formatter.write_str("reported before"),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::plain(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(&expected, unexpected(found, false), unexpected(found, true))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::plain(format!("expected {expected}, found {length} items"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let found = unexpected(Unexpected::Str(variant), false);
        Self::mismatch(&OneOf(expected), found, "other text".to_owned())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::plain(format!("unknown key `{}`", cut(field)));
        error.help_if(!expected.is_empty(), &format!("accepted here: {}", Words(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field.to_owned()))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::plain(format!("the key `{field}` is written twice, once under another name"))
    }
}

/// How a message names a node: with its value, or without.
pub(in crate::tree) fn found(node: &Node, conceal: bool) -> String {
    match &node.value {
        Value::Null => "nothing".into(),
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Scalar(scalar) if conceal || may_hold_secret(&scalar.text, &(0..0)) => {
            "a value".into()
        }
        Value::Scalar(scalar) if !scalar.plain => format!("the text \"{}\"", cut(&scalar.text)),
        Value::Scalar(scalar) if scalar::is_number(&scalar.text) => {
            format!("the number `{}`", cut(&scalar.text))
        }
        Value::Scalar(scalar) => format!("`{}`", cut(&scalar.text)),
    }
}

fn unexpected(found: Unexpected<'_>, conceal: bool) -> String {
    match found {
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map | Unexpected::StructVariant => "a mapping".into(),
        _ if conceal => "a value".into(),
        Unexpected::Str(value) if may_hold_secret(value, &(0..0)) => "a value".into(),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number `{value}`"),
        Unexpected::Signed(value) => format!("the number `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Char(value) => format!("`{value}`"),
        Unexpected::Str(value) => format!("`{}`", cut(value)),
        other => other.to_string(),
    }
}

/// Text short enough for a message.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `a`, `b`, `c`.
pub(super) struct Words<'w>(pub(super) &'w [&'w str]);

/// How many accepted words a message lists.
const MAX_WORDS: usize = 24;

impl Display for Words<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().take(MAX_WORDS).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}`{word}`")?;
        }
        match self.0.len().checked_sub(MAX_WORDS) {
            Some(more) if more > 0 => write!(formatter, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// one of `a`, `b`, `c`; or just `a`.
pub(super) struct OneOf<'w>(pub(super) &'w [&'w str]);

impl Display for OneOf<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_of = if self.0.len() > 1 { "one of " } else { "" };
        write!(formatter, "{one_of}{}", Words(self.0))
    }
}
