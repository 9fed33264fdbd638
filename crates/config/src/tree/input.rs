//! The parser's input, with an end to how much it may hold back.

use std::cell::Cell;
use std::rc::Rc;

use saphyr_parser::input::SkipTabs;
use saphyr_parser::{Input, StrInput};

/// What the parser may still read before it must say something.
#[derive(Debug)]
pub(super) struct Allowance {
    marks: u32,
    left: Cell<u32>,
    exceeded: Cell<bool>,
}

impl Allowance {
    pub(super) fn new(marks: u32) -> Self {
        Self { marks, left: Cell::new(marks), exceeded: Cell::new(false) }
    }

    /// To be called after each event: what was read for it is no longer held back.
    pub(super) fn renew(&self) {
        self.left.set(self.marks);
    }

    /// Whether reading was cut short; then nothing that was parsed is to be trusted.
    pub(super) fn exceeded(&self) -> bool {
        self.exceeded.get()
    }
}

/// Text that pretends to end when the [`Allowance`] is used up.
///
/// Every token that the parser holds back consumes at least one of the counted marks through
/// [`Input::skip`].
pub(super) struct Bounded<'t> {
    inner: StrInput<'t>,
    allowance: Rc<Allowance>,
}

impl<'t> Bounded<'t> {
    pub(super) fn new(text: &'t str, allowance: Rc<Allowance>) -> Self {
        Self { inner: StrInput::new(text), allowance }
    }
}

impl Input for Bounded<'_> {
    fn skip(&mut self) {
        if is_mark(self.inner.peek()) {
            let Some(left) = self.allowance.left.get().checked_sub(1) else {
                self.allowance.exceeded.set(true);
                self.inner = StrInput::new("");
                return;
            };
            self.allowance.left.set(left);
        }
        self.inner.skip();
    }

    fn lookahead(&mut self, count: usize) {
        self.inner.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.inner.buflen()
    }

    /// Also what the scanner reserves for each plain scalar, so it is kept small.
    fn bufmaxlen(&self) -> usize {
        32
    }

    fn raw_read_ch(&mut self) -> char {
        self.inner.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.inner.raw_read_non_breakz_ch()
    }

    fn skip_n(&mut self, count: usize) {
        self.inner.skip_n(count);
    }

    fn peek(&self) -> char {
        self.inner.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.inner.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.inner.peek_opt()
    }

    fn next_2_are(&self, first: char, second: char) -> bool {
        self.inner.next_2_are(first, second)
    }

    fn next_3_are(&self, first: char, second: char, third: char) -> bool {
        self.inner.next_3_are(first, second, third)
    }

    fn next_is_document_indicator(&self) -> bool {
        self.inner.next_is_document_indicator()
    }

    fn next_is_document_start(&self) -> bool {
        self.inner.next_is_document_start()
    }

    fn next_is_document_end(&self) -> bool {
        self.inner.next_is_document_end()
    }

    fn skip_ws_to_eol(&mut self, skip_tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        self.inner.skip_ws_to_eol(skip_tabs)
    }

    fn skip_while_non_breakz(&mut self) -> usize {
        self.inner.skip_while_non_breakz()
    }

    fn skip_while_blank(&mut self) -> usize {
        self.inner.skip_while_blank()
    }
}

fn is_mark(char: char) -> bool {
    matches!(char, ',' | '[' | ']' | '{' | '}' | ':' | '?' | '&' | '*' | '!' | '\'' | '"')
}
