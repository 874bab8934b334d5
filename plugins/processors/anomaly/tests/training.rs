//! How models come to be: what of history is read, tiers, rows, the time of day, and a past that was read.

use std::ops::Range;

use sentinel_contract::Command;
use sentinel_contract::Pressure;
use sentinel_contract::command::Past;
use sentinel_contract::incident::Tier;
use sentinel_contract::trainer::Trainer;

use super::super::columns::{Columns, Stored};
use super::super::group::Training;
use super::super::signals::Signals;
use super::super::train::{Job, Options};
use super::super::{due, rows, tier};
use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
pub(super) const WEEK_MS: i64 = 7 * DAY_MS;

fn at(time_ms: i64) -> Frame {
    Frame { time_ms, values: Vec::new(), score: f64::NAN }
}

fn chosen_of(frames: &[Frame], most: usize, seed: u64) -> Vec<usize> {
    let times: Vec<i64> = frames.iter().map(|frame| frame.time_ms).collect();
    rows::chosen(&times, most, seed)
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
        size: super::super::Size::Full,
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

pub(super) fn minutes(range: Range<i64>) -> impl Iterator<Item = i64> {
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
    let incidents =
        vec![Past { host: "box".to_owned(), group: "nginx".to_owned(), from_ms, until_ms }];
    let told = Command::Backfilled { detector: None, incidents };
    let answer = rig.detector.command(&told, rig.now_ms, &mut Emit::default());
    assert_eq!(answer, Some(Ok("1 groups learn from the past at their next frame".to_owned())));
    assert!(rig.detector.groups[0].levels[0].now().long().is_some(), "the levels know the past");
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
    let incidents =
        vec![Past { host: "box".to_owned(), group: "nginx".to_owned(), from_ms, until_ms }];
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

#[test]
fn a_group_that_found_no_place_for_its_training_asks_before_its_next_frame() {
    let (trainer, work) = Trainer::new(Pressure::default(), || (), || ());
    let mut others = Vec::new();
    while !trainer.is_full() {
        others.push(trainer.submit(|| ()));
    }
    let mut rig = Rig::trained_by("preset = \"web\"\n", &trainer);
    let mut site = Site::new(4, 30.0);
    for _ in 0..3 {
        rig.window("nginx", &site.next().features());
    }
    let asked = |rig: &Rig| {
        let trainings = rig.detector.groups.iter().map(|group| &group.training);
        trainings.filter(|one| matches!(one, Training::Running { .. })).count()
    };
    rig.tick(rig.now_ms + 200);
    assert_eq!((rig.detector.groups.len(), asked(&rig)), (1, 0), "there is no place yet");
    std::thread::spawn(work);
    for other in others {
        assert_eq!(other.wait(), Some(()));
    }
    rig.tick(rig.now_ms + 300);
    assert_eq!(asked(&rig), 1, "and not a minute later");
}
