//! Numbers, names and times as an incident's sentence has them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// 5,480.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs().round());
    let mut text = if value <= -0.5 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A signal's name for a sentence: "error rate".
pub(super) fn plain(name: &str) -> String {
    name.replace('_', " ")
}

/// What a signal is about, in one word: signals of one subject are named together.
pub(super) fn subject(name: &str) -> String {
    let word = match name {
        "cpu_iowait" | "io_util" | "io_pressure" | "inodes_used" | "blocked" => "disk",
        "load_per_cpu" | "running" | "context_switches" => "cpu",
        "mem_used" | "swap_used" | "memory_pressure" => "memory",
        "zombies" | "forks" => "processes",
        "requests" | "sessions" | "clients" | "bytes" | "requests_per_session" | "lines" => {
            "traffic"
        }
        "errors" | "error_rate" | "client_errors" | "error_lines" | "error_share" => "errors",
        _ if name.starts_with("cpu_") => "cpu",
        _ if name.starts_with("disk_") => "disk",
        _ if name.starts_with("net_") || name.starts_with("tcp_") => "net",
        _ if name.starts_with("latency_") => "latency",
        other => return plain(other),
    };
    word.to_owned()
}

/// "a, b and c".
pub(super) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The hour in the host's zone, with the day when it is not that of `now_ms`.
pub(super) fn hour(time_ms: i64, now_ms: i64) -> String {
    let day = local(now_ms, "%Y-%m-%d");
    local(time_ms, if local(time_ms, "%Y-%m-%d") == day { "%H:%M" } else { "%b %-d %H:%M" })
}

/// A time in the host's zone.
pub(super) fn local(time_ms: i64, format: &str) -> String {
    let shown = Timestamp::from_millisecond(time_ms)
        .map(|time| time.to_zoned(TimeZone::system()).strftime(format).to_string());
    shown.unwrap_or_else(|_| format!("{time_ms} ms"))
}

/// "40 s", "12 min", "3 h 20 min", "2 d 4 h".
pub(super) fn length(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let two = |large, unit, small, part| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// How long a frame is, behind a count: "a minute", "in 10 s".
pub(super) fn per_frame(interval_ms: i64) -> String {
    match interval_ms {
        1000 => "a second".to_owned(),
        60_000 => "a minute".to_owned(),
        3_600_000 => "an hour".to_owned(),
        other => format!("in {}", length(other)),
    }
}
