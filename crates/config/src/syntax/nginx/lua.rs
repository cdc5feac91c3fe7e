//! Blocks of Lua inside NGINX's language: they are stepped over.

use crate::syntax::word::Cursor;

/// Takes everything up to the brace that closes a block whose opening brace is already taken. Braces
/// in Lua's strings and comments do not count. Whether the end was found.
pub(super) fn skip(cursor: &mut Cursor<'_>) -> bool {
    let mut depth = 1_usize;
    while let Some(next) = cursor.take() {
        match next {
            '{' => depth = depth.saturating_add(1),
            '}' => depth -= 1,
            '"' | '\'' => quoted(cursor, next),
            '[' => {
                long(cursor);
            }
            '-' if cursor.take_if('-') => comment(cursor),
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

/// `--[[` begins a comment over several lines; any other ends with its line.
fn comment(cursor: &mut Cursor<'_>) {
    let is_long = cursor.take_if('[') && long(cursor);
    if !is_long {
        cursor.line();
    }
}

fn quoted(cursor: &mut Cursor<'_>, quote: char) {
    while let Some(next) = cursor.take() {
        match next {
            '\\' => {
                cursor.take();
            }
            // A string that ends with its line is broken; what follows is code again.
            '\n' => return,
            next if next == quote => return,
            _ => {}
        }
    }
}

/// A long bracket, `[[…]]` or `[==[…]==]`, whose first bracket is already taken. Whether it was one.
fn long(cursor: &mut Cursor<'_>) -> bool {
    let mut level = 0_usize;
    while cursor.take_if('=') {
        level += 1;
    }
    if !cursor.take_if('[') {
        return false;
    }
    while let Some(next) = cursor.take() {
        if next != ']' {
            continue;
        }
        let mut seen = 0;
        while seen < level && cursor.take_if('=') {
            seen += 1;
        }
        if seen == level && cursor.take_if(']') {
            break;
        }
    }
    true
}
