//! Commands to go on with: what this agent can do about the incident, and where the host says more.

use sentinel_contract::Incident;
use sentinel_contract::incident::State;

use super::sentence::{Lead, first_change};
use super::words::{local, subject};

/// The commands, as they may be pasted into a shell.
pub(super) fn commands(
    incident: &Incident,
    lead: Option<&Lead<'_>>,
    interval_ms: i64,
) -> Vec<String> {
    let key = quoted(&incident.key);
    let mut all = vec![format!("sentinelops explain {key}")];
    match incident.state {
        State::Resolved | State::Expired => (),
        State::Accepted => all.push("sentinelops undo".to_owned()),
        _ => {
            let detector = quoted(&incident.detector);
            all.push(format!("sentinelops accept {key}"));
            all.push(format!("sentinelops maintenance start --for 1h --detector {detector}"));
        }
    }
    let since = quoted(&local(incident.started_ms - interval_ms, "%Y-%m-%d %H:%M:%S"));
    let of_change = first_change(incident).and_then(|change| unit(&change.text));
    let of_part = incident.breakdown.iter().find(|part| part.dimension == "unit");
    if let Some(unit) = of_part.and_then(|part| unit(&part.value)).or(of_change) {
        all.push(format!("journalctl -u {} --since {since}", quoted(unit)));
    }
    let Some(lead) = lead else { return all };
    let more: &[&str] = match (subject(&lead.signal.name).as_str(), lead.signal.name.as_str()) {
        (_, "inodes_used") => &["df -i"],
        (_, "disk_used") => &["df -h", "du -xh --max-depth=2 / | sort -h | tail -n 20"],
        ("disk", _) => &["ps -eo state,pid,wchan:20,cmd | grep '^D'", "df -h"],
        ("cpu", _) => &["ps -eo pid,%cpu,etime,cmd --sort=-%cpu | head -n 15"],
        ("memory", _) => &["ps -eo pid,%mem,rss,cmd --sort=-%mem | head -n 15", "free -h"],
        ("net", _) => &["ss -s", "ss -tanp | head -n 50"],
        ("processes", _) => &[
            "ps -eo stat,ppid,pid,cmd | grep '^Z'",
            "ps -eo pid,lstart,cmd --sort=-start_time | head -n 20",
        ],
        ("errors" | "latency", _) => &[""],
        _ => &[],
    };
    for one in more {
        let one = if one.is_empty() {
            format!("journalctl -p warning --since {since}")
        } else {
            (*one).to_owned()
        };
        all.push(one);
    }
    all
}

/// The unit that a sentence begins with.
fn unit(text: &str) -> Option<&str> {
    let first = text.split(' ').next()?;
    let kinds = [".service", ".timer", ".socket", ".mount", ".slice", ".scope", ".target"];
    kinds.iter().any(|kind| first.ends_with(kind)).then_some(first)
}

/// For a shell: what is not plainly a word is put into quotes.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.:@,=+-".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
