//! One token of a line with its variable parts masked: numbers, hex, addresses, identifiers, paths, times, e-mails.
//!
//! Drain (He et al. 2017, section 3.1) leaves masking to regular expressions that a person writes for each log. These
//! masks are fixed, work on bytes and know nothing of a format. A token is masked whole when all of it is variable
//! (`<num>`, `<ip>`), else in its parts (`sshd[<num>]:`, `http:<path>`).

/// A token longer than this is not read: nobody wrote it as a word.
const MAX_TOKEN: usize = 100;

/// What a byte is, as bits.
pub(super) const SPACE: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const SLASH: u8 = 4;
pub(super) const AT: u8 = 8;
pub(super) const EQUALS: u8 = 16;
const COLON: u8 = 32;
const ALPHA: u8 = 64;

pub(super) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t'..=b'\r' => SPACE,
            b'0'..=b'9' => DIGIT,
            b'/' => SLASH,
            b'@' => AT,
            b'=' => EQUALS,
            b':' => COLON,
            b'a'..=b'z' | b'A'..=b'Z' => ALPHA,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Appends `token`, masked, to `out`; `seen` are the classes of its bytes. True when nothing but masks and punctuation
/// is left: such a token tells nothing about which template the line is of.
pub(super) fn token(token: &[u8], seen: u8, out: &mut Vec<u8>) -> bool {
    if token.len() > MAX_TOKEN {
        out.extend_from_slice(b"<long>");
        return true;
    }
    if seen & (DIGIT | SLASH | AT) == 0 {
        let has_colons = seen & COLON != 0 && token.windows(2).any(|pair| pair == b"::");
        if has_colons && is_ipv6(trimmed(token).1) {
            return around(token, b"<ip>", out);
        }
        out.extend_from_slice(token);
        return false;
    }
    if seen & SLASH != 0
        && let Some(is_pure) = path(token, out)
    {
        return is_pure;
    }
    if seen & AT != 0 && is_email(trimmed(token).1) {
        return around(token, b"<email>", out);
    }
    if seen & DIGIT == 0 {
        out.extend_from_slice(token);
        return false;
    }
    let core = trimmed(token).1;
    match whole(core, seen) {
        Some(mask) => around(token, mask, out),
        None => numbers(token, out),
    }
}

/// The punctuation before, the core, the punctuation after.
fn trimmed(token: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let is_before =
        |byte: &u8| matches!(byte, b'[' | b'(' | b'{' | b'<' | b'"' | b'\'' | b'#' | b'*');
    let is_after = |byte: &u8| {
        matches!(
            byte,
            b']' | b')' | b'}' | b'>' | b'"' | b'\'' | b',' | b';' | b':' | b'.' | b'!' | b'?'
        )
    };
    let start = token.iter().position(|byte| !is_before(byte)).unwrap_or(token.len());
    let end = token.iter().rposition(|byte| !is_after(byte)).map_or(start, |last| last + 1);
    let end = end.max(start);
    (&token[..start], &token[start..end], &token[end..])
}

fn around(token: &[u8], mask: &[u8], out: &mut Vec<u8>) -> bool {
    let (before, _, after) = trimmed(token);
    out.extend_from_slice(before);
    out.extend_from_slice(mask);
    out.extend_from_slice(after);
    true
}

/// The mask of a core that is variable as a whole.
fn whole(core: &[u8], seen: u8) -> Option<&'static [u8]> {
    if is_uuid(core) {
        return Some(b"<uuid>");
    }
    if is_time(core) {
        return Some(b"<time>");
    }
    if is_ipv4(core) {
        return Some(b"<ip>");
    }
    if seen & COLON != 0 && is_ipv6(core) {
        return Some(b"<ip>");
    }
    if is_hex(core) {
        return Some(b"<hex>");
    }
    is_identifier(core).then_some(b"<id>")
}

fn is_uuid(core: &[u8]) -> bool {
    core.len() == 36
        && core.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `a.b.c.d`, with or without `:port` or `/bits`.
fn is_ipv4(core: &[u8]) -> bool {
    let end = core.iter().position(|byte| matches!(byte, b':' | b'/')).unwrap_or(core.len());
    let (address, rest) = core.split_at(end);
    let mut parts = 0;
    let is_address = address.len() <= 15
        && address.split(|byte| *byte == b'.').all(|part| {
            parts += 1;
            (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit)
        });
    is_address && parts == 4 && rest.iter().skip(1).all(u8::is_ascii_digit)
}

/// Hex groups with colons, perhaps with `]:port`, of which one has a letter or two stand together: `12:30:05` is a time.
fn is_ipv6(core: &[u8]) -> bool {
    let end = core.iter().position(|byte| *byte == b']').unwrap_or(core.len());
    let (core, port) = core.split_at(end);
    if !port.iter().skip(1).all(|byte| is(*byte, DIGIT | COLON)) {
        return false;
    }
    if core.len() < 3 || !core.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b':') {
        return false;
    }
    let mut groups = 0;
    let is_short = core.split(|byte| *byte == b':').all(|group| {
        groups += 1;
        group.len() <= 4
    });
    let is_double = core.windows(2).any(|pair| pair == b"::");
    let has_letter = core.iter().any(u8::is_ascii_alphabetic);
    is_short && (3..=9).contains(&groups) && (is_double || (groups >= 4 && has_letter))
}

/// `2026-01-31`, `12:30:05.123`, both with a `T`, `31/Jan/2026:12:30:05`; a zone may follow.
fn is_time(core: &[u8]) -> bool {
    if core.len() < 5 || !(is(core[0], DIGIT) && is(core[1], DIGIT)) {
        return false;
    }
    let (mut colons, mut dashes, mut slashes, mut letters, mut digits) = (0, 0, 0, 0, 0);
    for byte in core {
        match byte {
            b'0'..=b'9' => digits += 1,
            b':' => colons += 1,
            b'-' => dashes += 1,
            b'/' => slashes += 1,
            b'.' | b',' | b'+' => {}
            b'a'..=b'z' | b'A'..=b'Z' => letters += 1,
            _ => return false,
        }
    }
    match letters {
        0..=2 => {
            let is_zone = letters == 0 || core.iter().any(|byte| matches!(byte, b'T' | b'Z'));
            let is_date = (dashes >= 2 || slashes == 2) && digits >= 6;
            is_zone && (is_date || (colons == 2 && core[2] == b':' && digits >= 6))
        }
        3 => slashes == 2 && digits >= 5 && core[2] == b'/', // 31/Jan/2026
        _ => false,
    }
}

/// `0x1f`, or eight hex digits or more that are not all letters nor all numbers.
fn is_hex(core: &[u8]) -> bool {
    if let Some(digits) = core.strip_prefix(b"0x") {
        return !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    }
    core.len() >= 8
        && core.iter().all(u8::is_ascii_hexdigit)
        && core.iter().any(u8::is_ascii_alphabetic)
        && core.iter().any(u8::is_ascii_digit)
}

/// Eight letters and digits or more that change between the two four times: no word does.
fn is_identifier(core: &[u8]) -> bool {
    let mut changes = 0;
    let mut last = 0;
    for byte in core {
        let class = CLASS[*byte as usize] & (ALPHA | DIGIT);
        if class == 0 && !matches!(byte, b'_' | b'-') {
            return false;
        }
        if class != 0 {
            changes += u32::from(last != 0 && last != class);
            last = class;
        }
    }
    core.len() >= 8 && changes >= 4
}

fn is_email(core: &[u8]) -> bool {
    let Some(at) = core.iter().position(|byte| *byte == b'@') else { return false };
    let (name, host) = (&core[..at], &core[at + 1..]);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    !name.is_empty()
        && name.iter().all(is_name)
        && host.iter().all(is_host)
        && host.iter().skip(1).rev().skip(1).any(|byte| *byte == b'.')
}

/// A path that starts at a slash with nothing, or an opening sign, before it. `None`: there is none (`HTTP/1.1`,
/// `read/write`, a date).
fn path(token: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    let opens = |at: usize| {
        let before = token[..at].last();
        before.is_none_or(|byte| {
            matches!(
                byte,
                b'=' | b':' | b'"' | b'\'' | b'(' | b'[' | b'{' | b'<' | b'~' | b'.' | b','
            )
        })
    };
    let start = token.iter().enumerate().position(|(at, byte)| *byte == b'/' && opens(at))?;
    let rest = &token[start..];
    let is_closing =
        |byte: &u8| matches!(byte, b']' | b')' | b'}' | b'>' | b'"' | b'\'' | b',' | b';' | b':');
    let end = rest.iter().rposition(|byte| !is_closing(byte)).map_or(rest.len(), |last| last + 1);
    let head = &token[..start];
    let is_pure = !head.iter().any(u8::is_ascii_alphanumeric);
    numbers(head, out);
    out.extend_from_slice(b"<path>");
    out.extend_from_slice(&rest[end..]);
    Some(is_pure)
}

/// Each run of digits, with the signs that stand between two of them, becomes `<num>`.
fn numbers(token: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_pure = true;
    let mut at = 0;
    while at < token.len() {
        let byte = token[at];
        if !is(byte, DIGIT) {
            is_pure &= !byte.is_ascii_alphanumeric() && byte.is_ascii();
            out.push(byte);
            at += 1;
            continue;
        }
        while at < token.len()
            && (is(token[at], DIGIT)
                || (matches!(token[at], b'.' | b',' | b':')
                    && token.get(at + 1).is_some_and(|next| is(*next, DIGIT))))
        {
            at += 1;
        }
        out.extend_from_slice(b"<num>");
    }
    is_pure
}
