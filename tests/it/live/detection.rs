//! The agent's main job, end to end with real parts (issue 3, "What must be seen" 2 and 5): nginx serves, the agent tails its
//! log into real Loki and VictoriaMetrics. Two quiet minutes raise nothing; a burst of 5xx is one incident that calls; a
//! flood from one client is one that does not. Each is looked for in all places where people look, Chromium among them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::page::{Browser, screenshot_path};
use super::stack::{Agent, Server, asked, get, loki_lines, metrics, now_ms, renice, until};
use super::traffic::{Load, Sent, Traffic};

const SEED: u64 = 20_261_123;
const WINDOW_MS: i64 = 1000;
/// An incident must be there within so many windows.
const WINDOWS: i64 = 5;
/// Quiet seconds before the benign change, and after.
const QUIET: [u64; 2] = [40, 80];
const ERRORS: [&str; 2] = ["errors", "error_rate"];
const TRAFFIC: [&str; 3] = ["requests", "sessions", "requests_per_session"];
const OVERALL: &str =
    "anomaly_score{for=\"all\",model_alias=\"overall\",scheduler_alias=\"web\",job=\"shop\"}";

const USUAL: Load = Load { rate: 60.0, new_path: 0.0, failing: 0.0, flood: 0.0 };
/// The benign change: a path never seen before, and half as much traffic again.
const BUSIER: Load = Load { rate: 90.0, new_path: 0.15, failing: 0.0, flood: 0.0 };
const BURST: Load = Load { failing: 0.5, ..BUSIER };
const FLOOD: Load = Load { flood: 350.0, ..BUSIER };

#[test]
fn a_burst_of_errors_calls_a_flood_is_told_and_quiet_noise_is_neither() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::start(folder.path());
    scene.becomes_ready();
    scene.quiet_minutes();

    let burst = scene.trouble(BURST, &ERRORS, "notified");
    let browser = Browser::start(folder.path(), 1280, 1000);
    scene.page_shows(&browser, &burst);
    browser.screenshot(&screenshot_path(""));
    scene.ends(&burst, &["detected", "confirmed", "notified", "recovering", "resolved"]);

    let flood = scene.trouble(FLOOD, &TRAFFIC, "confirmed");
    // The page was not loaded again.
    let card = card_of(&flood.key);
    until("the flood on the page", Duration::from_secs(20), || !browser.text(&card).is_empty());
    browser.screenshot(&screenshot_path("-flood"));
    scene.ends(&flood, &["detected", "confirmed", "recovering", "resolved"]);

    assert_eq!(scene.keys(0), [burst.key, flood.key], "these two, and no other");
    let said = browser.console();
    assert!(said.iter().all(|line| !line.starts_with("\"SEVERE\"")), "{said:#?}");
}

/// nginx with its traffic, the agent, and where it delivers to.
struct Scene {
    traffic: Traffic,
    agent: Agent,
    loki: Server,
    vm: Server,
    _nginx: Server,
}

/// An incident as history tells it.
struct Found {
    key: String,
    began_ms: i64,
}

impl Scene {
    fn start(dir: &Path) -> Scene {
        let (loki, vm) = (Server::start("loki", dir), Server::start("victoriametrics", dir));
        let nginx = Server::start("nginx", dir);
        renice(nginx.pid);
        let config = format!(
            "[[inputs.tail]]\nalias = \"access\"\nfiles = [\"{}\"]\nlabels = {{ job = \"shop\" }}\n\
             [[processors.parse]]\nformat = \"combined\"\n\
             [[processors.log_features]]\nwindow = \"1s\"\nlateness = \"1s\"\n\
             [[processors.anomaly]]\nalias = \"web\"\nfrom = [\"log_features\"]\npreset = \"web\"\n\
             frame_interval = \"1s\"\nmin_training_frames = 90\n\
             [[outputs.victoriametrics]]\nurl = \"{}\"\n[[outputs.loki]]\nurl = \"{}\"\n",
            nginx.dir.join("access.log").display(),
            vm.url,
            loki.url
        );
        let agent = Agent::start(&dir.join("agent"), &config);
        let traffic = Traffic::start(&nginx, SEED, USUAL);
        Scene { traffic, agent, loki, vm, _nginx: nginx }
    }

    /// `/api/status` of the group that is watched.
    fn group(&self) -> Value {
        self.agent.status()["detectors"]["web"]["groups"].get(0).cloned().unwrap_or_default()
    }

    fn becomes_ready(&self) {
        let began = Instant::now();
        until("the detector is ready", Duration::from_secs(180), || {
            self.group()["state"] == "ready"
        });
        let group = self.group();
        eprintln!(
            "ready after {:.0} s: learned from {} frames, {} incidents",
            began.elapsed().as_secs_f64(),
            group["model"]["frames"],
            self.keys(0).len()
        );
        assert!(self.keys(0).is_empty(), "nothing was wrong while it learned: {:#?}", self.told(0));
    }

    /// Two minutes in which nothing is wrong, with a benign change in the second half.
    fn quiet_minutes(&self) {
        let before = self.scored();
        let from_ms = now_ms();
        self.print_threshold("quiet minutes begin");
        std::thread::sleep(Duration::from_secs(QUIET[0]));
        let changed_ms = self.traffic.set(BUSIER);
        std::thread::sleep(Duration::from_secs(QUIET[1]));
        let to_ms = now_ms();
        let scored = self.scored() - before;
        self.print_threshold("quiet minutes end");
        print_traffic("usual", &self.traffic.sent(from_ms, changed_ms));
        print_traffic("a new path and half as much again", &self.traffic.sent(changed_ms, to_ms));
        let seconds = QUIET[0] + QUIET[1];
        let highest = metrics(&self.vm, &format!("max_over_time({OVERALL}[{seconds}s])"));
        eprintln!("{scored} frames scored, the highest {:.2} of the boundary", highest[0].1);
        assert!(self.keys(from_ms).is_empty(), "nothing was wrong: {:#?}", self.told(from_ms));
        assert!(highest[0].1 < 1.0, "no frame passed the boundary");
        assert!(scored >= seconds as i64 - 10, "the detector was awake all the time");
        assert_eq!(self.group()["state"], "ready");
    }

    fn scored(&self) -> i64 {
        let _looked_at = self.group(); // the status is made anew each second only while somebody looks
        std::thread::sleep(Duration::from_secs(2));
        self.group()["scored_frames"].as_i64().unwrap()
    }

    fn print_threshold(&self, when: &str) {
        let group = self.group();
        let model = |model: &Value| {
            let figure = |name: &str| model[name].as_f64().unwrap_or(f64::NAN);
            let (score, boundary) = (figure("score"), figure("boundary"));
            format!("{} {score:.2} (1.0 is raw {boundary:.3})", model["name"])
        };
        let models: Vec<String> = group["models"].as_array().unwrap().iter().map(model).collect();
        eprintln!("{when}: {}, score {}: {}", group["state"], group["score"], models.join(", "));
    }

    /// Sends `load` until one incident has reached `state`, and looks for it everywhere but on the page.
    fn trouble(&self, load: Load, blamed: &[&str], state: &str) -> Found {
        // The last windows of before are let go by first, so that what they say is not taken for what comes.
        std::thread::sleep(Duration::from_secs(3));
        let began_ms = self.traffic.set(load);
        let reached = || {
            let told = self.told(began_ms - WINDOW_MS);
            told.iter().find(|change| change["state"] == state).cloned()
        };
        until(state, Duration::from_secs(30), || reached().is_some());
        let change = reached().unwrap();
        let seen_after = now_ms() - began_ms;
        let first_window = began_ms - began_ms.rem_euclid(WINDOW_MS);
        let windows = (change["time_ms"].as_i64().unwrap() - first_window) / WINDOW_MS;
        eprintln!("{state} in window {windows}, seen after {seen_after} ms: {}", change["message"]);
        eprintln!("  because: {}; models {}", change["reason"], change["models"]);
        for one in change["contributions"].as_array().unwrap() {
            eprintln!(
                "  {} {}: {} instead of {}",
                one["feature"], one["share"], one["value"], one["expected"]
            );
        }
        print_traffic("sent", &self.traffic.sent(began_ms, now_ms()));
        assert!((1..=WINDOWS).contains(&windows), "within {WINDOWS} windows");
        let key = change["key"].as_str().unwrap().to_owned();
        assert_eq!(self.keys(began_ms - WINDOW_MS), [&*key], "exactly one");
        for change in self.told(began_ms - WINDOW_MS) {
            let top = change["contributions"][0]["feature"].as_str().unwrap_or_default();
            assert!(blamed.contains(&top), "{top} is blamed: {change:#}");
        }
        self.in_victoriametrics(blamed, began_ms);
        Found { key, began_ms }
    }

    /// The score beyond 1 and the contributions that go with it, since a time.
    fn in_victoriametrics(&self, blamed: &[&str], since_ms: i64) {
        let since = |series: &str| {
            let seconds = (now_ms() - since_ms) / 1000;
            metrics(&self.vm, &format!("max_over_time({series}[{seconds}s])"))
        };
        until("the score", Duration::from_secs(15), || {
            since(OVERALL).first().is_some_and(|(_, score)| *score > 1.0)
        });
        let of = since("anomaly_contribution{scheduler_alias=\"web\",job=\"shop\"}");
        let largest = of.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("contributions");
        assert!(blamed.contains(&largest.0["feature"].as_str().unwrap()), "{of:?}");
        eprintln!("  in VictoriaMetrics: score {:.2}", since(OVERALL)[0].1);
    }

    /// Back to what is usual: the incident ends, and has gone through `states`, in history as in Loki.
    fn ends(&self, found: &Found, states: &[&str]) {
        self.traffic.set(BUSIER);
        let of_key = || {
            let mut told = self.told(found.began_ms - WINDOW_MS);
            told.retain(|change| change["key"] == *found.key);
            told
        };
        until("it is over", Duration::from_secs(60), || {
            of_key().last().is_some_and(|change| change["state"] == "resolved")
        });
        let told = of_key();
        assert_eq!(states_entered(&told), states, "{told:#?}");
        let lines = || -> Vec<String> {
            let lines = loki_lines(&self.loki, "{job=\"sentinelops\"}").into_iter();
            lines.map(|line| line.text).filter(|text| text.contains(&found.key)).collect()
        };
        until("in Loki", Duration::from_secs(15), || lines().len() >= told.len());
        let lines = lines();
        assert!(lines.iter().all(|line| line.starts_with("{\"message\":\"")), "{lines:#?}");
        let in_loki: Vec<Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(in_loki, told, "one line a change of state");
    }

    /// The page, in a browser: the incident, values that go on, and no complaint.
    fn page_shows(&self, browser: &Browser, found: &Found) {
        browser.open(&self.agent.page);
        let card = card_of(&found.key);
        until("the incident on the page", Duration::from_secs(20), || {
            browser.text(&card).contains("notified")
        });
        let text = browser.text(&card);
        assert!(ERRORS.iter().any(|feature| text.contains(feature)), "{text}");
        for selector in ["#updated", "[data-signal=\"requests\"] .now", "#uptime"] {
            let before = browser.text(selector);
            assert!(!before.is_empty(), "{selector} is there");
            until(selector, Duration::from_secs(10), || browser.text(selector) != before);
        }
        let charts = "return [...document.querySelectorAll('#signals canvas')].filter((one) => one.width > 100).length;";
        assert!(browser.run(charts).as_i64().unwrap() >= 5, "signals are drawn");
        let said = browser.console();
        assert!(said.is_empty(), "the console is silent: {said:#?}");
        eprintln!("page: {}, {}", browser.text("#verdict"), text);
    }

    /// Changes of state since a time, oldest first, from `/api/incidents`.
    fn told(&self, since_ms: i64) -> Vec<Value> {
        let url = format!("{}/api/incidents?since_ms={since_ms}", self.agent.page);
        let mut answer: Value = serde_json::from_str(&get(&url).unwrap()).unwrap();
        let mut changes = std::mem::take(answer["incidents"].as_array_mut().unwrap());
        changes.reverse();
        changes
    }

    /// The incidents among them, in the order in which they began.
    fn keys(&self, since_ms: i64) -> Vec<String> {
        let told = self.told(since_ms);
        let mut keys: Vec<String> =
            told.iter().map(|change| change["key"].as_str().unwrap().to_owned()).collect();
        keys.dedup();
        keys
    }
}

fn card_of(key: &str) -> String {
    format!("#incidents .incident[data-key=\"{key}\"]")
}

/// The states, in the order in which they were first entered: a lull in the middle may make one recover and come back.
fn states_entered(changes: &[Value]) -> Vec<&str> {
    let mut states: Vec<&str> = Vec::new();
    for state in changes.iter().map(|change| change["state"].as_str().unwrap()) {
        if !states.contains(&state) {
            states.push(state);
        }
    }
    states
}

/// What was really sent, in a line.
fn print_traffic(what: &str, sent: &[Sent]) {
    if sent.is_empty() {
        return;
    }
    let least = sent.iter().map(|second| second.requests).min().unwrap_or(0);
    let most = sent.iter().map(|second| second.requests).max().unwrap_or(0);
    let sum = |of: fn(&Sent) -> u32| sent.iter().map(of).sum::<u32>();
    eprintln!(
        "sent, {what}: {} s of {least} to {most} requests, {:.1} in the mean, {} errors, {} of a flood, {} unanswered",
        sent.len(),
        f64::from(sum(|second| second.requests)) / sent.len() as f64,
        sum(|second| second.errors),
        sum(|second| second.flood),
        sum(|second| second.unanswered)
    );
}
