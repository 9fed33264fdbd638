//! One Rust file as the checks see it: its tokens with their lines, without comments, and with a
//! mark on those that belong to tests.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::finding::Finding;

/// A Rust file.
pub(super) struct Source {
    /// From the root of the workspace, with `/`.
    pub(super) path: String,
    /// As it was read.
    pub(super) text: String,
    /// All tokens in order, groups flattened; no comments and no doc comments.
    pub(super) tokens: Vec<Token>,
    /// The syntax tree, or why there is none.
    pub(super) syntax: Result<syn::File, String>,
}

/// A token without children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The line it begins on, from 1.
    pub(super) line: usize,
    /// The line it ends on: another one only for literals.
    pub(super) end: usize,
    /// Whether it belongs to a test: `#[cfg(test)]`, `#[test]`, or a file of tests.
    pub(super) test: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Ident(String),
    /// A string literal's value.
    Str(String),
    /// Any other literal.
    Literal,
    /// A sign, or the opening or closing of a group.
    Sign(char),
}

impl Token {
    /// The name, where it is an identifier.
    pub(super) fn ident(&self) -> Option<&str> {
        if let Kind::Ident(name) = &self.kind { Some(name) } else { None }
    }

    /// The value, where it is a string literal.
    pub(super) fn string(&self) -> Option<&str> {
        if let Kind::Str(value) = &self.kind { Some(value) } else { None }
    }

    /// Whether it is the sign `sign`.
    pub(super) fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

impl Source {
    /// Reads `text` as the Rust file at `path`. What does not parse has no tokens.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (tokens, syntax) = match text.parse::<TokenStream>() {
            Ok(stream) => {
                let mut flat = Flat { tokens: Vec::new() };
                let whole = is_test_path(path) || inner_test(&stream);
                flat.level(&stream.clone().into_iter().collect::<Vec<_>>(), whole);
                (flat.tokens, syn::parse2(stream).map_err(|error| error.to_string()))
            }
            Err(error) => (Vec::new(), Err(error.to_string())),
        };
        Self { path: path.to_owned(), text: text.to_owned(), tokens, syntax }
    }

    /// The tokens of a stream, as [`Source::tokens`].
    pub(super) fn tokens_of(stream: TokenStream) -> Vec<Token> {
        let mut flat = Flat { tokens: Vec::new() };
        flat.level(&stream.into_iter().collect::<Vec<_>>(), false);
        flat.tokens
    }

    /// The tokens that are not part of a test.
    pub(super) fn production(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| !token.test)
    }

    /// The runs of lines, from and to both included, that belong to tests.
    pub(super) fn test_lines(&self) -> Vec<(usize, usize)> {
        self.tokens
            .chunk_by(|a, b| a.test == b.test)
            .filter(|run| run.first().is_some_and(|token| token.test))
            .filter_map(|run| Some((run.first()?.line, run.last()?.end)))
            .collect()
    }
}

/// A finding where a file is no Rust that we can read.
pub(super) fn unparsed(source: &Source) -> Option<Finding> {
    let error = source.syntax.as_ref().err()?;
    Some(Finding::new("parse", &source.path, 0, format!("cannot be read as Rust: {error}")))
}

/// Files of tests alone: in a folder `tests` or `benches`, or called `tests.rs` or `…_tests.rs`.
pub(super) fn is_test_path(path: &str) -> bool {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| matches!(folder, "tests" | "benches"))
        || file == "tests.rs"
        || file.ends_with("_tests.rs")
}

struct Flat {
    tokens: Vec<Token>,
}

impl Flat {
    fn level(&mut self, trees: &[TokenTree], test: bool) {
        let mut test_until = 0;
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            match attribute(trees, at) {
                Some((_, attribute)) if is_doc(attribute) => {
                    at += if is_sign(trees.get(at + 1), '!') { 3 } else { 2 };
                    continue;
                }
                Some((true, attribute)) if is_test(attribute) => {
                    test_until = test_until.max(end_of_item(trees, at));
                }
                _ => {}
            }
            self.tree(tree, test || at < test_until);
            at += 1;
        }
    }

    fn tree(&mut self, tree: &TokenTree, test: bool) {
        let span = tree.span();
        let (line, end) = (span.start().line, span.end().line);
        let kind = match tree {
            TokenTree::Group(group) => return self.group(group, test),
            TokenTree::Ident(ident) => Kind::Ident(ident.to_string()),
            TokenTree::Punct(punct) => Kind::Sign(punct.as_char()),
            TokenTree::Literal(literal) => match syn::Lit::new(literal.clone()) {
                syn::Lit::Str(value) => Kind::Str(value.value()),
                _ => Kind::Literal,
            },
        };
        self.tokens.push(Token { kind, line, end, test });
    }

    fn group(&mut self, group: &Group, test: bool) {
        let signs = match group.delimiter() {
            Delimiter::Parenthesis => Some(('(', ')')),
            Delimiter::Brace => Some(('{', '}')),
            Delimiter::Bracket => Some(('[', ']')),
            Delimiter::None => None,
        };
        let sign = |flat: &mut Self, sign: Option<char>, line: usize| {
            let token = |sign| Token { kind: Kind::Sign(sign), line, end: line, test };
            flat.tokens.extend(sign.map(token));
        };
        sign(self, signs.map(|it| it.0), group.span_open().start().line);
        self.level(&group.stream().into_iter().collect::<Vec<_>>(), test);
        sign(self, signs.map(|it| it.1), group.span_close().start().line);
    }
}

/// The attribute that begins at `at`, and whether it is an outer one.
fn attribute(trees: &[TokenTree], at: usize) -> Option<(bool, &Group)> {
    if !is_sign(trees.get(at), '#') {
        return None;
    }
    let inner = is_sign(trees.get(at + 1), '!');
    match trees.get(at + 1 + usize::from(inner)) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some((!inner, group))
        }
        _ => None,
    }
}

fn is_sign(tree: Option<&TokenTree>, sign: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn is_ident(tree: Option<&TokenTree>, name: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_doc(attribute: &Group) -> bool {
    let mut trees = attribute.stream().into_iter();
    is_ident(trees.next().as_ref(), "doc") && is_sign(trees.next().as_ref(), '=')
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`.
fn is_test(attribute: &Group) -> bool {
    let trees: Vec<_> = attribute.stream().into_iter().collect();
    if let [TokenTree::Ident(name), TokenTree::Group(condition)] = trees.as_slice() {
        return match name.to_string().as_str() {
            "cfg" => is_test_condition(condition.stream()),
            "test" => true,
            _ => false,
        };
    }
    let path = trees.iter().take_while(|tree| !matches!(tree, TokenTree::Group(_)));
    is_ident(path.last(), "test")
}

fn is_test_condition(condition: TokenStream) -> bool {
    let trees: Vec<_> = condition.into_iter().collect();
    match trees.as_slice() {
        [TokenTree::Ident(name)] => name == "test",
        [TokenTree::Ident(name), TokenTree::Group(all)] if name == "all" => {
            all.stream().into_iter().any(|tree| is_ident(Some(&tree), "test"))
        }
        _ => false,
    }
}

fn inner_test(stream: &TokenStream) -> bool {
    let trees: Vec<_> = stream.clone().into_iter().collect();
    (0..trees.len()).any(|at| matches!(attribute(&trees, at), Some((false, it)) if is_test(it)))
}

/// Past the end of the item whose first attribute is at `at`: its braces or its semicolon, or the
/// comma after a field, a variant or an arm.
fn end_of_item(trees: &[TokenTree], mut at: usize) -> usize {
    while attribute(trees, at).is_some() {
        at += 2;
    }
    let mut ends = Ends { comma: true, brace: true };
    for (index, tree) in trees.iter().enumerate().skip(at) {
        let last = match tree {
            TokenTree::Ident(word) => {
                ends.learn(&word.to_string());
                false
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => true,
                ',' => ends.comma,
                _ => false,
            },
            TokenTree::Group(group) => ends.brace && group.delimiter() == Delimiter::Brace,
            TokenTree::Literal(_) => false,
        };
        if last {
            return index + 1;
        }
    }
    trees.len()
}

/// What ends an item, beside a semicolon.
struct Ends {
    comma: bool,
    brace: bool,
}

impl Ends {
    fn learn(&mut self, word: &str) {
        match word {
            "fn" | "impl" | "struct" | "enum" | "union" | "mod" | "trait" | "macro_rules" => {
                *self = Self { comma: false, brace: true };
            }
            "use" | "const" | "static" | "type" | "let" => {
                *self = Self { comma: false, brace: false };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &Source) -> Vec<&str> {
        source.production().filter_map(Token::ident).collect()
    }

    #[test]
    fn comments_and_doc_comments_are_no_tokens() {
        let text = "//! inner\n/// outer\nfn f() {} // behind\n/* block */";
        assert_eq!(names(&Source::new("a.rs", text)), ["fn", "f"]);
    }

    #[test]
    fn tests_are_marked_to_the_end_of_their_item_and_no_further() {
        let text = "#[cfg(test)] mod tests { fn a() {} }\n#[cfg(test)] use b::{c};\n\
                    #[cfg(test)] const fn k() {}\n#[cfg(test)]\n#[expect(x)]\nimpl D {}\n\
                    #[tokio::test(flavor = \"x\")] async fn e<A, B>() {}\n#[test] fn g() {}\n\
                    struct S { #[cfg(test)] z: Vec<u8>, y: u8 }";
        assert_eq!(names(&Source::new("a.rs", text)), ["struct", "S", "y", "u8"]);
    }

    #[test]
    fn what_is_compiled_without_tests_too_is_production() {
        let text = "#[cfg(not(test))] fn a() {}\n#[cfg(any(test, feature = \"x\"))] fn b() {}";
        let source = Source::new("a.rs", text);
        assert!(names(&source).contains(&"a") && names(&source).contains(&"b"));
    }

    #[test]
    fn whole_files_can_be_tests() {
        for path in ["crates/core/tests/a.rs", "crates/core/src/x/tests.rs", "x/src/y_tests.rs"] {
            assert_eq!(names(&Source::new(path, "fn f() {}")), [""; 0], "{path}");
        }
        assert_eq!(names(&Source::new("a.rs", "#![cfg(test)]\nfn f() {}")), [""; 0]);
    }

    #[test]
    fn strings_have_their_value_and_all_their_lines() {
        let source = Source::new("a.rs", "const A: &str = r#\"one\ntwo\"#;");
        let token = source.tokens.iter().find(|token| token.string().is_some()).unwrap();
        assert_eq!((token.string(), token.line, token.end), (Some("one\ntwo"), 1, 2));
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        assert!(unparsed(&Source::new("a.rs", "fn f( {")).is_some());
        assert!(unparsed(&Source::new("a.rs", "fn fn")).is_some());
        assert!(unparsed(&Source::new("a.rs", "fn f() {}")).is_none());
    }
}
