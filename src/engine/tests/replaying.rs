//! A plan driven by hand: transforms before observers, observers in the order of the file, each by its `from`.

use std::sync::Arc;

use sentinel_contract::{Events, Labels};

use super::{log_batch, plan, script, shared};
use crate::replay::{Driver, Sink};

/// What came out: emitter and value.
#[derive(Default)]
struct Heard(Vec<(String, f64)>);

impl Sink for Heard {
    fn take(&mut self, origin: &Arc<str>, events: &Events) {
        let Events::Metrics(metrics) = events else { panic!("metrics only") };
        self.0.extend(metrics.iter().map(|metric| (origin.to_string(), metric.value)));
    }
}

fn lines(lines: &[&str]) -> Events {
    log_batch("any", &Arc::new(Labels::new([("a", "b")])), lines).events
}

#[test]
fn events_pass_the_transforms_then_the_observers_in_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let plan = plan(
        "[[inputs.lines]]\nalias = \"r-one\"\n[[inputs.lines]]\nalias = \"r-two\"\n\
         [[processors.count]]\nalias = \"r-first\"\nfrom = [\"r-one\"]\n\
         [[processors.strip]]\nalias = \"r-strip\"\nremove = \"x\"\n\
         [[processors.count]]\nalias = \"r-second\"\n",
        &shared,
    );
    let mut driver = Driver::new(&plan, &shared).unwrap();
    let (one, two) = (driver.origin("r-one").unwrap(), driver.origin("r-two").unwrap());
    assert_eq!(driver.origin("r-first"), None, "no input");
    let mut heard = Heard::default();
    for origin in [one, two] {
        let mut events = lines(&["a", "x", "b"]);
        driver.transform(origin, &mut events).unwrap();
        driver.deliver(origin, 0, events, &mut heard).unwrap();
    }
    let expected = [
        ("r-first", 1002.0),  // two of three lines of r-one
        ("r-second", 1001.0), // what the first one emitted, before the batch itself
        ("r-second", 1002.0),
        ("r-second", 1002.0), // r-two is nothing to the first
    ];
    assert_eq!(heard.0, expected.map(|(who, value)| (who.to_owned(), value)));
    assert_eq!(script("r-second").lines(), ["r-first", "r-one", "r-two"]);
    assert_eq!(driver.counts(), [("r-strip".into(), "filtered", 2)]);
}

#[test]
fn a_panic_ends_the_replay_with_the_processors_name() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let plan = plan(
        "[[inputs.lines]]\nalias = \"r-panic\"\n[[processors.strip]]\npanic = \"now\"\n",
        &shared,
    );
    let mut driver = Driver::new(&plan, &shared).unwrap();
    let origin = driver.origin("r-panic").unwrap();
    let error = driver.transform(origin, &mut lines(&["now"])).unwrap_err().to_string();
    assert_eq!(error, "processor `strip` panicked: as asked");
}
