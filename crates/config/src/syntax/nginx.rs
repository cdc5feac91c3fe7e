//! NGINX's language: directives, blocks, quotes, comments, `include`. Never fails: it returns what it
//! understood and what is wrong with the rest.
//!
//! What is included stands behind the `include` that brought it, on the same level.

use std::path::Path;
use std::sync::Arc;

use super::word::{Cursor, Mark, Word};
use crate::diagnostic::{Diagnostic, Origin};

mod include;
mod lua;

/// Blocks deeper than this are left out: nobody writes them, and whoever walks the tree recurses.
const DEPTH_MAX: usize = 32;

/// One directive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directive {
    pub(crate) name: Word,
    pub(crate) arguments: Vec<Word>,
    /// What stands in its braces.
    pub(crate) block: Option<Vec<Self>>,
    /// The comments above it and behind it on its line.
    pub(crate) comments: Vec<String>,
}

impl Directive {
    /// Whether it has this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.text == name
    }

    /// An argument as text.
    pub(crate) fn argument(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).map(|word| word.text.as_str())
    }

    /// Its arguments as texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|word| word.text.as_str())
    }

    /// What stands in its braces; nothing if it has none.
    pub(crate) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Where it stands, up to the end of its last argument on the first line.
    pub(crate) fn origin(&self) -> Origin {
        let mut origin = self.name.origin.clone();
        let last = self.arguments.iter().rev();
        let mut last = last.filter(|word| word.origin.line == origin.line);
        if let Some(word) = last.next() {
            let end = word.origin.column.saturating_add(word.origin.len);
            origin.len = end.saturating_sub(origin.column).max(origin.len);
        }
        origin
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// The top level.
    pub(crate) directives: Vec<Directive>,
    /// Every file that was read, in order.
    pub(crate) files: Vec<String>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether something that is included could not be read, other than the lists that come with NGINX.
    pub(crate) lacks_files: bool,
}

/// Reads a file and what it includes.
pub(crate) fn read_file(path: &Path) -> Tree {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => read(&name, &String::from_utf8_lossy(&bytes)),
        Err(error) => {
            let origin = Origin {
                file: name.as_str().into(),
                ..Origin::default()
            };
            let message = format!("cannot read {name}: {error}");
            Tree {
                diagnostics: vec![Diagnostic::error("file", &origin, message)],
                lacks_files: true,
                ..Tree::default()
            }
        }
    }
}

/// Reads a text and what it includes; the folder of `name` is where relative paths lead.
pub(crate) fn read(name: &str, text: &str) -> Tree {
    let mut diagnostics = Vec::new();
    let directives = parse(name, text, &mut diagnostics);
    let mut tree = Tree {
        directives,
        files: vec![name.to_owned()],
        diagnostics,
        lacks_files: false,
    };
    include::expand(Path::new(name), &mut tree);
    tree
}

/// Reads one text; includes stay what they are.
fn parse(name: &str, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Directive> {
    let file: Arc<str> = name.into();
    let mut parser = Parser {
        cursor: Cursor::new(&file, text),
        diagnostics,
        open: Vec::new(),
        level: Vec::new(),
        words: Vec::new(),
        comments: Vec::new(),
    };
    parser.run();
    parser.level
}

enum Token {
    Word(Word),
    Comment(String, u32),
    Semicolon(Origin),
    Open(Origin),
    Close(Origin),
    End,
}

struct Parser<'a, 'b> {
    cursor: Cursor<'a>,
    diagnostics: &'b mut Vec<Diagnostic>,
    /// Directives whose blocks are being read, each with the level that it stands on.
    open: Vec<(Directive, Vec<Directive>)>,
    /// What was read of the innermost open block.
    level: Vec<Directive>,
    /// Words of the directive that is being read.
    words: Vec<Word>,
    comments: Vec<String>,
}

impl Parser<'_, '_> {
    fn run(&mut self) {
        loop {
            match self.token() {
                Token::Word(word) => self.words.push(word),
                Token::Comment(text, line) => self.comment(text, line),
                Token::Semicolon(origin) => match self.directive() {
                    Some(directive) => self.level.push(directive),
                    None => self.wrong(&origin, "there is nothing before this \";\""),
                },
                Token::Open(origin) => self.open(&origin),
                Token::Close(origin) => self.close(&origin),
                Token::End => break,
            }
        }
        self.unfinished();
        while let Some((directive, outer)) = self.open.pop() {
            let message = format!("the block of \"{}\" is not closed", directive.name.text);
            self.diagnostics.push(
                Diagnostic::error("syntax", &directive.name.origin, message).expected("\"}\""),
            );
            self.finish_block(directive, outer);
        }
    }

    /// A comment belongs to the directive before it on its line, else to the next one.
    fn comment(&mut self, text: String, line: u32) {
        let before = self.level.last_mut().filter(|_| self.words.is_empty());
        let before = before.filter(|directive| directive.name.origin.line == line);
        match before {
            Some(directive) => directive.comments.push(text),
            None => self.comments.push(text),
        }
    }

    /// The directive that the words so far make.
    fn directive(&mut self) -> Option<Directive> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let name = words.next()?;
        Some(Directive {
            name,
            arguments: words.collect(),
            block: None,
            comments: std::mem::take(&mut self.comments),
        })
    }

    fn open(&mut self, origin: &Origin) {
        let directive = self.directive().unwrap_or_else(|| {
            self.wrong(origin, "there is no name before this \"{\"");
            Directive {
                name: Word {
                    text: String::new(),
                    is_quoted: false,
                    origin: origin.clone(),
                },
                arguments: Vec::new(),
                block: None,
                comments: Vec::new(),
            }
        });
        if directive.name.text.ends_with("_by_lua_block") {
            if !lua::skip(&mut self.cursor) {
                self.wrong(&directive.name.origin, "this block of Lua is not closed");
            }
            self.level.push(directive);
        } else if self.open.len() < DEPTH_MAX {
            let outer = std::mem::take(&mut self.level);
            self.open.push((directive, outer));
        } else {
            self.wrong(origin, "blocks are nested too deeply; this one is left out");
            self.skip_block();
            self.level.push(directive);
        }
    }

    fn skip_block(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.token() {
                Token::Open(_) => depth = depth.saturating_add(1),
                Token::Close(_) => depth -= 1,
                Token::End => return,
                Token::Word(_) | Token::Comment(..) | Token::Semicolon(_) => {}
            }
        }
    }

    fn close(&mut self, origin: &Origin) {
        self.unfinished();
        self.comments.clear();
        match self.open.pop() {
            Some((directive, outer)) => self.finish_block(directive, outer),
            None => self.wrong(origin, "there is no block to close here"),
        }
    }

    fn finish_block(&mut self, mut directive: Directive, outer: Vec<Directive>) {
        directive.block = Some(std::mem::replace(&mut self.level, outer));
        self.level.push(directive);
    }

    /// Words without a semicolon at the end of a block or text: a directive all the same.
    fn unfinished(&mut self) {
        if let Some(directive) = self.directive() {
            let message = format!("\"{}\" does not end", directive.name.text);
            self.diagnostics.push(
                Diagnostic::error("syntax", &directive.name.origin, message).expected("\";\""),
            );
            self.level.push(directive);
        }
    }

    fn wrong(&mut self, origin: &Origin, message: &str) {
        self.diagnostics
            .push(Diagnostic::error("syntax", origin, message));
    }

    fn token(&mut self) -> Token {
        while self.cursor.peek().is_some_and(is_space) {
            self.cursor.take();
        }
        let mark = self.cursor.mark();
        let Some(first) = self.cursor.peek() else {
            return Token::End;
        };
        match first {
            ';' | '{' | '}' => {
                self.cursor.take();
                let origin = self.cursor.since(mark);
                match first {
                    ';' => Token::Semicolon(origin),
                    '{' => Token::Open(origin),
                    _ => Token::Close(origin),
                }
            }
            '#' => {
                let line = self.cursor.line();
                let text = line.trim_start_matches('#').trim().to_owned();
                Token::Comment(text, mark.line)
            }
            '"' | '\'' => self.quoted(first, mark),
            _ => self.bare(mark),
        }
    }

    fn quoted(&mut self, quote: char, mark: Mark) -> Token {
        self.cursor.take();
        let mut text = String::new();
        loop {
            match self.cursor.take() {
                Some('\\') => self.escape(&mut text),
                Some(next) if next == quote => break,
                Some(next) => text.push(next),
                None => {
                    let origin = self.cursor.since(mark);
                    self.wrong(&origin, "this quote is not closed");
                    break;
                }
            }
        }
        Token::Word(Word {
            text,
            is_quoted: true,
            origin: self.cursor.since(mark),
        })
    }

    fn bare(&mut self, mark: Mark) -> Token {
        let mut text = String::new();
        while let Some(next) = self.cursor.peek() {
            // `${name}` is one word; every other brace opens a block.
            let is_variable = next == '{' && text.ends_with('$');
            if is_space(next) || next == ';' || (next == '{' && !is_variable) {
                break;
            }
            self.cursor.take();
            if next == '\\' {
                self.escape(&mut text);
            } else {
                text.push(next);
            }
        }
        Token::Word(Word {
            text,
            is_quoted: false,
            origin: self.cursor.since(mark),
        })
    }

    /// What stands behind a backslash. Where it means nothing it stays, as regular expressions need.
    fn escape(&mut self, text: &mut String) {
        match self.cursor.take() {
            Some(next @ ('"' | '\'' | '\\')) => text.push(next),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(next) => text.extend(['\\', next]),
            None => text.push('\\'),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests;
