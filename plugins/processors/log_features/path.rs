//! A path as it is counted: without its query, and without what names one thing of many.
//!
//! `/orders/48213/items?page=2` is `/orders/:id/items`. A segment is an id when it is made of digits, when it is a long run of
//! hexadecimal digits or of mixed letters and digits (a UUID, a token), or an e-mail address. Digits within a word stay when
//! they are one or two (`/api/v2`, `/s3`), and are `:n` when more (`/report-:n.pdf`).

use crate::sketch::LONGEST;

/// A run of letters and digits this long that has both is nobody's word.
const LONG: usize = 16;
/// A hexadecimal run is an id from here on.
const HEX: usize = 8;
/// So many digits within a word number it.
const DIGITS: usize = 3;

/// Appends the masked form of a path, or of a whole address, to `out`.
pub(super) fn mask(path: &[u8], out: &mut String) {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#' | b';'));
    let path = &path[..end.unwrap_or(path.len())];
    for (at, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            out.push('/');
        }
        if out.len() >= LONGEST {
            out.push_str("...");
            return;
        }
        if is_id(segment) { out.push_str(":id") } else { word(segment, out) }
    }
}

fn is_id(segment: &[u8]) -> bool {
    if segment.is_empty() {
        return false;
    }
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_number = digits == segment.len();
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let hex = segment.len() >= HEX && digits > 0 && segment.iter().all(is_hex);
    let letters = segment.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=');
    let longest = segment.split(|byte| !is_token(byte)).map(<[u8]>::len).max().unwrap_or(0);
    // Two digits in words (`web-2-and-3-tier-architecture`) are no token; four in a long run are, or both cases.
    let cases = [u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    let mixed = cases.iter().all(|is| segment.iter().any(is));
    let token = longest >= LONG && letters > 0 && (digits >= 4 || digits > 0 && mixed);
    let mail = segment.contains(&b'@') || segment.windows(3).any(|three| three == b"%40");
    is_number || hex || token || mail
}

fn word(segment: &[u8], out: &mut String) {
    let text = String::from_utf8_lossy(segment);
    let mut run = 0;
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            run += 1;
            out.push(letter);
        } else {
            number(&mut run, out);
            if !letter.is_control() && out.len() < LONGEST {
                out.push(letter);
            }
        }
    }
    number(&mut run, out);
}

/// A run of digits that just ended.
fn number(run: &mut usize, out: &mut String) {
    if *run >= DIGITS {
        out.truncate(out.len() - *run);
        out.push_str(":n");
    }
    *run = 0;
}
