//! Texts put in place of others in a body that comes piece by piece.

/// A text that is looked for, and what takes its place.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Compared without regard to the case of ASCII letters; never empty.
    pub(crate) find: Vec<u8>,
    pub(crate) put: Vec<u8>,
}

/// One body in which texts are replaced. At each place the longest that fits is.
pub(crate) struct Replacer {
    pairs: Vec<Pair>,
    /// Each pair is used for its first occurrence only.
    once: bool,
    /// By first byte: whether some pair begins with it.
    begins: [bool; 256],
    /// What may be the begin of a text, with more to come.
    held: Vec<u8>,
}

/// What stands at a place.
enum Fit {
    Nothing,
    Pair(usize),
    /// More bytes have to come before that is known.
    Unknown,
}

impl Replacer {
    /// Pairs in any order; those with an empty text are left out.
    pub(crate) fn new(mut pairs: Vec<Pair>, once: bool) -> Self {
        pairs.retain(|pair| !pair.find.is_empty());
        // The first of those that fit is the longest, and of equal ones the first written.
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.find.len()));
        let mut replacer = Self {
            pairs,
            once,
            begins: [false; 256],
            held: Vec::new(),
        };
        replacer.index();
        replacer
    }

    fn index(&mut self) {
        self.begins = [false; 256];
        for pair in &self.pairs {
            let first = pair.find.first().copied().unwrap_or_default();
            for byte in [first.to_ascii_lowercase(), first.to_ascii_uppercase()] {
                if let Some(begins) = self.begins.get_mut(usize::from(byte)) {
                    *begins = true;
                }
            }
        }
    }

    /// Puts bytes through; what may still become a text stays back.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.run(input, false, out);
    }

    /// Brings out what stayed back.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], true, out);
    }

    fn run(&mut self, input: &[u8], last: bool, out: &mut Vec<u8>) {
        let mut joined = std::mem::take(&mut self.held);
        let text: &[u8] = if joined.is_empty() {
            input
        } else {
            joined.extend_from_slice(input);
            &joined
        };
        let (mut at, mut copied) = (0, 0);
        while let Some(&byte) = text.get(at) {
            if !self.begins.get(usize::from(byte)).copied().unwrap_or(false) {
                at += 1;
                continue;
            }
            match self.fit(text.get(at..).unwrap_or_default(), last) {
                Fit::Nothing => at += 1,
                Fit::Pair(index) => {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    at += self.put(index, out);
                    copied = at;
                }
                Fit::Unknown => break,
            }
        }
        out.extend_from_slice(text.get(copied..at).unwrap_or_default());
        let rest = text.get(at..).unwrap_or_default();
        if !rest.is_empty() {
            self.held = rest.to_vec();
        }
    }

    /// Writes what takes a text's place; how long the text was.
    fn put(&mut self, index: usize, out: &mut Vec<u8>) -> usize {
        let Some(pair) = self.pairs.get(index) else {
            return 1;
        };
        out.extend_from_slice(&pair.put);
        let len = pair.find.len();
        if self.once {
            self.pairs.remove(index);
            self.index();
        }
        len
    }

    fn fit(&self, text: &[u8], last: bool) -> Fit {
        for (index, pair) in self.pairs.iter().enumerate() {
            let len = pair.find.len().min(text.len());
            let begin = pair.find.get(..len).unwrap_or_default();
            if !begin.eq_ignore_ascii_case(text.get(..len).unwrap_or_default()) {
                continue;
            }
            if len == pair.find.len() {
                return Fit::Pair(index);
            }
            if !last {
                return Fit::Unknown;
            }
        }
        Fit::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replacer(pairs: &[(&str, &str)], once: bool) -> Replacer {
        let pair = |(find, put): &(&str, &str)| Pair {
            find: find.as_bytes().to_vec(),
            put: put.as_bytes().to_vec(),
        };
        Replacer::new(pairs.iter().map(pair).collect(), once)
    }

    fn run(mut replacer: Replacer, text: &str, step: usize) -> String {
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            replacer.push(piece, &mut out);
        }
        replacer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_longest_is_taken_whatever_its_case() {
        let pairs = [("inner", "outer"), ("Inner<", "end<"), ("in", "out")];
        for step in 1..8 {
            let found = run(
                replacer(&pairs, false),
                "INNER inner< inne in innerinner<",
                step,
            );
            assert_eq!(found, "outer end< outne out outerend<", "{step}");
            let once = run(replacer(&pairs, true), "inner inner inner< inner< in", step);
            assert_eq!(once, "outer outner end< inner< in", "{step}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_whole_text_would_give(
            text in "[ab]{0,60}",
            find in "[ab]{1,4}",
            step in 1_usize..9,
        ) {
            let found = run(replacer(&[(&find, "X")], false), &text, step);
            prop_assert_eq!(found, text.replace(&find, "X"));
        }

        #[test]
        fn how_it_is_cut_does_not_matter(
            text in "[abc]{0,60}",
            finds in proptest::collection::vec("[abc]{1,4}", 1..4),
            once in any::<bool>(),
            step in 1_usize..9,
        ) {
            let pairs: Vec<(&str, &str)> = finds.iter().map(|f| (f.as_str(), "X")).collect();
            let whole = run(replacer(&pairs, once), &text, 1_000);
            prop_assert_eq!(run(replacer(&pairs, once), &text, step), whole);
        }
    }
}
