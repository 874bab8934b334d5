//! Which new models are not taken.

use super::super::columns::Columns;
use super::super::signals::Signals;
use super::super::train::{self, Options, Trained};
use super::super::worse::{self, Against};
use super::training::{WEEK_MS, minutes};
use super::*;

fn fit(signals: &Signals, frames: &[Frame], options: &Options) -> Result<Trained, Cause> {
    train::fit(signals, &Columns::held(frames), options)
}

fn than(
    old: &Against,
    new: &Trained,
    signals: &Signals,
    frames: &[Frame],
    options: &Options,
) -> Option<String> {
    worse::than(old, new, signals, &Columns::held(frames), options).unwrap()
}

fn options() -> Options {
    Options {
        level_frames: 8,
        size: super::super::Size::Full,
        min_frames: 60,
        window_ms: WEEK_MS,
        interval_ms: 60_000,
        share: 0.002,
        welcome: 1.0,
        seed: 42,
    }
}

/// A site's frames: so many times as unsteady as usual, at a rate of its own.
fn frames(signals: &Signals, seed: u64, rate: f64, unsteady: f64) -> Vec<Frame> {
    let mut site = Site::new(seed, rate);
    let frame = |time_ms: i64| {
        let window = site.next().times((unsteady * site.rng.normal()).exp());
        let features = window.features();
        let columns: Vec<f64> = (signals.columns.iter())
            .map(|column| {
                let found = features.iter().find(|(name, _)| *name == column.source.0);
                found.map_or(f64::NAN, |(_, value)| *value)
            })
            .collect();
        let values = signals.signals.iter().map(|signal| signal.value(&columns)).collect();
        Frame { time_ms, values, score: f64::NAN }
    };
    minutes(0..400).map(frame).collect()
}

fn web() -> Signals {
    let config: Config = toml::from_str("preset = \"web\"").unwrap();
    config.preset.signals()
}

fn against(trained: Trained) -> Against {
    Against { model: trained.model, boundaries: trained.boundaries, other_world: false }
}

/// A model of a steadier time than the one that is asked about, and one of that time.
fn steady_and_not(signals: &Signals) -> (Vec<Frame>, Trained, Trained) {
    let now = frames(signals, 5, 200.0, 0.6);
    let steady = fit(signals, &frames(signals, 6, 200.0, 0.02), &options()).unwrap();
    let fitting = fit(signals, &now, &options()).unwrap();
    (now, steady, fitting)
}

#[test]
fn a_louder_model_is_worse_and_a_quieter_one_is_not() {
    let signals = web();
    let (now, steady, fitting) = steady_and_not(&signals);
    let (steady_in_use, fitting_in_use) = (fit_again(&steady), fit_again(&fitting));
    let reason = than(&against(fitting_in_use), &steady, &signals, &now, &options());
    let reason = reason.expect("it is louder");
    assert!(reason.contains("% of the newest 80 frames beyond its boundary"), "{reason}");
    assert_eq!(than(&against(steady_in_use), &fitting, &signals, &now, &options()), None);
}

/// The same once more: `Trained` is not cloned elsewhere.
fn fit_again(trained: &Trained) -> Trained {
    Trained { model: trained.model.clone(), boundaries: trained.boundaries.clone() }
}

#[test]
fn a_new_normal_and_an_old_age_let_a_louder_model_in() {
    let signals = web();
    let (now, steady, fitting) = steady_and_not(&signals);
    let mut old = against(fitting);
    old.other_world = true;
    assert_eq!(than(&old, &steady, &signals, &now, &options()), None);
    old.other_world = false;
    old.model.upto_ms = steady.model.upto_ms - WEEK_MS;
    assert_eq!(than(&old, &steady, &signals, &now, &options()), None);
}

#[test]
fn a_model_that_forgot_a_signal_that_is_there_is_worse() {
    let signals = web();
    let now = frames(&signals, 5, 200.0, 0.1);
    let old = fit(&signals, &now, &options()).unwrap();
    let mut gaps = now.clone();
    let latency = signals.signals.iter().position(|one| one.name == "latency_p95").unwrap();
    for frame in &mut gaps[..300] {
        frame.values[latency] = f64::NAN;
    }
    let new = fit(&signals, &gaps, &options()).unwrap();
    let reason = than(&against(old), &new, &signals, &gaps, &options());
    assert_eq!(reason.as_deref(), Some("it does not know latency_p95"));
    let now_gone = frames(&signals, 5, 200.0, 0.1);
    let old = fit(&signals, &now_gone, &options()).unwrap();
    for frame in &mut gaps {
        frame.values[latency] = f64::NAN;
    }
    let new = fit(&signals, &gaps, &options()).unwrap();
    assert_eq!(than(&against(old), &new, &signals, &gaps, &options()), None, "it is gone");
}

#[test]
fn a_model_that_says_the_same_of_every_frame_is_broken_whatever_was_accepted() {
    let signals = web();
    let now = frames(&signals, 5, 200.0, 0.1);
    let mut old = against(fit(&signals, &now, &options()).unwrap());
    let mut new = fit(&signals, &now, &options()).unwrap();
    assert_eq!(than(&old, &new, &signals, &now, &options()), None);
    for learned in new.model.learned.iter_mut().flatten() {
        (learned.level_scale, learned.base_scale) = (1e300, 1e300);
    }
    old.other_world = true;
    let reason = than(&old, &new, &signals, &now, &options());
    assert_eq!(reason.as_deref(), Some("isolation_forest says the same of every frame"));
}

#[test]
fn a_worse_model_is_not_taken_which_is_said_and_tried_again() {
    let (mut rig, mut site) = live(3, 20.0, 0.01, 70);
    let first = rig.detector.groups[0].used.as_ref().unwrap().model.clone();
    // Somebody loses the past of a signal: it was there, and is there again.
    let at = rig.detector.shared.names.iter().position(|name| name == "latency_p95").unwrap();
    let lose = |rig: &Rig| {
        let mut stored = rig.history.frames.lock().unwrap();
        let all = stored.get_mut("web/nginx").unwrap();
        let kept = all.len() - 30;
        all.values_mut().take(kept).for_each(|frame| frame.values[at] = f64::NAN);
    };
    let windows = |rig: &mut Rig, site: &mut Site, count: usize| {
        for _ in 0..count {
            let window = site.next();
            rig.window("nginx", &window.features());
        }
    };
    windows(&mut rig, &mut site, 49);
    lose(&rig);
    windows(&mut rig, &mut site, 10);
    let group = &rig.detector.groups[0];
    assert_eq!(group.used.as_ref().unwrap().model, first, "the old one stays");
    let status = rig.detector.status();
    let refused = status["groups"][0]["training_refused"].as_str().unwrap().to_owned();
    assert_eq!(refused, "the new model is worse: it does not know latency_p95");
    assert!(status["groups"][0]["training_due_ms"].as_i64().unwrap() > rig.now_ms);
    let snapshot = rig.detector.snapshot().unwrap();
    let again = rig.restarted(&snapshot).detector.status();
    assert_eq!(again["groups"][0]["training_refused"], refused.as_str(), "after a restart too");
    windows(&mut rig, &mut site, 70);
    let status = rig.detector.status();
    assert_eq!(status["groups"][0]["training_refused"], serde_json::Value::Null);
    assert_ne!(rig.detector.groups[0].used.as_ref().unwrap().model, first);
}
