//! The past of a host whose backend is a small server of these tests: what comes into history, and what does not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sentinel_contract::history::Frame;
use sentinel_contract::trainer::Trainer;
use sentinel_engine::pipeline;
use sentinel_history::InMemory;

use super::*;
use crate::cli::{LogFormat, LogLevel, Options};

const DAY_MS: i64 = 86_400_000;

/// An agent with a detector of one signal; its backend is at `url`.
fn config(url: &str, more: &str) -> String {
    format!(
        "[agent]\nhost = \"db07\"\nbackfill = \"2d\"\n{more}\n[web]\nlisten = \"\"\n\
         [[inputs.system]]\n[[processors.anomaly]]\nalias = \"host\"\npreset = \"none\"\n\
         frame_interval = \"1m\"\nmin_training_frames = 120\n[[processors.anomaly.signals]]\n\
         name = \"busy\"\nmetric = \"cpu_usage_idle\"\nlabels = {{ cpu = \"cpu-total\" }}\n\
         min_change = 20.0\ndirection = \"down\"\n[[outputs.victoriametrics]]\nurl = \"{url}\"\n"
    )
}

fn options(folder: &Path, config: &str) -> Options {
    let file = folder.join("agent.toml");
    std::fs::write(&file, config).unwrap();
    Options {
        config: Some(file),
        config_dir: None,
        state_dir: Some(folder.to_owned()),
        log_level: LogLevel::Error,
        log_format: LogFormat::Text,
    }
}

struct Rig {
    plan: Arc<Plan>,
    shared: Shared,
    _folder: tempfile::TempDir,
}

fn rig(config: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared {
        state_dir: folder.path().to_owned(),
        history: Arc::new(InMemory::new(100_000)),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
        pressure: sentinel_contract::Pressure::default(),
    };
    let plan = options(folder.path(), config).plan(&shared);
    let plan = Arc::new(plan.unwrap_or_else(|problems| panic!("{}", problems.render())));
    Rig { plan, shared, _folder: folder }
}

impl Rig {
    fn job(&self) -> Option<Job> {
        job(&self.plan, &self.shared)
    }

    fn frames(&self) -> Vec<Frame> {
        let names = ["busy".to_owned()];
        self.shared.history.frames("host", &names, 0, i64::MAX).unwrap()
    }

    fn mark(&self) -> Value {
        let mark = self.shared.history.load_state("backfill:host").unwrap().unwrap();
        serde_json::from_slice(&mark).unwrap()
    }
}

/// Answers each request for an export with a sample a minute; the first `failures` it breaks off.
fn server(failures: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let line = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let is_export = line.contains("/api/v1/export");
            if !is_export || counter.fetch_add(1, Relaxed) < failures {
                continue;
            }
            let body = export(&line);
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length";
            write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    (url, asked)
}

fn export(line: &str) -> String {
    let time = |name: &str| -> i64 {
        let value = line.split_once(name).unwrap().1.split(['&', ' ']).next().unwrap();
        (value.parse::<f64>().unwrap() * 1000.0) as i64
    };
    if line.contains("nobody") {
        return String::new();
    }
    let (start, end) = (time("start="), time("end="));
    let minutes: Vec<i64> = (start / 60_000..=end / 60_000).collect();
    let times: Vec<i64> = minutes.iter().map(|minute| minute * 60_000).collect();
    let value = |minute: &i64| 70 - minute * 7919 % 11;
    let values: Vec<i64> = minutes.iter().map(value).collect();
    format!(
        "{{\"metric\":{{\"__name__\":\"cpu_usage_idle\",\"host\":\"db07\",\"cpu\":\"cpu-total\"}},\
         \"values\":{values:?},\"timestamps\":{times:?}}}\n"
    )
}

/// Until the thread of `job` has come to `state`; the state.
fn shown(shown: &Shown, states: &[&str]) -> Value {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let now = shown.json();
        if states.iter().any(|state| now["state"] == *state) {
            return now;
        }
        assert!(std::time::Instant::now() < deadline, "{now}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn the_past_comes_into_history_once_and_live_frames_stay_what_they_are() {
    let (url, asked) = server(0);
    let rig = rig(&config(&url, ""));
    let job = rig.job().unwrap();
    let (from_ms, upto_ms) = (job.from_ms, job.upto_ms);
    assert_eq!(upto_ms - from_ms, 2 * DAY_MS);
    let names = ["busy".to_owned()];
    let minute = upto_ms / 60_000 * 60_000;
    let live = [minute - 60_000, minute + 60_000].map(|time_ms| Frame {
        time_ms,
        values: vec![1.0],
        score: 0.5,
    });
    for frame in &live {
        rig.shared.history.append_frame("host", &names, frame);
    }
    let state = job.shown();
    job.start(Commands::default(), CancellationToken::new()).unwrap();
    let state = shown(&state, &["done", "failed"]);
    assert_eq!(state["state"], "done", "{state}");
    let frames = rig.frames();
    assert!((2860..=2882).contains(&frames.len()), "{}", frames.len());
    assert!(frames.windows(2).all(|pair| pair[0].time_ms < pair[1].time_ms), "no frame twice");
    assert!(live.iter().all(|live| frames.contains(live)), "live frames are left as they are");
    assert!(frames[1000..2800].iter().all(|frame| (60.0..=70.0).contains(&frame.values[0])));
    assert!(
        frames[1000..2800].iter().all(|frame| frame.score < 2.0),
        "judged as it would have been"
    );
    assert_eq!(state["frames"], frames.len() - 2);
    assert_eq!(rig.mark(), json!({ "upto_ms": upto_ms, "done": true }));
    assert_eq!(rig.shared.history.incidents(0, 10).unwrap(), [], "nothing is raised for the past");
    let before = asked.load(Relaxed);
    assert!(rig.job().is_none(), "it is read once");
    assert_eq!(asked.load(Relaxed), before);
}

#[test]
fn a_detector_that_keeps_hosts_apart_reads_the_past_of_all() {
    let past = |group_by: &str| {
        let (url, _) = server(0);
        let config = config(&url, "").replace("\"db07\"", "\"nobody\"");
        let rig = rig(&config.replace("preset", &format!("group_by = [{group_by}]\npreset")));
        let job = rig.job().unwrap();
        let state = job.shown();
        job.start(Commands::default(), CancellationToken::new()).unwrap();
        shown(&state, &["done", "nothing"]);
        let names = ["busy".to_owned()];
        rig.shared.history.frames("host/db07", &names, 0, i64::MAX).unwrap().len()
    };
    assert!(past("\"host\"") > 2800, "under its name, on a host of another");
    assert_eq!(past(""), 0, "the server has nothing of this host");
}

#[test]
fn a_server_that_is_down_is_waited_for_and_asked_again_after_a_restart_for_the_same_time() {
    let (url, _) = server(usize::MAX);
    let rig = rig(&config(&url, ""));
    let job = rig.job().unwrap();
    let (upto_ms, state, stop) = (job.upto_ms, job.shown(), CancellationToken::new());
    job.start(Commands::default(), stop.clone()).unwrap();
    let waiting = shown(&state, &["waiting", "failed"]);
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    assert!(waiting["next_ms"].as_i64().unwrap() > now_ms(), "{waiting}");
    stop.cancel();
    assert_eq!(rig.frames(), []);
    assert_eq!(rig.mark(), json!({ "upto_ms": upto_ms, "done": false }));
    // Meanwhile the detector has learnt live, and saved that.
    rig.shared.history.save_state(&observer_state("host"), b"state");
    let again = rig.job().expect("the past is still wanted");
    assert_eq!(again.upto_ms, upto_ms, "what came later was seen live");
}

#[test]
fn a_detector_that_learnt_without_a_past_or_has_nowhere_to_read_it_reads_none() {
    let there = "http://127.0.0.1:9";
    let known = rig(&config(there, ""));
    known.shared.history.save_state(&observer_state("host"), b"state");
    assert!(known.job().is_none(), "an agent of before that is updated");
    assert!(rig(&config(there, "").replace("\"2d\"", "\"off\"")).job().is_none());
    let nowhere = config(there, "");
    let nowhere = nowhere.split("[[outputs").next().unwrap();
    assert!(rig(nowhere).job().is_none());
    let named = nowhere.replace("backfill =", "backfill_url = \"http://127.0.0.1:10\"\nbackfill =");
    assert_eq!(rig(&named).job().unwrap().http.url, "http://127.0.0.1:10");
    let short = rig(&config(there, "history_retention = \"1d\"")).job().unwrap();
    assert_eq!(short.upto_ms - short.from_ms, DAY_MS, "no longer than history is kept");
}

#[test]
fn a_detector_is_told_of_its_past_and_learns_from_it() {
    let (url, _) = server(0);
    let config =
        config(&url, "interval = \"1s\"").replace("\"2d\"", "\"5h\"").replace("\"1m\"", "\"1s\"");
    let rig = rig(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let job = rig.job().unwrap();
    let (from_ms, state) = (job.from_ms, job.shown());
    let telemetry = runtime.block_on(async {
        let running = pipeline::start(&rig.plan, &rig.shared).unwrap();
        job.start(running.commands.clone(), CancellationToken::new()).unwrap();
        Arc::clone(&running.telemetry)
    });
    let state = shown(&state, &["done", "failed"]);
    assert_eq!(state["state"], "done", "{state}");
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let model = loop {
        let model = telemetry.json()["detectors"]["host"]["groups"][0]["model"].take();
        // One may have been trained on a part of the past before all of it was there.
        if model["frames"].as_i64().is_some_and(|frames| frames > 290) {
            break model;
        }
        assert!(std::time::Instant::now() < deadline, "{:#}", telemetry.json());
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(model["from_ms"].as_i64().unwrap() < from_ms + DAY_MS / 24, "{model}");
    runtime.shutdown_background();
}
