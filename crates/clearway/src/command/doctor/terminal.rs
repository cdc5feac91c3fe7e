//! What the terminal is like.

use std::io::IsTerminal;

use super::options::Colour;

/// Columns when nobody says how many there are.
const WIDTH: usize = 80;
/// Wider lines are hard to read.
const WIDEST: usize = 120;

/// Columns of the text.
pub(super) fn width(asked: Option<usize>) -> usize {
    if let Some(width) = asked {
        return width;
    }
    let written = std::env::var_os("COLUMNS").and_then(|text| text.to_str()?.parse().ok());
    let seen = || {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    written.or_else(seen).unwrap_or(WIDTH).min(WIDEST)
}

/// Whether text is coloured.
pub(super) fn has_colour(asked: Colour) -> bool {
    match asked {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let is_refused = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
            !is_refused && std::io::stdout().is_terminal()
        }
    }
}

/// A line on standard error that is written over again and again; nothing where nobody looks.
#[derive(Debug)]
pub(super) struct Progress {
    is_seen: bool,
    shown: String,
}

impl Progress {
    /// One that has not begun.
    pub(super) fn new() -> Self {
        Self {
            is_seen: std::io::stderr().is_terminal(),
            shown: String::new(),
        }
    }

    /// Shows a text in place of the last one.
    pub(super) fn show(&mut self, text: &str) {
        if self.is_seen && self.shown != text {
            text.clone_into(&mut self.shown);
            crate::command::complain(&format!("\r\x1b[K{text}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            crate::command::complain("\r\x1b[K");
        }
    }
}
