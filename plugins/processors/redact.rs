//! Takes out of a line what must not be shown: numbers, addresses, e-mails, and what looks like a secret.
//!
//! A secret is what follows a telling name (`password=`, `token:`, `Bearer `), what stands before the `@` of a URL, and
//! any run of 20 letters and digits or more that has both, or both cases. This is a guess that errs on the side of
//! taking out too much; names of people and of hosts stay.

/// Names whose value is a secret; also as the end of a longer name (`db_password`, `x-api-key`).
const NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "credential",
    "authorization",
    "cookie",
];
/// Words after which the next word is a secret.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
const SECRET: &str = "<secret>";
/// A run this long that mixes classes is nobody's word.
const LONG: usize = 20;

/// What is done with digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Hide,
    /// In a template every number is masked already, but the status of a request, which is to be seen.
    Keep,
}

/// A line without them, about `max` bytes of it.
pub(crate) fn line(line: &[u8], max: usize) -> String {
    redact(line, max, Digits::Hide, b"")
}

/// A line without them, about `max` bytes of it; a word that is `word` stays, though it has digits (the status of a request).
pub(crate) fn keeping(line: &[u8], max: usize, word: &[u8]) -> String {
    redact(line, max, Digits::Hide, word)
}

/// A template without them, about `max` bytes of it.
pub(crate) fn template(template: &str, max: usize) -> String {
    redact(template.as_bytes(), max, Digits::Keep, b"")
}

fn redact(line: &[u8], max: usize, digits: Digits, kept: &[u8]) -> String {
    // More is read than shown, so that no secret is cut to what does not look like one.
    let mut line = String::from_utf8_lossy(&line[..line.len().min(2 * max)]).into_owned();
    line.retain(|letter| !letter.is_control() || letter == '\t');
    let mut out = String::with_capacity(line.len());
    let mut next_is_secret = false;
    for (at, word) in line.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        if next_is_secret && !bare.is_empty() {
            let is_scheme = SCHEMES.iter().any(|scheme| bare.eq_ignore_ascii_case(scheme));
            out.push_str(if is_scheme { word } else { SECRET });
            next_is_secret = is_scheme;
            continue;
        }
        if is_address(word) {
            out.push_str("<ip>");
            continue;
        }
        if !word.is_empty() && word.as_bytes() == kept {
            out.push_str(word);
            continue;
        }
        let is_announced = word_into(word, digits, &mut out);
        next_is_secret = is_announced || (next_is_secret && bare.is_empty());
    }
    let end = (0..=max.min(out.len())).rev().find(|at| out.is_char_boundary(*at));
    out.truncate(end.unwrap_or(0));
    out
}

/// One word; true when what follows it is a secret.
fn word_into(word: &str, digits: Digits, out: &mut String) -> bool {
    let signs = |letter: char| {
        matches!(
            letter,
            '=' | ':' | '&' | ';' | ',' | '?' | '"' | '\'' | '{' | '}' | '(' | ')' | '[' | ']'
        )
    };
    let word = match word.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.split('/').next().unwrap_or(rest);
        let at = authority.rfind('@')?;
        Some((scheme, &rest[at..]))
    }) {
        Some((scheme, rest)) => {
            out.push_str(scheme);
            out.push_str("://");
            out.push_str(SECRET);
            rest
        }
        None => word,
    };
    let mut rest = word;
    let mut hides = false;
    while let Some(first) = rest.chars().next() {
        if signs(first) {
            hides = hides && !matches!(first, '&' | ';' | ',');
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(signs).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        if hides {
            out.push_str(SECRET);
            hides = false;
        } else {
            part_into(part, digits, out);
            let is_value_next = after.starts_with(['=', ':'])
                || after.starts_with("\":")
                || after.starts_with("':");
            hides = (names_secret(part) && is_value_next)
                || SCHEMES.iter().any(|it| part.eq_ignore_ascii_case(it));
        }
        rest = after;
    }
    hides
}

/// `password`, `db_password`, `x-api-key`, `dbPassword`; not `chpasswd`.
fn names_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    NAMES.iter().any(|secret| {
        let start = name.len().wrapping_sub(secret.len());
        lower.ends_with(secret)
            && (start == 0
                || !name.as_bytes()[start - 1].is_ascii_lowercase()
                || name.as_bytes()[start].is_ascii_uppercase())
    })
}

/// A part of a word without signs.
fn part_into(part: &str, digits: Digits, out: &mut String) {
    if part.starts_with('<') && part.ends_with('>') {
        out.push_str(part); // a mask already
        return;
    }
    if is_email(part) {
        out.push_str("<email>");
        return;
    }
    if is_ip(part) {
        out.push_str("<ip>");
        return;
    }
    for run in part.split_inclusive(|letter: char| !is_run(letter)) {
        let body = run.trim_end_matches(|letter: char| !is_run(letter));
        if is_long_mix(body) || (body.len() > 10 && body.starts_with("eyJ")) {
            out.push_str(SECRET);
        } else if digits == Digits::Keep {
            out.push_str(body);
        } else {
            digits_into(body, out);
        }
        out.push_str(&run[body.len()..]);
    }
}

fn is_run(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '+' | '_' | '-')
}

fn is_long_mix(run: &str) -> bool {
    let has = |class: fn(&u8) -> bool| run.bytes().any(|byte| class(&byte));
    let has_digit = has(u8::is_ascii_digit);
    let has_both = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let letters = run.bytes().filter(u8::is_ascii_alphanumeric).count();
    // CamelCaseNamesAreLong too: without a digit only what changes case like noise.
    let changes = run
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0].is_ascii_lowercase() != pair[1].is_ascii_lowercase());
    let has_letter = has(u8::is_ascii_alphabetic);
    letters >= LONG && ((has_digit && has_letter) || (has_both && changes.count() * 3 > letters))
}

fn is_email(part: &str) -> bool {
    let Some((name, host)) = part.split_once('@') else { return false };
    !name.is_empty()
        && host.split('.').count() >= 2
        && host.chars().all(|it| it.is_ascii_alphanumeric() || ".-".contains(it))
}

/// An address of version 6, which the signs would tear apart.
fn is_address(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| {
        matches!(letter, '(' | ')' | ',' | ';' | '"' | '\'' | '.' | '=')
    });
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    word.parse::<std::net::SocketAddrV6>().is_ok() || bare.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_ip(part: &str) -> bool {
    part.split('/').next().is_some_and(|address| address.parse::<std::net::Ipv4Addr>().is_ok())
}

fn digits_into(run: &str, out: &mut String) {
    let mut was_digit = false;
    for letter in run.chars() {
        let is_digit = letter.is_ascii_digit();
        if !is_digit {
            out.push(letter);
        } else if !was_digit {
            out.push('#');
        }
        was_digit = is_digit;
    }
}
