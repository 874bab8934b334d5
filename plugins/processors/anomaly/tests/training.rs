//! How models come to be: tiers, rows, the time of day, and models that are not taken.

use std::ops::Range;

use sentinel_contract::Command;
use sentinel_contract::command::Past;
use sentinel_contract::incident::Tier;

use super::super::columns::{Columns, Stored};
use super::super::signals::Signals;
use super::super::train::{self, Job, Options, Trained};
use super::super::worse::{self, Against};
use super::super::{due, rows, tier};
use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

fn at(time_ms: i64) -> Frame {
    Frame { time_ms, values: Vec::new(), score: f64::NAN }
}

fn chosen_of(frames: &[Frame], most: usize, seed: u64) -> Vec<usize> {
    let times: Vec<i64> = frames.iter().map(|frame| frame.time_ms).collect();
    rows::chosen(&times, most, seed)
}

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

/// The frames of these minutes, those before them older.
fn stored<'a>(
    history: &'a Memory,
    names: &'a [String],
    minutes: Range<i64>,
    excluded: &'a [Range<i64>],
) -> Stored<'a> {
    let at = |minute: i64| START_MS + minute * 60_000;
    let (from_ms, upto_ms) = (at(minutes.start), at(minutes.end));
    let (older_ms, interval_ms) = (START_MS, 60_000);
    Stored { history, name: "web", names, older_ms, from_ms, upto_ms, interval_ms, excluded }
}

#[test]
fn columns_of_history_are_those_of_the_frames_without_incidents_and_without_what_was_removed() {
    let history = Memory::default();
    let names = ["a", "b", "c"].map(str::to_owned);
    let frames: Vec<Frame> = minutes(0..1300)
        .enumerate()
        .map(|(at, time_ms)| {
            let at = at as f64;
            Frame { time_ms, values: vec![at, -at, at * 0.5], score: at / 100.0 }
        })
        .collect();
    for frame in &frames {
        history.append_frame("web", &names, frame);
    }
    let incident = START_MS + 700 * 60_000..START_MS + 720 * 60_000;
    let stored = stored(&history, &names, 0..1250, std::slice::from_ref(&incident));
    let columns = Columns::stored(&stored).unwrap();
    let learnt: Vec<Frame> = (frames[..=1250].iter())
        .filter(|frame| !incident.contains(&frame.time_ms))
        .cloned()
        .collect();
    let held = Columns::held(&learnt);
    assert_eq!((columns.len(), &columns.times, &columns.scores), (1231, &held.times, &held.scores));
    assert_eq!(columns.read(&[2, 0]).unwrap(), held.read(&[2, 0]).unwrap());
    assert_eq!(columns.newest(600).unwrap(), held.newest(600).unwrap());
    assert_eq!(columns.newest(5000).unwrap().len(), 1231);
    history.frames.lock().unwrap().get_mut("web").unwrap().remove(&(START_MS + 60_000));
    let again = columns.read(&[1]).unwrap();
    assert!(again[0][1].is_nan() && again[0].len() == 1231);
    assert_eq!((again[0][0], again[0][2]), (0.0, -2.0), "what comes after stays in its place");
}

#[test]
fn frames_before_those_that_are_learnt_from_are_joined_into_means() {
    let history = Memory::default();
    let names = ["a", "b"].map(str::to_owned);
    for (at, time_ms) in minutes(0..5000).enumerate() {
        let score = if at == 1 { 3.0 } else { 0.5 };
        let frame = Frame { time_ms, values: vec![at as f64, f64::NAN], score };
        history.append_frame("web", &names, &frame);
    }
    let incident = START_MS + 3 * 60_000..START_MS + 9 * 60_000;
    let stored = stored(&history, &names, 4900..5000, std::slice::from_ref(&incident));
    let columns = Columns::stored(&stored).unwrap();
    assert_eq!((columns.len(), columns.times[0]), (100, stored.from_ms));
    // Of three minutes each; of the first one was far beyond its boundary, of the second and third nothing is learnt.
    assert_eq!(columns.older.len(), 4900_usize.div_ceil(3) - 2);
    assert_eq!(columns.older[..2], [START_MS + 90_000, START_MS + 9 * 60_000 + 90_000]);
    let [a, b] = &columns.read_older(&[0, 1]).unwrap()[..] else { panic!() };
    assert_eq!((a.len(), b.len()), (columns.older.len(), columns.older.len()));
    assert_eq!(a[..2], [1.0, 10.0]);
    assert!(b.iter().all(|mean| mean.is_nan()));
}

#[test]
fn frames_of_ten_seconds_learn_the_week() {
    let history = Arc::new(Memory::default());
    let names = ["load".to_owned()];
    let mut rng = SplitMix64::new(5);
    let rests = |time_ms: i64| (time_ms - START_MS).div_euclid(DAY_MS).rem_euclid(7) >= 5;
    let upto_ms = START_MS + 2 * WEEK_MS;
    for time_ms in (START_MS..=upto_ms).step_by(10_000) {
        let load = if rests(time_ms) { 20.0 } else { 60.0 } + rng.normal();
        history.append_frame("web", &names, &Frame { time_ms, values: vec![load], score: 0.5 });
    }
    let mut signals = Signals::default();
    let config = "name = \"load\"\nmetric = \"load\"\n";
    signals.add(&toml::from_str(config).unwrap()).unwrap();
    let options = Options {
        level_frames: 60,
        min_frames: 120,
        window_ms: 2 * WEEK_MS,
        interval_ms: 10_000,
        share: 1e-3,
        welcome: 1.0,
        seed: 1,
    };
    let job = Job {
        signals: Arc::new(signals),
        history,
        name: "web".to_owned(),
        upto_ms,
        excluded: Vec::new(),
        recent: Vec::new(),
        options,
        against: None,
    };
    let model = job.run().unwrap().model;
    assert_eq!((model.tier, model.frames), (Tier::Weekly, 20_161));
    let usual = |time_ms: i64| {
        let load = model.learned[0].as_ref().unwrap();
        load.usual_at(time_ms as f64 / 1000.0).expect("a season")
    };
    for day in 0..7 {
        let noon = upto_ms + day * DAY_MS + DAY_MS / 2;
        let expected = if rests(noon) { 20.0 } else { 60.0 };
        let said = usual(noon);
        assert!((said - expected).abs() < 8.0, "day {day}: {said}");
    }
}

fn minutes(range: Range<i64>) -> impl Iterator<Item = i64> {
    range.map(|minute| START_MS + minute * 60_000)
}

#[test]
fn a_tier_is_reached_when_the_training_has_seen_so_much_of_time() {
    for (minutes_seen, expected) in [
        (0, Tier::Level),
        (1, Tier::Level),
        (1440, Tier::Level),
        (2 * 1440, Tier::Daily),
        (13 * 1440, Tier::Daily),
        (14 * 1440, Tier::Weekly),
    ] {
        assert_eq!(tier::of(minutes(0..minutes_seen)), expected, "{minutes_seen} minutes");
    }
}

#[test]
fn two_days_with_weeks_between_them_are_no_weeks() {
    let split = minutes(0..1440).chain(minutes(20 * 1440..22 * 1440));
    assert_eq!(tier::of(split), Tier::Daily);
}

#[test]
fn rare_hours_of_the_week_keep_their_rows() {
    // A week of office hours, ten minutes of a Sunday among them.
    let times = minutes(0..5 * 1440).filter(|time| (9..17).contains(&(time / HOUR_MS % 24)));
    let sunday = START_MS + 6 * DAY_MS + 3 * HOUR_MS;
    let mut frames: Vec<Frame> = times.map(at).collect();
    frames.extend((0..10).map(|minute| at(sunday + minute * 60_000)));
    let chosen = chosen_of(&frames, 500, 42);
    assert_eq!(chosen.len(), 500);
    assert!(chosen.is_sorted() && chosen.windows(2).all(|pair| pair[0] < pair[1]));
    let of_sunday = chosen.iter().filter(|at| frames[**at].time_ms >= sunday).count();
    assert_eq!(of_sunday, 10, "an even thinning would leave two");
    let mut hours = [0_u32; 168];
    for at in &chosen {
        hours[(frames[*at].time_ms / HOUR_MS % 168) as usize] += 1;
    }
    let office: Vec<u32> = hours.into_iter().filter(|rows| *rows > 0 && *rows != 10).collect();
    assert!(office.iter().all(|rows| (12..=13).contains(rows)), "{office:?}");
}

#[test]
fn few_frames_are_all_rows_and_the_same_frames_give_the_same_rows() {
    let frames: Vec<Frame> = minutes(0..3000).map(at).collect();
    assert_eq!(chosen_of(&frames, 3000, 1), (0..3000).collect::<Vec<_>>());
    let chosen = chosen_of(&frames, 500, 1);
    assert_eq!(chosen, chosen_of(&frames, 500, 1));
    assert_ne!(chosen, chosen_of(&frames, 500, 2));
    // A day later most of what was chosen still is.
    let later: Vec<Frame> = minutes(300..3300).map(at).collect();
    let times = |frames: &[Frame], chosen: &[usize]| -> Vec<i64> {
        chosen
            .iter()
            .map(|at| frames[*at].time_ms)
            .filter(|time| *time >= later[0].time_ms)
            .collect()
    };
    let (was, is) = (times(&frames, &chosen), times(&later, &chosen_of(&later, 500, 1)));
    let kept = was.iter().filter(|time| is.contains(time)).count();
    assert!(kept * 10 >= was.len() * 8, "{kept} of {}", was.len());
}

#[test]
fn a_fleet_does_not_train_in_the_same_minute_and_each_host_does_at_its_own_time_of_day() {
    let mut minutes_of_day = Vec::new();
    for host in 0..200 {
        let phase = due::phase(&format!("web{host:03}"), "host", "", DAY_MS);
        assert!((0..DAY_MS / 4).contains(&phase));
        let due = |upto_ms, frames| due::next(upto_ms, frames, 60_000, (DAY_MS, phase));
        let first = due(START_MS, 1440);
        assert!((START_MS + DAY_MS / 2..=START_MS + 3 * DAY_MS / 2).contains(&first));
        assert_eq!(due(first, 2880), first + DAY_MS, "the same time the next day");
        assert_eq!(due(first + 60_000, 2880), first + DAY_MS, "however late it was asked for");
        minutes_of_day.push(first / 60_000 % 1440);
    }
    minutes_of_day.sort_unstable();
    let most = minutes_of_day.chunk_by(|a, b| a == b).map(<[i64]>::len).max();
    assert!(most <= Some(5), "{most:?} of 200 hosts in one minute");
    assert_eq!(
        due::next(START_MS, 120, 60_000, (DAY_MS, 7)),
        START_MS + 2 * HOUR_MS,
        "a young one"
    );
    assert_ne!(due::phase("a", "host", "", DAY_MS), due::phase("a", "web", "", DAY_MS));
}

fn options() -> Options {
    Options {
        level_frames: 8,
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

#[test]
fn a_past_that_was_read_makes_it_ready_with_warm_levels_and_leaves_its_incidents_out() {
    let (past, mut site) = live(4, 20.0, 0.01, 200);
    let mut rig = Rig::new("preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n");
    rig.now_ms = past.now_ms;
    let windows = |rig: &mut Rig, site: &mut Site, count: usize| {
        for _ in 0..count {
            let window = site.next();
            rig.window("nginx", &window.features());
        }
    };
    windows(&mut rig, &mut site, 10);
    assert!(!rig.is_ready());
    let frames = std::mem::take(&mut *past.history.frames.lock().unwrap());
    let read: Vec<Frame> = frames["web/nginx"].values().cloned().collect();
    for frame in &read {
        rig.history.append_frame("web/nginx", &[], frame);
    }
    let (from_ms, until_ms) = (read[50].time_ms, read[80].time_ms);
    let incidents = vec![Past { group: "nginx".to_owned(), from_ms, until_ms }];
    let told = Command::Backfilled { detector: None, incidents };
    let answer = rig.detector.command(&told, rig.now_ms, &mut Emit::default());
    assert_eq!(answer, Some(Ok("1 groups learn from the past at their next frame".to_owned())));
    assert!(rig.detector.groups[0].levels[0].now().long.is_some(), "the levels know the past");
    windows(&mut rig, &mut site, 6);
    let used = rig.detector.groups[0].used.as_ref().expect("ready");
    assert_eq!(used.model.from_ms, read[0].time_ms);
    let train = Command::Train { detector: None };
    let answer = rig.detector.command(&train, rig.now_ms, &mut Emit::default());
    assert_eq!(answer, Some(Ok("1 of 1 groups are trained now".to_owned())), "it knows enough");
    let used = rig.detector.groups[0].used.as_ref().unwrap();
    let left_out = 30 + super::super::signals::LIMIT_FRAMES;
    assert!(
        used.model.frames >= read.len() - left_out && used.model.frames < read.len(),
        "{}",
        used.model.frames
    );
}

#[test]
fn a_past_that_is_told_before_its_group_is_seen_is_known_to_it() {
    let (past, mut site) = live(4, 20.0, 0.01, 200);
    let mut rig = Rig::new("preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n");
    rig.now_ms = past.now_ms;
    let frames = std::mem::take(&mut *past.history.frames.lock().unwrap());
    let read: Vec<Frame> = frames["web/nginx"].values().cloned().collect();
    let names = past.history.names.lock().unwrap()["web/nginx"].clone();
    for frame in &read {
        rig.history.append_frame("web/nginx", &names, frame);
    }
    let (from_ms, until_ms) = (read[50].time_ms, read[80].time_ms);
    let incidents = vec![Past { group: "nginx".to_owned(), from_ms, until_ms }];
    let told = Command::Backfilled { detector: None, incidents };
    let answer = rig.detector.command(&told, rig.now_ms, &mut Emit::default());
    assert_eq!(answer, Some(Ok("0 groups learn from the past at their next frame".to_owned())));
    for _ in 0..8 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    let used = rig.detector.groups[0].used.as_ref().expect("ready from the past");
    assert!(used.model.frames < read.len() - 25, "{}", used.model.frames);
}

#[test]
fn an_incident_says_what_the_model_has_seen() {
    let (mut rig, mut site) = live(2, 40.0, 0.0, 30);
    for _ in 0..10 {
        let window = site.next().failing(0.5);
        rig.window("nginx", &window.features());
    }
    assert!(rig.incidents.iter().all(|one| one.tier.is_none()), "it is still learning");
    for windows in [100, 10] {
        for _ in 0..windows {
            let window = site.next().failing(if windows == 10 { 0.5 } else { 0.0 });
            rig.window("nginx", &window.features());
        }
    }
    assert_eq!(rig.incidents.last().unwrap().tier, Some(Tier::Level));
    assert_eq!(rig.history.incidents.lock().unwrap().last().unwrap().tier, Some(Tier::Level));
    assert_eq!(rig.detector.status()["groups"][0]["model"]["tier"], "level");
}

#[test]
fn a_snapshot_of_an_agent_that_knew_no_tiers_is_still_read() {
    let (rig, _) = live(4, 20.0, 0.01, 80);
    let snapshot = String::from_utf8(rig.detector.snapshot().unwrap()).unwrap();
    let (head, body) = snapshot.split_once('\n').unwrap();
    let mut saved: serde_json::Value = serde_json::from_str(body).unwrap();
    let group = saved["groups"][0].as_object_mut().unwrap();
    assert!(group.remove("accepted_ms").is_some() && group.remove("refused").is_some());
    assert!(group["model"][0].as_object_mut().unwrap().remove("tier").is_some());
    let (body, (head, _)) = (saved.to_string(), head.rsplit_once(' ').unwrap());
    let old = format!("{head} {:08x}\n{body}", crc32fast::hash(body.as_bytes()));
    let again = rig.restarted(old.as_bytes());
    assert!(again.is_ready());
    assert_eq!(again.detector.groups[0].accepted_ms, i64::MIN);
}
