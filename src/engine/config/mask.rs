//! Hides secrets in the lines that complaints show: they end up in terminals, journals and tickets.
//!
//! Goes by the option's name (or what is misspelt so) and by passwords in addresses. What a complaint says in its own
//! words holds no values of strings either (`table.rs`). A secret that is given as `${...}` is not in the file at all.

use std::ops::Range;

use super::suggest;

/// Options and headers whose values are nobody's business.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
];

/// The line with every character of a secret as `*`, so that carets below it stay in place.
pub(super) fn mask(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let (mut at, mut depth, mut secret) = (0, 0_usize, false);
    let mut word = 0..0;
    while let Some(&c) = chars.get(at) {
        let mut next = at + 1;
        match c {
            '"' | '\'' => {
                let end = closing(&chars, at);
                word = next..end;
                if secret {
                    hide(&mut chars, word.clone());
                } else {
                    hide_password(&mut chars, word.clone());
                }
                next = end + 1;
            }
            '=' => {
                secret = is_secret(&chars[word.clone()]);
                depth = 0;
            }
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' | '}' if depth == 0 => secret = false,
            '{' => secret = false, // its options say for themselves
            c if is_word(c) => {
                next = at + chars[at..].iter().take_while(|c| is_word(**c)).count();
                word = at..next;
                if secret {
                    hide(&mut chars, word.clone());
                }
            }
            _ => {}
        }
        at = next;
    }
    chars.into_iter().collect()
}

fn is_word(c: char) -> bool {
    !c.is_whitespace() && !"\"'=[]{},".contains(c)
}

/// Where the string that begins at `start` ends: its closing quote, or the line's end when that is missing.
fn closing(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        if c == quote {
            return at;
        }
        at += if c == '\\' && quote == '"' { 2 } else { 1 };
    }
    chars.len()
}

fn is_secret(word: &[char]) -> bool {
    let word: String = word.iter().collect::<String>().to_lowercase().replace('-', "_");
    let last = word.rsplit('.').next().unwrap_or_default();
    SECRET.iter().any(|name| word.contains(name))
        || ["auth", "pass", "pwd"].contains(&last)
        || suggest::nearest(last, SECRET.iter().copied()).is_some()
}

/// Hides all of it, unless it only says where the secret is.
fn hide(chars: &mut [char], range: Range<usize>) {
    let part = &mut chars[range];
    if !part.starts_with(&['$', '{']) {
        part.fill('*');
    }
}

/// Hides the password in `scheme://user:password@host`.
fn hide_password(chars: &mut [char], range: Range<usize>) {
    let part = &mut chars[range];
    let Some(host) = part.windows(3).position(|three| three == [':', '/', '/']) else { return };
    let part = &mut part[host + 3..];
    let end = part.iter().position(|c| "/?#".contains(*c)).unwrap_or(part.len());
    let Some(at) = part[..end].iter().rposition(|c| *c == '@') else { return };
    if let Some(colon) = part[..at].iter().position(|c| *c == ':') {
        hide(part, colon + 1..at);
    }
}
