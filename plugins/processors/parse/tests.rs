//! What parse promises: each format on lines as programs write them, times, levels, and that nothing is lost or panics.

mod formats;
mod times;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Events, Labels, Log, Plugin, Transform, Value};

use super::{Config, Format, Parse};

/// 2026-03-10T12:00:00Z, when the lines of these tests are read.
const READ_NS: i64 = 1_773_144_000 * 1_000_000_000;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

fn parse(text: &str) -> Parse {
    match Parse::new(&config(text)) {
        Ok(parse) => parse,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn log(stream: &Arc<Labels>, body: &[u8]) -> Log {
    Log {
        stream: Arc::clone(stream),
        time_ns: READ_NS,
        body: Bytes::copy_from_slice(body),
        fields: None,
    }
}

fn stream() -> Arc<Labels> {
    Arc::new(Labels::new([("job", "test")]))
}

fn apply(parse: &mut Parse, bodies: &[&str]) -> (Vec<Log>, Counters) {
    let stream = stream();
    let counters = Counters::default();
    let mut events =
        Events::Logs(bodies.iter().map(|body| log(&stream, body.as_bytes())).collect());
    parse.apply(&mut events, &counters);
    let Events::Logs(logs) = events else { unreachable!() };
    (logs, counters)
}

fn one(text: &str, body: &str) -> Log {
    apply(&mut parse(text), &[body]).0.remove(0)
}

/// The fields as `name=value`, joined by a bar.
fn shown(log: &Log) -> String {
    let Some(fields) = &log.fields else { return "none".to_owned() };
    let shown = fields.0.iter().map(|field| {
        let value = match &field.value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => format!("'{text}'"),
            Value::Slice(start, end) => {
                String::from_utf8_lossy(&log.body[*start as usize..*end as usize]).into_owned()
            }
        };
        format!("{}={value}", field.name.as_str())
    });
    shown.collect::<Vec<_>>().join(" | ")
}

const FORMATS: [&str; 10] = [
    "json",
    "logfmt",
    "regex",
    "grok",
    "combined",
    "common",
    "nginx_error",
    "apache_error",
    "syslog",
    "cri",
];

fn any_format(format: &str) -> Parse {
    let pattern = match format {
        "regex" => r#"pattern = "(?<a>[a-z]+) (?<level>[a-z]+)""#,
        "grok" => r#"pattern = "%{TIMESTAMP_ISO8601:t} %{LOGLEVEL:level} %{GREEDYDATA:m:int}""#,
        _ => "",
    };
    parse(&format!("format = \"{format}\"\ntimezone = \"UTC\"\n{pattern}"))
}

#[test]
fn a_line_of_another_format_is_kept_as_it_is_and_counted() {
    for format in FORMATS {
        let (logs, counters) =
            apply(&mut any_format(format), &["", "!!", "{\"a\":", "\u{fffd}\u{0}"]);
        assert_eq!(logs.len(), 4, "{format}");
        assert_eq!(counters.counts()["unparsed"], 4, "{format}");
        assert_eq!(&logs[2].body[..], b"{\"a\":");
        assert!(logs.iter().all(|log| log.fields.is_none() && log.time_ns == READ_NS));
        assert!(counters.drops().is_empty());
    }
}

#[test]
fn identical_lines_of_one_second_stay_apart_and_in_order() {
    let line = r#"1.2.3.4 - - [10/Mar/2026:11:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x""#;
    let later = line.replace("11:00:00", "11:00:01");
    let mut parse = parse("format = \"combined\"");
    let (logs, _) = apply(&mut parse, &[line, line, &later, line, line, &later]);
    let second = READ_NS - 3600 * 1_000_000_000;
    let of = |at: &[usize]| at.iter().map(|at| logs[*at].time_ns).collect::<Vec<_>>();
    let (first, next) = (of(&[0, 1, 3, 4]), of(&[2, 5]));
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "{first:?}");
    assert!(first.iter().all(|time| (second..second + 1_000_000_000).contains(time)));
    assert!(next[0] < next[1] && next[0] >= second + 1_000_000_000);
}

#[test]
fn the_count_within_a_second_goes_on_in_the_next_batch() {
    let line = r#"1.2.3.4 - - [10/Mar/2026:11:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x""#;
    let mut parse = parse("format = \"combined\"");
    let stream = stream();
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut events =
            Events::Logs(vec![log(&stream, line.as_bytes()), log(&stream, line.as_bytes())]);
        parse.apply(&mut events, &Counters::default());
        let Events::Logs(logs) = events else { unreachable!() };
        times.extend(logs.iter().map(|log| log.time_ns));
    }
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_time_out_of_range_leaves_the_time_of_reading() {
    let line = |year| {
        format!(r#"1.2.3.4 - - [10/Mar/{year}:11:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x""#)
    };
    let (logs, counters) =
        apply(&mut parse("format = \"combined\""), &[&line(1970), &line(2027), &line(1991)]);
    assert_eq!(logs[0].time_ns, READ_NS);
    assert_eq!(logs[1].time_ns, READ_NS);
    assert_ne!(logs[2].time_ns, READ_NS);
    assert_eq!(counters.counts()["timestamp_out_of_range"], 2);
    assert!(logs[0].fields.is_some(), "the rest of the line is right");
}

#[test]
fn a_level_becomes_a_label_of_few_values_built_once_a_stream() {
    let mut parse = parse("format = \"json\"");
    let lines = [
        r#"{"level":"WARNING"}"#,
        r#"{"severity":"warn"}"#,
        r#"{"level":50}"#,
        r#"{"level":"ada"}"#,
    ];
    let (logs, _) = apply(&mut parse, &lines);
    let level = |at: usize| logs[at].stream.get("level");
    assert_eq!(
        [level(0), level(1), level(2), level(3)],
        [Some("warn"), Some("warn"), Some("error"), None]
    );
    assert!(Arc::ptr_eq(&logs[0].stream, &logs[1].stream));
    assert_eq!(logs[0].stream.get("job"), Some("test"));
}

#[test]
fn an_empty_level_label_leaves_the_stream_alone() {
    let log = one("format = \"json\"\nlevel_label = \"\"", r#"{"level":"error"}"#);
    assert_eq!(log.stream.get("level"), None);
}

#[test]
fn a_second_parser_puts_its_findings_before_the_first() {
    let (mut cri, mut json) = (parse("format = \"cri\""), parse("format = \"json\""));
    let (logs, counters) =
        apply(&mut cri, &[r#"2026-03-10T11:59:59.5Z stderr F {"stream":"mine","a":1}"#]);
    let mut events = Events::Logs(logs);
    json.apply(&mut events, &counters);
    let Events::Logs(logs) = events else { unreachable!() };
    assert_eq!(shown(&logs[0]), "stream=mine | a=1 | stream='stderr'");
    assert_eq!(logs[0].text("stream"), Some(&b"mine"[..]));
}

#[test]
fn body_from_makes_a_field_the_line_and_keeps_the_others() {
    let text = "format = \"json\"\nbody_from = \"msg\"";
    let log = one(text, r#"{"user":"ada","msg":"it \"works\"","n":1}"#);
    assert_eq!(&log.body[..], b"it \"works\"");
    assert_eq!(shown(&log), "user='ada' | n=1");
    let log = one(
        "format = \"syslog\"\nbody_from = \"message\"",
        "Mar 10 11:00:00 web sshd[12]: it works",
    );
    assert_eq!(&log.body[..], b"it works");
    assert_eq!(shown(&log), "hostname='web' | appname='sshd' | procid='12'");
}

#[test]
fn every_wrong_option_is_named() {
    let errors = |text: &str| {
        let errors = Parse::new(&config(text)).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(errors("").starts_with("format: must be given"));
    let many =
        errors("format = \"grok\"\ntimezone = \"Mars/Crater\"\ntimestamp_format = \"sometime\"");
    for option in ["timezone: ", "timestamp_format: must be", "pattern: must be given"] {
        assert!(many.contains(option), "{many}");
    }
    assert!(errors("format = \"json\"\npattern = \"x\"").contains("pattern: is for"));
    assert!(errors("format = \"regex\"\npattern = \"(?<a\"").contains("does not compile"));
    assert!(errors("format = \"regex\"\npattern = \"(a)\"").contains("names no field"));
    assert!(errors("format = \"grok\"\npattern = \"%{NONE:a}\"").contains("%{NONE}"));
    let own = "format = \"grok\"\npattern = \"%{A:a}\"\npatterns = { A = \"%{A}\" }";
    assert!(errors(own).contains("contains itself"), "{}", errors(own));
    assert!(errors("format = \"json\"\ntimestamp_format = \"%Q!%\"").contains("timestamp_format"));
}

#[test]
fn the_sample_is_the_configuration() {
    crate::samples::check::<Parse>();
    assert_eq!(crate::samples::config::<Parse>(Parse::SAMPLE).format, Some(Format::Combined));
}

proptest! {
    #[test]
    fn no_bytes_panic_any_format(bytes in proptest::collection::vec(any::<u8>(), 0..200), format in 0..FORMATS.len()) {
        let stream = stream();
        let mut events = Events::Logs(vec![log(&stream, &bytes)]);
        any_format(FORMATS[format]).apply(&mut events, &Counters::default());
        prop_assert_eq!(events.len(), 1);
    }

    /// Real lines, cut and with bytes changed: closer to the parsers' inner corners than random bytes.
    #[test]
    fn no_damaged_line_panics_its_format(
        line in 0..formats::LINES.len(),
        cut in 0_usize..300,
        changes in proptest::collection::vec((0_usize..300, any::<u8>()), 0..4),
    ) {
        let (format, text) = formats::LINES[line];
        let mut bytes = text.as_bytes().to_vec();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes.truncate(cut);
        let stream = stream();
        let mut events = Events::Logs(vec![log(&stream, &bytes)]);
        let mut parse = any_format(format);
        parse.apply(&mut events, &Counters::default());
        let Events::Logs(logs) = events else { unreachable!() };
        for log in &logs {
            shown(log); // every slice lies within its line
        }
        if format != "cri" {
            prop_assert_eq!(&logs[0].body[..], &bytes[..]);
        }
    }

    #[test]
    fn what_goes_into_a_combined_line_comes_out(
        (address, user) in ("[0-9a-f:.]{3,20}", "[a-z]{1,8}|-"),
        path in "/[!#-~&&[^\\\\]]{0,40}",
        (status, bytes) in (100_u32..600, 0_u64..10_000_000_000),
        (referer, agent) in ("[ !#-~&&[^\\\\]]{0,30}", r#"([ !#-~&&[^\\]]|\\"|\\\\){0,30}"#),
        time in proptest::option::of(0_u32..100_000),
        second in 631_152_000_i64..1_773_144_000,
    ) {
        let stamp = jiff::Timestamp::from_second(second).unwrap();
        let stamp = stamp.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(-3))).strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        let end = time.map_or(String::new(), |ms| format!(" {}.{:03}", ms / 1000, ms % 1000));
        let line = format!(r#"{address} - {user} [{stamp}] "PUT {path} HTTP/2.0" {status} {bytes} "{referer}" "{agent}"{end}"#);
        let log = one("format = \"combined\"", &line);
        let text = |name: &str| log.text(name).map(|text| String::from_utf8_lossy(text).into_owned());
        prop_assert_eq!(text("remote_addr"), Some(address));
        prop_assert_eq!(text("remote_user"), Some(user).filter(|user| user != "-"));
        prop_assert_eq!(log.text("method"), Some(&b"PUT"[..]));
        prop_assert_eq!(text("path"), Some(path));
        prop_assert_eq!(log.text("protocol"), Some(&b"HTTP/2.0"[..]));
        prop_assert_eq!(log.number("status"), Some(f64::from(status)));
        prop_assert_eq!(log.number("body_bytes_sent"), Some(bytes as f64));
        prop_assert_eq!(text("http_referer"), Some(referer).filter(|referer| referer != "-"));
        prop_assert_eq!(text("http_user_agent"), Some(agent));
        let seconds = time.map(|ms| f64::from(ms) / 1000.0);
        let agree = match (log.number("request_time"), seconds) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        prop_assert!(agree);
        prop_assert_eq!(log.time_ns.div_euclid(1_000_000_000), second);
        let fields = &log.fields.as_ref().unwrap().0;
        prop_assert_eq!(fields.capacity(), fields.len(), "the fields take no more than they need");
    }
}
