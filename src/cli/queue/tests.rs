//! That nothing of others speaks to the terminal.

use serde_json::{Value, json};

use super::{json, shown};

#[test]
fn bytes_of_others_are_shown_and_do_not_speak_to_the_terminal() {
    for (bytes, text) in [
        (&b"plain \"text\""[..], "plain \"text\""),
        (b"\x1b[31mred\x07\r\n", "\\u{1b}[31mred\\u{7}\\r\\n"),
        (b"a\x00\xff\xfe\tb", "a\\u{0}\\xff\\xfe\\tb"),
        ("caf\u{e9} \u{9b}2J \u{202e}x".as_bytes(), "caf\u{e9} \\u{9b}2J \\u{202e}x"),
        (b"\\x1b", "\\\\x1b"),
    ] {
        assert_eq!(shown(bytes, 100), text);
    }
    assert_eq!(shown(b"12345", 3), "123 ...");
    assert_eq!(shown(b"123", 3), "123");
}

#[test]
fn json_stays_the_same_value_and_has_no_control_characters() {
    let value = json!({ "line": "a\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}b\n", "n": [1, 2] });
    let text = json(&value);
    assert!(text.chars().all(|c| c == '\n' || !super::speaks(c)), "{text:?}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
}
