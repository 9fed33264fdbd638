//! What a check has to say: where, what is wrong, how to mend it.

use std::fmt;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Printed only.
    Warning,
    /// Fails the command.
    Failure,
}

/// One finding of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The rule: what an entry of the table of exceptions names.
    pub(super) rule: &'static str,
    /// The file, from the root of the workspace, with `/`.
    pub(super) path: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub(super) line: usize,
    /// What it is about, within the rule: a function, a policy, a crate. May be empty.
    pub(super) subject: String,
    /// What is wrong and how to mend it.
    pub(super) text: String,
    /// Whether it fails the command.
    pub(super) level: Level,
}

impl Finding {
    /// A failure of `rule` at a line of a file.
    pub(super) fn new(
        rule: &'static str,
        path: &str,
        line: usize,
        text: impl Into<String>,
    ) -> Self {
        let (path, subject) = (path.to_owned(), String::new());
        Self { rule, path, line, subject, text: text.into(), level: Level::Failure }
    }

    /// Says what it is about, so that an exception can name it.
    pub(super) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Turns it into a warning.
    pub(super) fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        let weight = if self.level == Level::Warning { "warning: " } else { "" };
        write!(f, " {weight}{} [{}]", self.text, self.rule)
    }
}
