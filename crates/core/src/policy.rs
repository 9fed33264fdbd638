//! What a policy is: a config struct, its metadata, and how it becomes hooks.

use std::borrow::Cow;
use std::sync::Arc;

use crate::env::Env;
use crate::hook::{Authenticator, Hooks};

/// What is known of a policy or authenticator without building one.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// The word of the configuration: file, key, metric, doc.
    pub name: &'static str,
    /// The release it came with.
    pub since: &'static str,
    /// Every code it can refuse with.
    pub codes: &'static [Code],
}

/// One stable code of refusal.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// Such as `ip_restriction.address`.
    pub code: &'static str,
    /// The status it comes with.
    pub status: u16,
    /// When it happens, and what to do about it.
    pub meaning: &'static str,
}

/// A policy: written under `policies:`.
pub trait Policy: Sized {
    /// Its metadata.
    const META: Meta;

    /// What replaces what: a narrower policy takes the place of a wider one of the same key.
    fn key(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::META.name)
    }

    /// Checks the values and makes the hooks.
    ///
    /// # Errors
    /// What is wrong, and with which field.
    fn build(&self, env: &Env<'_>) -> Result<Hooks, Invalid>;

    /// Says how `self` admits what `wider`, whose place it takes, would not; `None` where it does
    /// not. A policy that weakens a default needs a reason in the document.
    fn weakens(&self, wider: &Self) -> Option<String>;
}

/// An authenticator: written under `authenticators:`, named by routes.
pub trait Authentication: Sized {
    /// Its metadata.
    const META: Meta;

    /// Checks the values and makes the authenticator.
    ///
    /// # Errors
    /// What is wrong, and with which field.
    fn build(&self, env: &Env<'_>) -> Result<Arc<dyn Authenticator>, Invalid>;
}

/// Words that are written to switch something off, and would open it if they were taken for a
/// reason.
const NO_REASONS: &[&str] =
    &["true", "false", "yes", "no", "on", "off", "none", "null", "0", "1", "y", "n", "-"];

/// Checks a reason, which opens what is closed by default: it must say something. `websocket:
/// false` says nothing, and does not mean what it seems to.
///
/// # Errors
/// What was expected, and what was found.
pub fn check_reason(reason: &str) -> Result<(), String> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("expected a reason, found nothing".to_owned());
    }
    if NO_REASONS.iter().any(|word| reason.eq_ignore_ascii_case(word)) {
        return Err(format!("expected a reason in words, found `{reason}`"));
    }
    Ok(())
}

/// What to do about a reason that is none.
pub const REASON_HELP: &str =
    "it is the reason that opens this: leave the key out to keep it closed";

/// A value in the document that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field below the policy, such as `allow[0]`; empty for the policy itself.
    pub field: String,
    /// What was expected, and what was found; never a secret.
    pub reason: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether the line may hold a secret, so that it must not be shown.
    pub conceal: bool,
}

impl Invalid {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), help: None, conceal: false }
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The line may hold a secret: do not show it.
    #[must_use]
    pub fn conceal(mut self) -> Self {
        self.conceal = true;
        self
    }
}
