//! How a line is read: its masks, its severity, and what is taken out before it is shown.

use super::super::level::Level;
use super::super::text::Line;
use crate::redact;

fn read(line: &[u8]) -> (String, Level) {
    let mut it = Line::default();
    it.read(line, true);
    let tokens: Vec<_> =
        (0..it.tokens.len()).map(|at| String::from_utf8_lossy(it.token(at))).collect();
    (tokens.join(" "), it.level.unwrap_or_default())
}

#[test]
fn what_is_variable_is_masked() {
    for (line, wanted) in [
        ("took 17 ms", "took <num> ms"),
        ("took 1.5e3ms -3 1,234.5", "took <num>e<num>ms -<num> <num>"),
        ("from 10.1.2.3 port 22", "from <ip> port <num>"),
        ("from 10.1.2.3:8080, via [fe80::1]:80", "from <ip>, via [<ip>"),
        ("via fe80::1ff:fe23:4567:890a ok", "via <ip> ok"),
        ("id 123e4567-e89b-12d3-a456-426614174000 done", "id <uuid> done"),
        ("commit deadbeef12 0xFF", "commit <hex>"),
        ("session a8f3k2m9q1 opened", "session <id> opened"),
        ("open /var/lib/x.db failed", "open <path> failed"),
        ("get http://h:1/a?b=c now", "get http:<path> now"),
        ("mail to a.b+c@x.org.", "mail to <email>."),
        ("at 12:30:05.123 on 2026-01-31", "at <time> on <time>"),
        ("[31/Jan/2026:12:30:05 +0000] x", "[<time> +<num>] x"),
        ("user=bob tries=3", "user= bob tries= <num>"),
        ("request: \"GET / HTTP/1.1\", host: \"x\"", "request: <str>, host: <str>"),
        ("{\"msg\": \"it failed\"}", "{\"msg\": \"it failed\"}"),
        ("read/write of HTTP/1.1", "read/write of HTTP/<num>"),
        ("Partition [test,2] of sshd[17]:", "Partition [test,<num>] of sshd[<num>]:"),
        ("lists 1 2 3 4", "lists <num>"),
    ] {
        assert_eq!(read(line.as_bytes()).0, wanted, "{line}");
    }
}

#[test]
fn what_stands_before_the_message_is_not_mined() {
    for (line, wanted) in [
        ("[2016-12-19 21:39:56,888] INFO Deleting segment 1", "INFO Deleting segment <num>"),
        ("2026-01-31T12:30:05.123Z started", "started"),
        ("2026-01-31T12:30:05+01:00 web01 sshd[17]: Accepted", "sshd[<num>]: Accepted"),
        ("Apr 20 13:51:02 ip-10-77 sshd[3806]: Failed", "sshd[<num>]: Failed"),
        ("Apr  2 13:51:02 web01 sudo: x", "sudo: x"),
        ("2025/12/24 01:57:12 [error] 735#735: *9 x", "[error] <num>#<num>: *<num> x"),
        ("2026-01-31 is a date", "is a date"),
        ("17 is no time", "<num> is no time"),
        ("Apr 20 13:51:02 web01", ""),
    ] {
        assert_eq!(read(line.as_bytes()).0, wanted, "{line}");
    }
}

#[test]
fn the_severity_is_read_from_words_that_mean_it() {
    for (line, wanted) in [
        ("[2016-12-19 21:39:56,888] ERROR it broke", Level::Error),
        ("2025/12/24 01:57:12 [error] 7#7: x", Level::Error),
        ("Apr 20 13:51:02 h sshd[1]: error: maximum attempts", Level::Error),
        ("time=\"2026-01-31T12:30:05Z\" level=error msg=\"x\"", Level::Error),
        ("ts=1 level=warning msg=x", Level::Warning),
        ("E0131 12:30:05.1 1 main.go:3] x", Level::Error),
        ("java.io.IOException: broken pipe", Level::Error),
        ("ValueError: bad literal", Level::Error),
        ("WARN slow", Level::Warning),
        ("kernel: panic: not syncing", Level::Error),
        ("INFO no error found", Level::Normal),
        ("finished with error count 0", Level::Normal),
        ("one two three four five six seven eight ERROR", Level::Normal),
        ("", Level::Normal),
    ] {
        assert_eq!(read(line.as_bytes()).1, wanted, "{line}");
    }
}

#[test]
fn what_is_shown_has_no_numbers_addresses_or_secrets() {
    for (line, wanted) in [
        ("user 17 of 10.1.2.3 at a@b.org", "user # of <ip> at <email>"),
        ("password=hunter2&x=1", "password=<secret>&x=#"),
        ("DB_PASSWORD: hunter two", "DB_PASSWORD: <secret> two"),
        ("{\"api_key\":\"abc\",\"n\":1}", "{\"api_key\":\"<secret>\",\"n\":#}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer <secret>"),
        (
            "got AKIAIOSFODNN7EXAMPLEX and ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "got <secret> and <secret>",
        ),
        ("fetch https://bob:pw@host/x", "fetch https://<secret>@host/x"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.abc", "jwt <secret>.<secret>.abc"),
        ("from fe80::1ff:fe23 and [2001:db8::beef]:443", "from <ip> and <ip>"),
        ("Failed password for root", "Failed password for root"),
        (
            "org.apache.kafka.clients.ConsumerCoordinatorMetrics",
            "org.apache.kafka.clients.ConsumerCoordinatorMetrics",
        ),
        ("<num> of <*> on <path>", "<num> of <*> on <path>"),
        ("chpasswd:x dbPassword:y mytoken=z", "chpasswd:x dbPassword:<secret> mytoken=z"),
    ] {
        assert_eq!(redact::line(line.as_bytes(), 400), wanted, "{line}");
    }
    assert_eq!(redact::line(b"\xff\xfe x\x00\x1b[31m", 400), "\u{fffd}\u{fffd} x[#m");
    assert!(redact::line(&vec![b'7'; 1 << 20], 400).len() <= 400);
    assert_eq!(
        redact::template("request GET 502 token=abc", 400),
        "request GET 502 token=<secret>"
    );
    let cut = format!("{} password=hunter2", "x".repeat(385));
    assert!(!redact::line(cut.as_bytes(), 400).contains("hunter"));
}
