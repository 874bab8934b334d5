//! Files whose bytes are changed in place: rewritten, truncated, copied over.

use std::time::Duration;

use super::harness::Place;
use super::steps::Steps;

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn a_rewrite_of_the_same_size_is_read() {
    for length in [3, 2000] {
        let place = Place::new();
        let line = |letter: &str| letter.repeat(length);
        place.append("a.log", line("x") + "\n");
        let mut steps = Steps::new(&place, "a.log", BEGINNING);
        steps.poll().await;
        place.truncate("a.log");
        place.append("a.log", line("y") + "\n");
        assert!(steps.look().await == [format!("a.log: {}", line("y"))], "notified");
        tokio::time::sleep(Duration::from_millis(20)).await; // the kernel's clock for files ticks every 4 ms
        place.truncate("a.log");
        place.append("a.log", line("z") + "\n");
        assert!(steps.poll().await == [format!("a.log: {}", line("z"))], "polled");
    }
}

#[tokio::test]
async fn a_file_that_grew_again_to_the_same_bytes_at_the_position_is_known_by_its_beginning() {
    let place = Place::new();
    place.append("a.log", "Monday\n".to_owned() + &"beat\n".repeat(300));
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    assert_eq!(steps.poll().await.len(), 301);
    place.truncate("a.log");
    place.append("a.log", "Sunday\n".to_owned() + &"beat\n".repeat(302));
    let lines = steps.look().await;
    assert_eq!((lines.len(), lines[0].as_str()), (303, "a.log: Sunday"));
}
