//! Goldens: a line of each format, as its program writes it, and the fields it has.

use super::{apply, one, parse, shown};

pub(super) const LINES: [(&str, &str); 16] = [
    (
        "combined",
        r#"203.0.113.9 - ada [10/Mar/2026:11:59:58 +0330] "GET /a?b=c HTTP/1.1" 200 4582 "https://x.test/" "Mozilla/5.0 (X11; \"quoted\")""#,
    ),
    (
        "combined",
        r#"2001:db8::1 - - [10/Mar/2026:11:59:58 +0000] "GET / HTTP/1.1" 304 - "-" "-" 0.004 0.003"#,
    ),
    (
        "combined",
        r#"203.0.113.9 - - [10/Mar/2026:11:59:58 +0000] "\x16\x03\x01\x00" 400 166 "-" "-""#,
    ),
    (
        "combined",
        r#"203.0.113.9 - - [10/Mar/2026:11:59:58 +0000] "-" 408 0 "-" "curl/8" "198.51.100.7, 10.0.0.1" 1.500"#,
    ),
    (
        "common",
        r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
    ),
    (
        "nginx_error",
        r#"2026/03/10 09:03:01 [error] 10025#10026: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 203.0.113.9, server: x.test, request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:3000/", host: "x.test""#,
    ),
    ("nginx_error", "2026/03/10 09:03:01 [notice] 1#1: signal process started"),
    (
        "apache_error",
        "[Tue Mar 10 10:42:29.902022 2026] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:53432] AH00128: File does not exist: /x",
    ),
    (
        "apache_error",
        "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration: /x",
    ),
    ("syslog", "<34>1 2026-03-10T11:14:15.003Z web.test su - ID47 - 'su root' failed"),
    (
        "syslog",
        r#"<165>1 2026-03-10T11:14:15.000003-07:00 192.0.2.1 myproc 8710 - [a@32473 iut="3" who="A \"B\" \]"][b x="y"] It works"#,
    ),
    ("syslog", "<34>Mar  9 22:14:15 web su[230]: 'su root' failed for lonvick"),
    ("syslog", "Mar 10 06:39:00 ip-10-0-0-1 CRON[1234]: pam_unix(cron:session): session opened"),
    ("syslog", "2026-03-10T06:39:00.123456+00:00 web systemd[1]: Started it."),
    ("cri", "2026-03-10T00:17:09.669794202Z stdout F The content of the log entry 1"),
    (
        "json",
        r#"{"time":"2026-03-10T11:00:00Z","level":"info","http":{"status":200,"tags":["a",1]},"id":12345678901234567890,"ok":true,"none":null,"msg":"a\nb"}"#,
    ),
];

fn golden(line: usize) -> String {
    let (format, text) = LINES[line];
    shown(&one(&format!("format = \"{format}\"\ntimezone = \"UTC\""), text))
}

#[test]
fn combined_with_escaped_quotes_and_a_zone() {
    let wanted = r#"remote_addr=203.0.113.9 | remote_user=ada | method=GET | path=/a?b=c | protocol=HTTP/1.1 | status=200 | body_bytes_sent=4582 | http_referer=https://x.test/ | http_user_agent=Mozilla/5.0 (X11; \"quoted\")"#;
    assert_eq!(golden(0), wanted);
}

#[test]
fn combined_with_dashes_and_two_times_behind() {
    let wanted = "remote_addr=2001:db8::1 | method=GET | path=/ | protocol=HTTP/1.1 | status=304 | body_bytes_sent=0 | http_user_agent=- | request_time=0.004 | upstream_response_time=0.003";
    assert_eq!(golden(1), wanted);
}

#[test]
fn a_request_line_that_is_none_is_kept_without_a_method() {
    assert_eq!(
        golden(2),
        r"remote_addr=203.0.113.9 | request=\x16\x03\x01\x00 | status=400 | body_bytes_sent=166 | http_user_agent=-"
    );
    assert_eq!(
        golden(3),
        "remote_addr=203.0.113.9 | status=408 | body_bytes_sent=0 | http_user_agent=curl/8 | http_x_forwarded_for=198.51.100.7, 10.0.0.1 | request_time=1.5"
    );
}

#[test]
fn a_line_that_was_cut_in_its_user_agent_is_still_a_request() {
    let line = r#"1.2.3.4 - - [10/Mar/2026:11:59:58 +0000] "GET /a HTTP/1.1" 200 1 "-" "Mozilla/5.0 (comp"#;
    assert!(
        shown(&one("format = \"combined\"", line)).ends_with("http_user_agent=Mozilla/5.0 (comp")
    );
    let line = &line[..line.len() - 21];
    assert!(
        shown(&one("format = \"combined\"", line)).ends_with("body_bytes_sent=1 | http_referer="),
        "{line}"
    );
}

#[test]
fn a_user_with_brackets_and_spaces_is_a_user() {
    let line = r#"1.2.3.4 - ';echo '[S]';cd /tmp; [E]' [10/Mar/2026:11:59:58 +0000] "GET /a HTTP/1.1" 200 1 "-" "x""#;
    let log = one("format = \"combined\"", line);
    assert_eq!(log.text("remote_user"), Some(&b"';echo '[S]';cd /tmp; [E]'"[..]));
    assert_eq!(log.text("path"), Some(&b"/a"[..]));
}

#[test]
fn named_times_behind_a_combined_line() {
    let line = r#"1.2.3.4 - - [10/Mar/2026:11:59:58 +0000] "GET / HTTP/1.1" 200 1 "-" "x" rt=0.250 uct="0.001" urt="0.240" cs=HIT"#;
    let log = one("format = \"combined\"", line);
    assert_eq!(
        (log.number("request_time"), log.number("upstream_response_time")),
        (Some(0.25), Some(0.24))
    );
}

#[test]
fn common_without_referer() {
    let wanted = "remote_addr=127.0.0.1 | remote_user=frank | method=GET | path=/apache_pb.gif | protocol=HTTP/1.0 | status=200 | body_bytes_sent=2326";
    assert_eq!(golden(4), wanted);
}

#[test]
fn error_logs_of_nginx() {
    let wanted = "level=error | pid=10025 | tid=10026 | connection=3 | message=connect() failed (111: Connection refused) while connecting to upstream | client=203.0.113.9 | server=x.test | request=GET / HTTP/1.1 | upstream=http://127.0.0.1:3000/ | host=x.test";
    assert_eq!(golden(5), wanted);
    assert_eq!(golden(6), "level=notice | pid=1 | tid=1 | message=signal process started");
    let log = one("format = \"nginx_error\"\ntimezone = \"UTC\"", LINES[6].1);
    assert_eq!(log.stream.get("level"), Some("info"));
}

#[test]
fn error_logs_of_apache() {
    let wanted = "module=core | level=error | pid=35708 | tid=4328636416 | client=72.15.99.187:53432 | message=AH00128: File does not exist: /x";
    assert_eq!(golden(7), wanted);
    assert_eq!(
        golden(8),
        "level=error | client=127.0.0.1 | message=client denied by server configuration: /x"
    );
    let log = one("format = \"apache_error\"\ntimezone = \"UTC\"", LINES[7].1);
    assert_eq!(log.time_ns / 1000 % 1_000_000, 902_022);
    assert_eq!(log.stream.get("level"), Some("error"));
}

#[test]
fn syslog_of_both_rfcs_and_of_files() {
    assert_eq!(
        golden(9),
        "facility=4 | severity=2 | hostname=web.test | appname=su | msgid=ID47 | message='su root' failed"
    );
    let wanted = r#"facility=20 | severity=5 | hostname=192.0.2.1 | appname=myproc | procid=8710 | a@32473.iut=3 | a@32473.who='A "B" ]' | b.x=y | message=It works"#;
    assert_eq!(golden(10), wanted);
    assert_eq!(
        golden(11),
        "facility=4 | severity=2 | hostname=web | appname=su | procid=230 | message='su root' failed for lonvick"
    );
    assert_eq!(
        golden(12),
        "hostname=ip-10-0-0-1 | appname=CRON | procid=1234 | message=pam_unix(cron:session): session opened"
    );
    assert_eq!(golden(13), "hostname=web | appname=systemd | procid=1 | message=Started it.");
    assert_eq!(one("format = \"syslog\"", LINES[9].1).stream.get("level"), Some("fatal"));
}

#[test]
fn json_nested_escaped_and_with_a_number_too_large_for_a_float() {
    let wanted = "time=2026-03-10T11:00:00Z | level=info | http_status=200 | http_tags='[\"a\",1]' | id='12345678901234567890' | ok='true' | msg='a\nb'";
    assert_eq!(golden(15), wanted);
}

#[test]
fn logfmt_with_quotes_and_bare_words() {
    let log =
        one("format = \"logfmt\"", r#"at=info started msg="a \"b\"" path=/x?y=z empty= took=3ms"#);
    assert_eq!(shown(&log), "at=info | msg='a \"b\"' | path=/x?y=z | empty= | took=3ms");
    assert_eq!(shown(&one("format = \"logfmt\"", "a=1 msg=\"cut off")), "none");
}

#[test]
fn regex_and_grok_name_their_parts() {
    let log = one(
        "format = \"regex\"\npattern = '^(?<verb>\\w+) (?<n>\\d+)(?: (?<rest>.*))?$'",
        "took 12",
    );
    assert_eq!(shown(&log), "verb=took | n=12");
    let text = r#"
        format = "grok"
        pattern = "%{TIMESTAMP_ISO8601:time} \\[%{ORDER:order}\\] %{LOGLEVEL:level} %{IP:ip} took %{NUMBER:ms:float}ms"
        patterns = { ORDER = "[A-Z]{2}-%{INT}" }"#;
    let log = one(text, "2026-03-10 11:00:00,123 [AB-7] WARN 2001:db8::1 took 1.5ms");
    assert_eq!(
        shown(&log),
        "time=2026-03-10 11:00:00,123 | order=AB-7 | level=WARN | ip=2001:db8::1 | ms=1.5"
    );
    assert_eq!(log.stream.get("level"), Some("warn"));
}

#[test]
fn every_usual_grok_name_compiles_and_they_are_in_order() {
    let names: Vec<&str> = crate::parse::grok::PATTERNS.iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted());
    for name in names {
        parse(&format!("format = \"grok\"\npattern = \"%{{{name}:it}}\""));
    }
    let line =
        r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 "-" "x""#;
    let log = one("format = \"grok\"\npattern = \"%{COMBINEDAPACHELOG}\"", line);
    assert_eq!(log.number("status"), Some(200.0));
    assert_eq!(log.text("path"), Some(&b"/"[..]));
}

#[test]
fn cri_gives_the_message_as_body_and_joins_partial_lines_of_each_stream() {
    let part = |stream: &str, tag: &str, text: &str| {
        format!("2026-03-10T11:00:00.000000001Z {stream} {tag} {text}")
    };
    let lines = [
        part("stdout", "P", "one "),
        part("stderr", "F", "between"),
        part("stdout", "P", "two "),
        part("stdout", "F", "three"),
        part("stdout", "F", ""),
    ];
    let (logs, counters) =
        apply(&mut parse("format = \"cri\""), &lines.each_ref().map(String::as_str));
    let bodies: Vec<&[u8]> = logs.iter().map(|log| &log.body[..]).collect();
    assert_eq!(bodies, [&b"one two three"[..], b"between", b""]);
    assert_eq!(shown(&logs[1]), "stream='stderr'");
    assert_eq!(counters.counts()["joined"], 2);
}

#[test]
fn a_partial_line_at_the_end_of_a_batch_is_passed_on_not_kept_back() {
    let lines = ["2026-03-10T11:00:00Z stdout P a", "2026-03-10T11:00:00Z stdout P b"];
    let (logs, counters) = apply(&mut parse("format = \"cri\""), &lines);
    assert_eq!(logs.len(), 1);
    assert_eq!(&logs[0].body[..], b"ab");
    assert_eq!(shown(&logs[0]), "stream='stdout' | logtag='P'");
    assert_eq!(counters.counts()["partial"], 1);
}

#[test]
fn a_cri_line_that_never_ends_is_cut_and_none_of_it_is_lost() {
    let line = format!("2026-03-10T11:00:00Z stdout P {}", "x".repeat(100 * 1024));
    let (logs, _) = apply(&mut parse("format = \"cri\""), &[&line, &line, &line, &line, &line]);
    assert!(logs.iter().all(|log| log.body.len() <= 256 * 1024));
    assert_eq!(logs.iter().map(|log| log.body.len()).sum::<usize>(), 500 * 1024);
}
