//! A restart changes nothing: the same templates, counts and series, and nothing is told twice.

use super::*;

fn traffic(app: &Arc<Labels>, seconds: std::ops::Range<i64>) -> Vec<Vec<Log>> {
    let words = ["alpha", "beta", "gamma", "delta", "kappa"];
    let batch = |second: i64| {
        let word = words[(second / 7 % 5) as usize];
        let mut logs = vec![
            line(app, second as f64, format!("INFO {word} task number {second} is done")),
            line(
                app,
                second as f64 + 0.5,
                format!("user {word} logged in from 10.0.0.{}", second % 250),
            ),
        ];
        if second % 40 == 33 {
            logs.push(line(
                app,
                second as f64 + 0.6,
                format!("ERROR {word} task has failed after {second} s"),
            ));
        }
        logs
    };
    seconds.map(batch).collect()
}

fn run(restarts: &[i64]) -> (Written, Patterns) {
    let options = "window = \"10s\"\nlateness = \"2s\"\nlearning = \"15s\"\ntop = 3\n";
    let (mut it, mut written, app) = (patterns(options), Written::default(), job("app"));
    for (second, logs) in traffic(&app, 0..200).into_iter().enumerate() {
        if restarts.contains(&(second as i64)) {
            let saved = it.save().unwrap();
            it = patterns(options);
            it.load(&saved).unwrap();
            assert!(it.save().unwrap() == saved, "what was read is what was written");
        }
        tick(&mut it, &mut written, second as i64);
        observe(&mut it, &mut written, logs);
    }
    (written, it)
}

#[test]
fn a_restart_in_the_middle_of_windows_changes_nothing() {
    let (plain, it) = run(&[]);
    let (restarted, again) = run(&[13, 33, 75, 76, 145]);
    for (window, row) in &plain.rows {
        let other = restarted.rows.get(window);
        let differs =
            row.iter().find(|(name, value)| other.and_then(|row| row.get(*name)) != Some(value));
        assert_eq!(differs, None, "window {window}: {other:?}");
    }
    assert_eq!(plain.rows, restarted.rows);
    assert_eq!(plain.messages(), restarted.messages());
    assert_eq!(templates(&it), templates(&again));
    assert!(!plain.messages().is_empty());
    let mut messages = plain.messages();
    let all = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), all, "something was told twice");
}

#[test]
fn a_state_that_is_broken_or_of_another_configuration_is_refused_and_learning_starts_anew() {
    let (_, it) = run(&[]);
    let saved = it.save().unwrap();
    let options = "window = \"10s\"\nlateness = \"2s\"\nlearning = \"15s\"\ntop = 3\n";
    let refused = |state: &[u8], options: &str, wanted: &str| {
        let mut it = patterns(options);
        let error = it.restore(state).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(it.groups.all.is_empty());
    };
    let mut flipped = saved.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    refused(&flipped, options, "");
    refused(&saved[..saved.len() - 1], options, "checksum");
    refused(b"", options, "not the state");
    let text = String::from_utf8(saved.clone()).unwrap();
    refused(text.replacen(" 1 ", " 2 ", 1).as_bytes(), options, "version");
    refused(&saved, "window = \"20s\"", "another window");
    refused(&saved, "window = \"10s\"\ngroup_by = [\"unit\"]", "another window or group_by");
    let mut fewer = patterns(&format!("{options}max_patterns = 10\nmax_groups = 1\n"));
    fewer.restore(&saved).unwrap();
    assert!(fewer.groups.all[0].tree.slots.len() <= 10);
}

#[test]
fn what_waits_to_be_told_is_told_after_a_restart_even_if_its_window_is_given_up() {
    let (mut it, mut written, app) = (patterns(QUICK), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    observe(&mut it, &mut written, vec![line(&app, 1.0, "ERROR never seen")]);
    assert!(written.events.is_empty());
    let saved = it.save().unwrap();
    let mut it = patterns(QUICK);
    it.load(&saved).unwrap();
    observe(
        &mut it,
        &mut written,
        vec![line(&app, 500.0, "back again"), line(&app, 511.0, "back again")],
    );
    let messages = written.messages();
    assert_eq!(
        messages.iter().filter(|message| message.contains("ERROR never seen")).count(),
        1,
        "{messages:?}"
    );
    assert_eq!(
        written.get(10, "log_lines{job=app}"),
        None,
        "a window of which nobody knows the rest"
    );
}
