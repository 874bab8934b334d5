//! Letters sent again through a running agent: they leave only when they are delivered, and never twice at once.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::dead_letters::{Order, Told, Which};
use crate::pipeline::{self, Running};

/// An agent with one output, whose input gave it ten lines; the first write was refused.
async fn refused(tag: &str, folder: &Path) -> Running {
    script(&format!("{tag}-out")).answer(|lines| {
        let events = (0..lines.len()).collect();
        Err(WriteError::Reject { events, cause: anyhow::anyhow!("the first answer") })
    });
    let running = agent(tag, folder);
    until("refused", || lines(folder).len() == 10).await;
    running
}

fn agent(tag: &str, folder: &Path) -> Running {
    let text = format!(
        "[agent]\nflush_interval = \"1s\"\n[[inputs.lines]]\nalias = \"{tag}\"\n\
         [[outputs.scripted]]\nalias = \"{tag}-out\"\n"
    );
    let shared = shared(folder);
    pipeline::start(&plan(&text, &shared), &shared).unwrap()
}

async fn retry(running: &Running, which: Which) -> Told {
    running.commands.letters(Order::Retry { which, until: None }).await.unwrap()
}

fn digits() -> Vec<String> {
    (0..10).map(|digit| digit.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn letters_that_are_delivered_are_gone_and_the_next_agent_finds_none() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again1", folder.path()).await;
    let told = retry(&running, Which::All).await;
    assert_eq!((told.sent, told.delivered, told.refused, told.left), (10, 10, 0, 0), "{told:?}");
    assert_eq!(script("again1-out").lines(), digits());
    assert!(lines(folder.path()).is_empty());
    assert_eq!(retry(&running, Which::All).await.sent, 0);
    let file = folder.path().join("dead-letters.jsonl");
    until("its room is given back", || std::fs::metadata(&file).unwrap().len() < 100).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_again_keeps_its_name_and_has_the_new_answer() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again2", folder.path()).await;
    let before = waiting(folder.path()).0;
    script("again2-out").answer(|_| {
        Err(WriteError::Reject { events: vec![3], cause: anyhow::anyhow!("the second answer") })
    });
    let told = retry(&running, Which::All).await;
    assert_eq!((told.delivered, told.refused), (9, 1), "{told:?}");
    let (left, others) = waiting(folder.path());
    assert_eq!((left.len(), others), (1, 0));
    let (old, new) = (&before[3].1, &left[0].1);
    assert_eq!((&new.id, new.first_ms, new.tries), (&old.id, old.first_ms, 1));
    assert_eq!((&*new.reason, &new.event), ("the second answer", &old.event));
    // What the first round gave back is not sent a third time by the same command.
    let again = Order::Retry { which: Which::All, until: told.until };
    assert_eq!(running.commands.letters(again).await.unwrap().sent, 0);
    let told = retry(&running, Which::Ids(vec![new.id.clone(), "7-7".into()])).await;
    assert_eq!((told.delivered, told.missing), (1, vec!["7-7".to_owned()]));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_output_holds_letters_stay_and_two_orders_send_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again3", folder.path()).await;
    for _ in 0..4 {
        script("again3-out").answer(|_| Err(WriteError::Hold { cause: anyhow::anyhow!("401 no") }));
    }
    let (first, second) = tokio::join!(
        retry(&running, Which::All),
        retry(&running, Which::Output("again3-out".into()))
    );
    let (sent, already) = (first.sent + second.sent, first.already + second.already);
    assert_eq!((sent, already, first.delivered + second.delivered), (10, 10, 0));
    let sender = if first.sent > 0 { first } else { second };
    assert_eq!(sender.waiting["again3-out"], "held: 401 no");
    assert_eq!(lines(folder.path()), digits(), "they stay until they are delivered");
    until("delivered, and settled", || lines(folder.path()).is_empty()).await;
    assert_eq!(script("again3-out").lines(), digits(), "each once");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_in_between_leaves_the_letters_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again4", folder.path()).await;
    for _ in 0..1000 {
        script("again4-out").answer(|_| Err(WriteError::Hold { cause: anyhow::anyhow!("401") }));
    }
    assert_eq!(retry(&running, Which::All).await.delivered, 0);
    running.stop().await;
    assert_eq!(lines(folder.path()), digits());
    script("again4-out").answers.lock().unwrap().clear();
    let running = agent("again4", folder.path());
    until("its own ten", || script("again4-out").lines().len() == 10).await;
    assert_eq!(retry(&running, Which::All).await.delivered, 10);
    assert!(lines(folder.path()).is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn letters_that_no_running_output_takes_stay_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk();
    let letters = DeadLetters::new(folder.path(), Arc::clone(&desk.telemetry));
    desk.write(&letters, &["x", "y"]);
    let transform = desk.telemetry.add(Role::Processor, "strip", &"again5-out".into());
    let piece =
        Piece::whole(Arc::new(log_batch("in", &Arc::new(Labels::new([("a", "b")])), &["z"])));
    letters.write(&transform, &piece, &[0], "panicked").unwrap();
    let other = desk.telemetry.add(Role::Output, "scripted", &"again5-out".into());
    let incident = Batch::new("web".into(), Events::Incidents(vec![Incident::default()]));
    letters.write(&other, &Piece::whole(Arc::new(incident)), &[0], "of another kind").unwrap();
    let running = agent("again5", folder.path());
    let told = retry(&running, Which::All).await;
    assert_eq!((told.sent, told.homeless["out"], told.homeless["again5-out"]), (0, 2, 2));
    assert_eq!(told.outputs, ["again5-out"]);
    assert_eq!(lines(folder.path())[..3], ["x", "y", "z"]);
    assert_eq!(waiting(folder.path()).0.len(), 4);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_somebody_made_unreadable_stays_and_the_others_go() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again6", folder.path()).await;
    let file = folder.path().join("dead-letters.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"line\":", "\"lime\":", 1)).unwrap();
    let told = retry(&running, Which::All).await;
    assert_eq!((told.delivered, told.unreadable), (9, 1), "{told:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_on_its_way_at_once_is_left_for_the_next_order() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk();
    let out = desk.telemetry.add(Role::Output, "scripted", &"again7-out".into());
    let letters = DeadLetters::new(folder.path(), Arc::clone(&desk.telemetry));
    let (line, labels) = ("x".repeat(1 << 20), Arc::new(Labels::new([("a", "b")])));
    let piece = Piece::whole(Arc::new(log_batch("in", &labels, &[line.as_str(); 6])));
    letters.write(&out, &piece, &[0, 1, 2, 3, 4, 5], "no").unwrap();
    let running = agent("again7", folder.path());
    until("its own ten", || script("again7-out").lines().len() == 10).await;
    let told = retry(&running, Which::All).await;
    assert_eq!((told.sent, told.left), (3, 3), "{told:?}");
    let again = Order::Retry { which: Which::All, until: told.until };
    let told = running.commands.letters(again).await.unwrap();
    assert_eq!((told.delivered, told.left), (3, 0), "{told:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_removes_what_is_meant_and_a_file_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let running = refused("again8", folder.path()).await;
    let id = waiting(folder.path()).0[4].1.id.clone();
    let purge = |which| running.commands.letters(Order::Purge { which });
    assert_eq!(purge(Which::Ids(vec![id])).await.unwrap().purged.unwrap().letters, 1);
    assert_eq!(lines(folder.path()), ["0", "1", "2", "3", "5", "6", "7", "8", "9"]);
    assert_eq!(purge(Which::Output("x".into())).await.unwrap().purged.unwrap().letters, 0);
    assert_eq!(purge(Which::All).await.unwrap().purged.unwrap().letters, 9);
    assert!(lines(folder.path()).is_empty());
    let file = folder.path().join("dead-letters.jsonl");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let failed = running.commands.letters(Order::Retry { which: Which::All, until: None }).await;
    assert!(failed.unwrap_err().starts_with("the dead letters: "));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    running.stop().await;
}
