//! One walk over a token stream: functions, imports and the flat run of tokens.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What the rules ask about a file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) functions: Vec<Function>,
    /// Lines of imports with a `*`.
    pub(super) wildcard_imports: Vec<usize>,
    /// Lines of `#![allow(...)]`.
    pub(super) crate_wide_allows: Vec<usize>,
    /// Every token outside literals and comments, with grouped imports written out one by one
    /// and items under `#[cfg(test)]` left out.
    pub(super) tokens: Vec<Token>,
}

/// A function with a body.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// From the line of `fn` to the closing brace, both counted.
    pub(super) lines: usize,
}

/// A token with its line, from 1.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Scan {
    pub(super) fn of(stream: TokenStream) -> Scan {
        let mut scan = Scan::default();
        scan.walk(&stream.into_iter().collect::<Vec<_>>(), true);
        scan
    }

    /// `keep` is false inside items that only tests compile: their tokens do not count.
    fn walk(&mut self, trees: &[TokenTree], keep: bool) {
        let mut index = 0;
        while let Some((tree, rest)) = trees[index..].split_first() {
            if is_test_attribute(tree, rest) {
                let item = &rest[1..];
                let length = item_length(item);
                self.walk(&item[..length], false);
                index += 2 + length;
                continue;
            }
            if is_ident(tree, "use") && !rest.first().is_some_and(|next| is_punct(next, '<')) {
                let length = rest.iter().take_while(|tree| !is_punct(tree, ';')).count();
                self.import(&rest[..length], &[], keep);
                index += 1 + length;
                continue;
            }
            self.meet_function(tree, rest);
            self.meet_inner_attribute(tree, rest);
            match tree {
                TokenTree::Group(group) => self.walk_group(group, keep),
                TokenTree::Literal(_) => self.push("literal", line(tree), keep),
                TokenTree::Ident(_) | TokenTree::Punct(_) => {
                    self.push(&tree.to_string(), line(tree), keep);
                }
            }
            index += 1;
        }
    }

    fn walk_group(&mut self, group: &Group, keep: bool) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        self.push(open, group.span_open().start().line, keep);
        self.walk(&trees(group), keep);
        self.push(close, group.span_close().start().line, keep);
    }

    /// Writes out `a::{b, c::*}` as the runs `a::b` and `a::c::*`.
    fn import(&mut self, tree: &[TokenTree], before: &[Token], keep: bool) {
        let mut path = before.to_vec();
        for part in tree {
            match part {
                TokenTree::Group(group) => {
                    for branch in trees(group).split(|tree| is_punct(tree, ',')) {
                        self.import(branch, &path, keep);
                    }
                    return;
                }
                part => path.push(Token { text: part.to_string(), line: line(part) }),
            }
        }
        if let Some(last) = path.last().filter(|last| last.text == "*") {
            self.wildcard_imports.push(last.line);
        }
        let end = path.last().map_or(0, |last| last.line);
        path.iter().for_each(|token| self.push(&token.text, token.line, keep));
        self.push(";", end, keep);
    }

    fn meet_function(&mut self, tree: &TokenTree, rest: &[TokenTree]) {
        let Some((TokenTree::Ident(name), signature)) = rest.split_first() else { return };
        if !is_ident(tree, "fn") {
            return;
        }
        let body = signature.iter().take_while(|tree| !is_punct(tree, ';')).find_map(brace_group);
        if let Some(body) = body {
            let lines = body.span_close().end().line.saturating_sub(line(tree)) + 1;
            self.functions.push(Function { name: name.to_string(), line: line(tree), lines });
        }
    }

    fn meet_inner_attribute(&mut self, tree: &TokenTree, rest: &[TokenTree]) {
        let [bang, TokenTree::Group(attribute), ..] = rest else { return };
        let is_allow = trees(attribute).first().is_some_and(|first| is_ident(first, "allow"));
        if is_punct(tree, '#') && is_punct(bang, '!') && is_allow {
            self.crate_wide_allows.push(line(tree));
        }
    }

    fn push(&mut self, text: &str, line: usize, keep: bool) {
        if keep && !text.is_empty() {
            self.tokens.push(Token { text: text.to_owned(), line });
        }
    }
}

/// `#[cfg(test)]`, as the `#` and what follows it.
fn is_test_attribute(tree: &TokenTree, rest: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(attribute)) = rest.first() else { return false };
    let is_bracket = attribute.delimiter() == Delimiter::Bracket;
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    is_punct(tree, '#') && is_bracket && text == "cfg(test)"
}

/// How many trees the item at the start takes: up to its body or its `;`.
fn item_length(trees: &[TokenTree]) -> usize {
    let end = trees.iter().position(|tree| is_punct(tree, ';') || brace_group(tree).is_some());
    end.map_or(trees.len(), |end| end + 1)
}

fn brace_group(tree: &TokenTree) -> Option<&Group> {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        _ => None,
    }
}

fn trees(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn is_ident(tree: &TokenTree, name: &str) -> bool {
    matches!(tree, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn line(tree: &TokenTree) -> usize {
    tree.span().start().line
}
