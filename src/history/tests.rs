//! The store's promises: what comes back, what goes, and what a bad disk or file does to it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::Connection;
use sentinel_contract::history::{Frame, History as _};
use sentinel_contract::incident::{Contribution, Direction, Incident, State};

use crate::queue::{FRAMES, Queue};
use crate::schema::{self, Place};
use crate::thread::{Command, Keeper, now_ms};
use crate::write::Write;
use crate::{Counts, InMemory, Look, Store};

mod memory;

const MONTH: Duration = Duration::from_hours(30 * 24);
const FOR_EVER: Duration = Duration::from_secs(1 << 40);

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

fn frame(time_ms: i64, values: &[f64], score: f64) -> Frame {
    Frame { time_ms, values: values.to_vec(), score }
}

fn incident(key: &str, state: State, time_ms: i64) -> Incident {
    Incident {
        message: "error_rate is 12 times what is usual".to_owned(),
        key: key.to_owned(),
        detector: "web".to_owned(),
        host: "web01".to_owned(),
        group: "job=nginx".to_owned(),
        state,
        time_ms,
        started_ms: time_ms,
        score: 3.5,
        models: vec![("isolation_forest".to_owned(), 3.5)],
        contributions: vec![Contribution {
            feature: "error_rate".to_owned(),
            share: 1.0,
            direction: Direction::Up,
            value: 0.3,
            expected: 0.02,
            lower: 0.0,
            upper: 0.05,
        }],
        normal: names(["requests"]),
        reason: "forest and z agree".to_owned(),
        ..Incident::default()
    }
}

fn open(path: &Path) -> Arc<Store> {
    Store::open(path, FOR_EVER).unwrap()
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().contains(".corrupt-"))
        .collect();
    found.sort();
    found
}

#[test]
fn frames_come_back_in_time_order_with_values_by_signal_name() {
    let store = Store::in_memory().unwrap();
    store.append_frame("web", &names(["a", "b"]), &frame(20, &[1.0, 2.0], 0.5));
    store.append_frame("web", &names(["b", "c"]), &frame(10, &[3.0, 4.0], 0.25));
    store.append_frame("host", &names(["a", "b"]), &frame(15, &[9.0, 9.0], 9.0));
    store.append_frame("web", &names(["a", "b"]), &frame(30, &[7.0, 7.0], 7.0));

    let frames = store.frames("web", &names(["b", "a"]), 10, 30).unwrap();
    assert_eq!(frames.iter().map(|frame| frame.time_ms).collect::<Vec<_>>(), [10, 20]);
    assert_eq!(frames[1], frame(20, &[2.0, 1.0], 0.5));
    assert_eq!(frames[0].values[0], 3.0);
    assert!(frames[0].values[1].is_nan(), "the row at 10 does not know `a`");
}

#[test]
fn a_frame_of_the_same_time_is_replaced() {
    let store = Store::in_memory().unwrap();
    store.append_frame("web", &names(["a", "b"]), &frame(10, &[1.0, 2.0], 0.5));
    store.append_frame("web", &names(["b"]), &frame(10, &[3.0], 0.75));
    assert_eq!(store.frames("web", &names(["b"]), 0, 99).unwrap(), [frame(10, &[3.0], 0.75)]);
}

#[test]
fn missing_values_infinities_and_a_missing_score_survive() {
    let store = Store::in_memory().unwrap();
    let values = [f64::NAN, f64::INFINITY, -0.0];
    store.append_frame("web", &names(["a", "b", "c"]), &frame(10, &values, f64::NAN));
    let frames = store.frames("web", &names(["a", "b", "c"]), 0, 99).unwrap();
    assert!(frames[0].values[0].is_nan() && frames[0].score.is_nan());
    assert_eq!(frames[0].values[1], f64::INFINITY);
    assert!(frames[0].values[2].is_sign_negative());
}

#[test]
fn a_frame_without_one_value_a_signal_is_dropped_and_counted() {
    let store = Store::in_memory().unwrap();
    store.append_frame("web", &names(["a", "b"]), &frame(10, &[1.0], 0.5));
    assert_eq!(store.frames("web", &names(["a"]), 0, 99).unwrap(), []);
    assert_eq!(store.dropped(), 1);
}

#[test]
fn incidents_come_newest_first_since_a_time_and_at_most_so_many() {
    let store = Store::in_memory().unwrap();
    for (time_ms, state) in [(10, State::Detected), (20, State::Confirmed), (30, State::Notified)] {
        store.record_incident(&incident("k", state, time_ms));
    }
    let found = store.incidents(20, 10).unwrap();
    assert_eq!(found, [incident("k", State::Notified, 30), incident("k", State::Confirmed, 20)]);
    assert_eq!(store.incidents(0, 1).unwrap(), [incident("k", State::Notified, 30)]);
}

#[test]
fn a_change_that_is_recorded_again_after_a_restart_is_one() {
    let store = Store::in_memory().unwrap();
    store.record_incident(&incident("k", State::Detected, 10));
    store.record_incident(&incident("k", State::Detected, 10));
    store.record_incident(&incident("other", State::Detected, 10));
    assert_eq!(store.incidents(0, 10).unwrap().len(), 2);
}

#[test]
fn an_incident_with_a_value_that_is_no_number_comes_back() {
    let store = Store::in_memory().unwrap();
    let mut strange = incident("k", State::Detected, 10);
    strange.contributions[0].expected = f64::NAN;
    strange.models[0].1 = f64::INFINITY;
    store.record_incident(&strange);
    let found = store.incidents(0, 10).unwrap();
    assert!(found[0].contributions[0].expected.is_nan());
    assert!(found[0].models[0].1.is_nan(), "JSON has no infinity either");
    assert_eq!(found[0].contributions[0].value, 0.3);
}

#[test]
fn the_changes_of_an_incident_are_found_by_part_of_its_key() {
    let store = Store::in_memory().unwrap();
    for (key, time_ms) in [("web/a/1", 1), ("web/a/2", 2), ("web/b_1", 3), ("web/a/1", 4)] {
        store.record_incident(&incident(key, State::Confirmed, time_ms));
    }
    let times = |part: &str, limit| -> Vec<i64> {
        store.changes(part, limit).unwrap().iter().map(|change| change.time_ms).collect()
    };
    assert_eq!(times("web/a/1", 10), [4, 1]);
    assert_eq!(times("a/", 2), [4, 2]);
    assert_eq!(times("b%1", 10), [0; 0], "no wildcards");
    assert_eq!(times("", 10), [4, 3, 2, 1]);
}

#[test]
fn a_look_reads_beside_a_running_agent_and_after_it_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = open(&path);
    store.record_incident(&incident("a", State::Confirmed, 1));
    store.flush();
    store.record_incident(&incident("b", State::Confirmed, 2));
    let _committed = store.incidents(0, 9).unwrap();
    let beside = Look::open(&path).unwrap();
    assert_eq!(beside.incidents(0, 9).unwrap(), store.incidents(0, 9).unwrap());
    assert_eq!(beside.changes("b", 9).unwrap().len(), 1);
    drop((beside, store));
    let before = std::fs::read(&path).unwrap();
    assert_eq!(Look::open(&path).unwrap().incidents(0, 9).unwrap().len(), 2);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_look_at_what_nobody_may_write_to_reads_the_file_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b?#%.db");
    open(&path).record_incident(&incident("a", State::Confirmed, 1));
    let address = crate::look::unchanging(&path);
    let connection = Connection::open(address).unwrap();
    assert_eq!(crate::read::incidents(&connection, 0, 9).unwrap().len(), 1);
}

#[test]
fn a_look_says_what_is_in_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let told = |path: &Path| format!("{:#}", Look::open(path).err().unwrap());
    let missing = folder.path().join("none.db");
    assert!(told(&missing).contains("none.db: No such file"), "{}", told(&missing));
    assert!(!missing.exists());
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database ".repeat(100)).unwrap();
    assert!(told(&text).contains("text.db cannot be read: file is not a database"));
    assert!(set_aside(folder.path()).is_empty(), "it is not ours to set aside");
    let newer = folder.path().join("newer.db");
    drop(open(&newer));
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(told(&newer).contains("is a newer agent's (version 99)"), "{}", told(&newer));
}

#[test]
fn state_is_replaced_and_unknown_state_is_none() {
    let store = Store::in_memory().unwrap();
    assert_eq!(store.load_state("model").unwrap(), None);
    store.save_state("model", b"one");
    store.save_state("other", b"");
    store.save_state("model", b"two");
    assert_eq!(store.load_state("model").unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.load_state("other").unwrap().as_deref(), Some(&b""[..]));
}

#[test]
fn state_with_a_wrong_checksum_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = open(&path);
    store.save_state("model", b"as it was");
    store.flush();
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE state SET bytes = x'00'", []).unwrap();
    assert_eq!(store.load_state("model").unwrap(), None);
}

#[test]
fn everything_is_there_after_the_handle_is_dropped_and_the_file_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/history.db");
    let store = open(&path);
    store.append_frame("web", &names(["a"]), &frame(10, &[1.0], 0.5));
    store.record_incident(&incident("k", State::Detected, 10));
    store.save_state("model", b"bytes");
    drop(store);
    let store = open(&path);
    assert_eq!(store.frames("web", &names(["a"]), 0, 99).unwrap(), [frame(10, &[1.0], 0.5)]);
    assert_eq!(store.incidents(0, 10).unwrap(), [incident("k", State::Detected, 10)]);
    assert_eq!(store.load_state("model").unwrap().as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn after_a_flush_another_process_sees_it_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = open(&path);
    store.append_frame("web", &names(["a"]), &frame(10, &[1.0], 0.5));
    store.flush();
    let bytes = std::fs::read(&path).unwrap();
    // The file alone, without its log: the flush has moved the frame into it.
    let alone = folder.path().join("copy.db");
    std::fs::write(&alone, bytes).unwrap();
    let frames: i64 = Connection::open(&alone)
        .unwrap()
        .query_row("SELECT count(*) FROM frames", [], |row| row.get(0))
        .unwrap();
    assert_eq!(frames, 1);
}

#[test]
fn what_is_older_than_the_retention_goes_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let now = now_ms();
    let old = now - MONTH.as_millis() as i64 - 1000;
    let store = open(&path);
    for time_ms in [old, now] {
        store.append_frame("web", &names(["a"]), &frame(time_ms, &[1.0], 0.5));
        store.record_incident(&incident("k", State::Detected, time_ms));
    }
    store.append_frame("gone", &names(["a"]), &frame(old, &[1.0], 0.5));
    store.save_state("model", b"bytes");
    drop(store);

    let store = Store::open(&path, MONTH).unwrap();
    let frames = store.frames("web", &names(["a"]), 0, i64::MAX).unwrap();
    assert_eq!(frames, [frame(now, &[1.0], 0.5)]);
    assert_eq!(store.frames("gone", &names(["a"]), 0, i64::MAX).unwrap(), []);
    assert_eq!(store.incidents(0, 10).unwrap(), [incident("k", State::Detected, now)]);
    assert!(store.load_state("model").unwrap().is_some());
    store.flush();
    let sets: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM signal_sets", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sets, 1, "the names of a detector without frames go too");
}

#[test]
fn pruning_is_done_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = open(&path);
    for time_ms in 0..5 {
        store.append_frame("web", &names(["a"]), &frame(time_ms, &[1.0], 0.5));
    }
    drop(store);
    let mut connection = schema::open(&Place::File(path)).unwrap();
    assert!(crate::write::prune(&mut connection, 3, 2).unwrap());
    assert!(!crate::write::prune(&mut connection, 3, 2).unwrap());
    let left = crate::read::frames(&connection, "web", &names(["a"]), 0, 99).unwrap();
    assert_eq!(left.iter().map(|frame| frame.time_ms).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_file_of_a_newer_agent_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("CREATE TABLE frames (x); PRAGMA user_version = 99").unwrap();
    drop(newer);
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path, MONTH).unwrap_err();
    assert!(
        format!("{error:#}").contains("written by a newer agent (schema version 99"),
        "{error:#}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(set_aside(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn an_older_schema_gets_the_steps_it_has_not_had() {
    let mut connection = Connection::open_in_memory().unwrap();
    let steps =
        ["CREATE TABLE one (x)", "ALTER TABLE one ADD COLUMN y", "INSERT INTO one VALUES (1, 2)"];
    schema::migrate(&mut connection, &steps[..1]).unwrap();
    assert_eq!(schema::version(&connection).unwrap(), 1);
    schema::migrate(&mut connection, &steps).unwrap();
    schema::migrate(&mut connection, &steps).unwrap();
    assert_eq!(schema::version(&connection).unwrap(), 3);
    let rows: i64 = connection.query_row("SELECT count(y) FROM one", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_step_that_fails_leaves_the_schema_as_it_was() {
    let mut connection = Connection::open_in_memory().unwrap();
    let steps = ["CREATE TABLE one (x)", "no sql at all"];
    schema::migrate(&mut connection, &steps).unwrap_err();
    assert_eq!(schema::version(&connection).unwrap(), 0);
    schema::migrate(&mut connection, &steps[..1]).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_set_aside_and_a_new_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let garbage = b"this is not a database ".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let store = open(&path);
    store.append_frame("web", &names(["a"]), &frame(10, &[1.0], 0.5));
    assert_eq!(store.frames("web", &names(["a"]), 0, 99).unwrap().len(), 1);
    let aside = set_aside(folder.path());
    assert_eq!(aside.len(), 1);
    assert!(aside[0].display().to_string().contains("history.db.corrupt-"));
    assert_eq!(std::fs::read(&aside[0]).unwrap(), garbage);
}

#[test]
fn pages_that_turn_out_damaged_while_running_cost_the_file_but_not_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = open(&path);
    for time_ms in 0..2000 {
        store.append_frame("web", &names(["a"]), &frame(time_ms, &[1.0], 0.5));
        if time_ms % 500 == 0 {
            store.flush(); // not faster than the queue
        }
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let page = 4096;
    assert!(bytes.len() > 16 * page, "{}", bytes.len());
    for byte in &mut bytes[12 * page..] {
        *byte = 0xa5;
    }
    std::fs::write(&path, bytes).unwrap();

    let store = open(&path);
    assert!(store.frames("web", &names(["a"]), 0, 9999).is_err(), "said, not guessed");
    store.append_frame("web", &names(["a"]), &frame(10, &[2.0], 0.5));
    assert_eq!(store.frames("web", &names(["a"]), 0, 9999).unwrap(), [frame(10, &[2.0], 0.5)]);
    assert_eq!(set_aside(folder.path()).len(), 1);
    assert!(store.errors() > 0);
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path(), MONTH).unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains(&folder.path().display().to_string()), "{said}");
}

fn keeper() -> (Keeper, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Keeper::open(Place::Memory, FOR_EVER, Arc::clone(&counts)).unwrap(), counts)
}

fn write(time_ms: i64, values: usize) -> Write {
    let signals: Vec<String> = (0..values).map(|at| at.to_string()).collect();
    let frame = frame(time_ms, &vec![1.0; values], 0.5);
    Write::Frame { detector: "web".into(), signals: signals.into(), frame }
}

fn limit_pages(keeper: &Keeper, pages: i64) {
    let connection = keeper.connection.as_ref().unwrap();
    connection
        .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
        .unwrap();
}

fn stored(keeper: &Keeper) -> i64 {
    let connection = keeper.connection.as_ref().unwrap();
    connection.query_row("SELECT count(*) FROM frames", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_full_disk_keeps_the_writes_until_there_is_room_again() {
    let (mut keeper, counts) = keeper();
    limit_pages(&keeper, 1); // the limit cannot go below what is used: nothing more fits
    for time_ms in 0..20 {
        keeper.keep(write(time_ms, 400));
    }
    keeper.commit();
    assert_eq!((stored(&keeper), keeper.pending.len()), (0, 20));
    limit_pages(&keeper, 1_000_000);
    keeper.commit();
    assert_eq!((stored(&keeper), keeper.pending.len()), (20, 0));
    assert_eq!(counts.dropped.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn while_the_disk_stays_full_the_oldest_frames_go_first_and_are_counted() {
    let (mut keeper, counts) = keeper();
    limit_pages(&keeper, 1);
    keeper.keep(Write::Incident(Box::new(incident("k", State::Detected, 1))));
    for time_ms in 0..2000 {
        keeper.keep(write(time_ms, 20));
    }
    assert_eq!(keeper.pending.len(), 1024);
    assert_eq!(counts.dropped.load(std::sync::atomic::Ordering::Relaxed), 2001 - 1024);
    limit_pages(&keeper, 1_000_000);
    keeper.commit();
    assert_eq!(stored(&keeper), 1023, "the incident was kept");
}

#[test]
fn of_a_named_state_only_the_newest_waits() {
    let (mut keeper, _) = keeper();
    for byte in 0..3 {
        keeper.keep(Write::State { name: "model".to_owned(), bytes: vec![byte], saved_ms: 0 });
    }
    assert_eq!(keeper.pending.len(), 1);
}

/// A store whose thread does nothing before it is told to go.
fn held() -> (Arc<Store>, SyncSender<()>) {
    let store = Store::in_memory().unwrap();
    let (go, wait) = sync_channel::<()>(0);
    assert!(store.queue.push(Command::Read(Box::new(move |_| wait.recv().is_err()))));
    (store, go)
}

fn append(store: &Store, times_ms: Range<i64>) {
    for time_ms in times_ms {
        store.append_frame("web", &names(["a"]), &frame(time_ms, &[1.0], 0.5));
    }
}

#[test]
fn a_minute_of_ten_thousand_hosts_fits_while_the_thread_is_busy() {
    let (store, go) = held();
    append(&store, 0..10_000);
    go.send(()).unwrap();
    assert_eq!(store.frames("web", &names(["a"]), 0, 99_999).unwrap().len(), 10_000);
    assert_eq!(store.dropped(), 0);
}

#[test]
fn a_frame_waits_for_room_while_the_thread_goes_on() {
    let queue = Arc::new(Queue::new(Duration::from_mins(1)));
    let frames = |times_ms: Range<i64>| {
        times_ms.map(|time_ms| Command::Write(write(time_ms, 1))).all(|frame| queue.push(frame))
    };
    assert!(frames(0..FRAMES as i64));
    let slow = Arc::clone(&queue);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        slow.pop(Duration::ZERO).is_ok()
    });
    assert!(frames(0..1), "there is room in time");
    assert!(thread.join().unwrap());
    queue.close();
    assert!(!frames(0..1), "and nobody waits for a thread that ends");
}

#[test]
fn when_the_thread_is_behind_frames_are_dropped_and_counted_and_incidents_are_not() {
    let (store, go) = held();
    append(&store, 0..30_000);
    store.record_incident(&incident("k", State::Detected, 1));
    go.send(()).unwrap();
    let kept = store.frames("web", &names(["a"]), 0, 99_999).unwrap().len() as u64;
    assert_eq!(kept + store.dropped(), 30_000);
    assert!(kept >= FRAMES as u64 - 1 && store.dropped() > 0);
    assert_eq!(store.incidents(0, 10).unwrap().len(), 1);
}
