//! The directives of a text with their places, read apart from Clearway's own reader: it is what is judged.

use std::ops::Range;

/// A directive.
pub(super) struct Directive {
    words: Vec<(String, Range<usize>)>,
    line: u32,
    /// The names of the blocks around it, the outermost first.
    pub(super) within: Vec<String>,
}

impl Directive {
    pub(super) fn name(&self) -> &str {
        self.words
            .first()
            .map(|word| word.0.as_str())
            .unwrap_or_default()
    }

    pub(super) fn argument(&self, index: usize) -> Option<&str> {
        self.arguments().nth(index)
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(|word| word.0.as_str())
    }

    /// A word and where it stands, quotes and all.
    pub(super) fn word(&self, index: usize) -> Option<(&str, Range<usize>)> {
        self.words
            .get(index)
            .map(|word| (word.0.as_str(), word.1.clone()))
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Whether it stands in these blocks and no others.
    pub(super) fn is_within(&self, blocks: &[&str]) -> bool {
        self.within == blocks
    }
}

/// Reads a text; what is wrong with it is left out.
pub(super) fn directives(text: &str) -> Vec<Directive> {
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
    };
    let mut found = Vec::new();
    let mut within: Vec<String> = Vec::new();
    let mut words = Vec::new();
    let mut begins = 1;
    while let Some(next) = reader.peek() {
        match next {
            _ if next.is_whitespace() => reader.skip(),
            '#' => reader.skip_line(),
            ';' | '{' | '}' => {
                reader.skip();
                if let Some((name, _)) = words.first().cloned() {
                    let words = std::mem::take(&mut words);
                    let directive = Directive {
                        words,
                        line: begins,
                        within: within.clone(),
                    };
                    found.push(directive);
                    if next == '{' && name.ends_with("_by_lua_block") {
                        reader.skip_program();
                    } else if next == '{' {
                        within.push(name);
                    }
                }
                if next == '}' {
                    within.pop();
                }
            }
            _ => {
                if words.is_empty() {
                    begins = reader.line;
                }
                words.push(reader.word());
            }
        }
    }
    found
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip(&mut self) {
        if let Some(next) = self.peek() {
            self.line = self.line.saturating_add(u32::from(next == '\n'));
            self.at = self.at.saturating_add(next.len_utf8());
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|next| next != '\n') {
            self.skip();
        }
    }

    /// To the brace that ends a block of another language.
    fn skip_program(&mut self) {
        let mut depth = 1_usize;
        while let Some(next) = self.peek() {
            self.skip();
            match next {
                '{' => depth = depth.saturating_add(1),
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> (String, Range<usize>) {
        let begin = self.at;
        let quote = self.peek().filter(|next| matches!(next, '"' | '\''));
        let mut word = String::new();
        if quote.is_some() {
            self.skip();
        }
        while let Some(next) = self.peek() {
            let is_variable = next == '{' && word.ends_with('$');
            if quote.is_none()
                && (next.is_whitespace() || next == ';' || (next == '{' && !is_variable))
            {
                break;
            }
            self.skip();
            if quote == Some(next) {
                break;
            }
            word.push(next);
            if let ('\\', Some(escaped)) = (next, self.peek()) {
                word.push(escaped);
                self.skip();
            }
        }
        (word, begin..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_have_lines_blocks_and_places() {
        let text = "a 1; # a; b\nhttp {\n  map $x $y { \"~ a;b\" 1; }\n  x_by_lua_block { if {} }\n c ${d};}";
        let found = directives(text);
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.line(), one.name(), one.within.join("/")))
            .collect();
        let expected = [
            (1, "a", ""),
            (2, "http", ""),
            (3, "map", "http"),
            (3, "~ a;b", "http/map"),
            (4, "x_by_lua_block", "http"),
            (5, "c", "http"),
        ];
        let expected = expected.map(|(line, name, within)| (line, name, within.to_owned()));
        assert_eq!(told, expected);
        let (word, at) = found[5].word(1).unwrap();
        assert_eq!((word, text.get(at)), ("${d}", Some("${d}")));
    }
}
