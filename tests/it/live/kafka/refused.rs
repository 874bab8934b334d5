//! Brokers that will not let us in, topics that are not there or not for us: what `status` and `check --online` say, and that
//! nothing is lost. TLS needs a binary with the feature `kafka-tls`, as packages have and `tests/run` builds.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::broker::Broker;
use crate::live::stack::{Agent, asked, until};

/// How soon a person must be told.
const SOON: Duration = Duration::from_secs(10);

/// How the agent speaks to the broker, and what must be said of it.
struct Case {
    name: &'static str,
    /// Which of the broker's listeners.
    listener: &'static str,
    options: String,
    topic: &'static str,
    /// Words of the input's note and the output's error.
    says: [&'static str; 2],
}

fn cases(broker: &Broker) -> Vec<Case> {
    let ca = broker.server.value("ca");
    let sasl = |user: &str, password: &str, ca: &str| {
        format!(
            "security = \"sasl_ssl\"\nsasl = {{ username = {user:?}, password = {password:?} }}\ntls = {{ ca_file = {ca:?} }}\n"
        )
    };
    let case = |name, listener, options, topic, says| Case { name, listener, options, topic, says };
    let system = "/etc/ssl/certs/ca-certificates.crt";
    vec![
        case(
            "wrong password",
            "sasl",
            sasl("agent", "wrong", ca),
            "logs",
            ["invalid credentials", "check sasl"],
        ),
        case(
            "wrong CA",
            "sasl",
            sasl("agent", "secret", system),
            "logs",
            ["invalid peer certificate: UnknownIssuer", "check sasl, tls"],
        ),
        case(
            "expired",
            "expired",
            format!("security = \"ssl\"\ntls = {{ ca_file = {ca:?} }}\n"),
            "logs",
            ["certificate expired", "tls"],
        ),
        case(
            "unknown topic",
            "sasl",
            sasl("agent", "secret", ca),
            "nowhere",
            ["nowhere", "Unknown topic"],
        ),
        case(
            "no permission",
            "sasl",
            sasl("guest", "guest", ca),
            "logs",
            ["uthorization failed", "allow this user"],
        ),
    ]
}

fn config(broker: &Broker, case: &Case, file: &Path) -> String {
    let head = format!("brokers = [{:?}]\n{}", broker.server.value(case.listener), case.options);
    format!(
        "[[inputs.kafka]]\nalias = \"in\"\ntopics = [{:?}]\ngroup = \"g\"\n{head}\
         [[inputs.tail]]\nfiles = [\"{}\"]\nstart = \"beginning\"\n\
         [[outputs.kafka]]\nalias = \"out\"\nfrom = [\"tail\"]\ntopic = {:?}\nformat = \"raw\"\n{head}\
         [[outputs.file]]\nfrom = [\"in\"]\npath = \"/dev/null\"\n",
        case.topic,
        file.display(),
        case.topic
    )
}

#[test]
fn whoever_is_not_let_in_is_told_why_within_ten_seconds_and_nothing_is_lost() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.topic("logs", 1, &[]);
    let file = folder.path().join("app.log");
    std::fs::write(&file, "a line\n").unwrap();
    for case in cases(&broker) {
        let dir = folder.path().join(case.name.replace(' ', "-"));
        let mut agent = Agent::start(&dir, &config(&broker, &case, &file));
        let started = Instant::now();
        let told = |text: &str| case.says.iter().all(|words| text.contains(words));
        let (mut input, mut output) = (String::new(), String::new());
        let mut is_told = || {
            input = agent.plugin("in")["notes"].to_string();
            output = agent.plugin("out")["last_error"].to_string();
            told(&input) && told(&output)
        };
        while !is_told() && started.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(100));
        }
        let took = started.elapsed();
        eprintln!("{}: {took:.1?}\n  in:  {input}\n  out: {output}", case.name);
        assert!(told(&input), "{}: the input says {input}", case.name);
        assert!(told(&output), "{}: the output says {output}", case.name);
        let out = agent.plugin("out");
        assert_eq!(
            (&out["state"], &out["drops"]),
            (&"held".into(), &serde_json::json!({})),
            "{}",
            case.name
        );
        let asked = Instant::now();
        let check = Command::new(crate::cli::binary())
            .args(["check", "--online", "--config"])
            .arg(dir.join("agent.toml"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        eprintln!("  check: {:.1?}\n{text}", asked.elapsed());
        assert_eq!(check.status.code(), Some(1), "{text}");
        for alias in ["in: FAILED", "out: FAILED"] {
            let line = text.lines().find(|line| line.starts_with(alias)).unwrap_or_default();
            assert!(told(line), "{}: {text}", case.name);
        }
        if case.name == "unknown topic" {
            broker.topic(case.topic, 1, &[]);
            until("the line is delivered", Duration::from_secs(45), || {
                agent.plugin("out")["delivered"] == 1
            });
            until("it is read, and nothing is amiss", Duration::from_secs(60), || {
                let input = agent.plugin("in");
                input["received"] == 1 && input["notes"] == serde_json::json!({})
            });
        }
        agent.stop();
    }
}

#[test]
fn a_user_with_a_password_is_let_in_over_tls_and_one_with_a_certificate_too() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.topic("logs", 1, &[]);
    let file = folder.path().join("app.log");
    let (ca, cert, key) =
        (broker.server.value("ca"), broker.server.value("cert"), broker.server.value("key"));
    let sasl = |mechanism: &str| {
        format!(
            "security = \"sasl_ssl\"\nsasl = {{ mechanism = {mechanism:?}, username = \"agent\", password = \"secret\" }}\n\
             tls = {{ ca_file = {ca:?} }}\n"
        )
    };
    let mutual = format!(
        "security = \"ssl\"\ntls = {{ ca_file = {ca:?}, cert_file = {cert:?}, key_file = {key:?} }}\n"
    );
    let ways = [("sasl", sasl("SCRAM-SHA-512")), ("sasl", sasl("PLAIN")), ("ssl", mutual)];
    for (at, (listener, options)) in ways.into_iter().enumerate() {
        std::fs::write(&file, "a line\n").unwrap();
        let case = Case { name: "let in", listener, options, topic: "logs", says: [""; 2] };
        let mut agent =
            Agent::start(&folder.path().join(at.to_string()), &config(&broker, &case, &file));
        until("a line goes out", Duration::from_secs(30), || agent.plugin("out")["delivered"] == 1);
        until("and comes in", Duration::from_secs(30), || {
            agent.plugin("in")["received"].as_u64() >= Some(1)
        });
        assert_eq!(agent.plugin("in")["notes"], serde_json::json!({}));
        agent.stop();
    }
}
