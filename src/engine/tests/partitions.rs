//! Observers kept one a partition: what each sees, what they know on its way from one set to the next, and what may not be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::pipeline;

/// An input of two partitions, which plays a scene: it gives and takes them, and notes the parts that it was given.
pub(super) struct Parted;
struct Scene(Arc<str>, Arc<Labels>);

impl Scene {
    /// A line of a partition, once it has been routed.
    async fn line(&self, out: &Emitter, order: u64, line: &str, audience: Audience) {
        let (told, heard) = tokio::sync::oneshot::channel::<()>();
        let told = Mutex::new(Some(told));
        let receipt = Receipt::new(move |_| drop(told.lock().unwrap().take()));
        let mut batch = log_batch(&self.0, &self.1, &[line]);
        (batch.order, batch.audience, batch.receipt) = (order, audience, Some(receipt));
        batch.reached_ms = Some(order as i64 * 1_000_000);
        out.send(batch).await;
        let _dropped = heard.await;
    }

    /// What is known of a partition now.
    async fn save(&self, observers: &Observers, order: u64, last: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        assert!(observers.save(order, last, |part| parts.push(part)).await);
        let words = parts.iter().map(|part| {
            let bytes = part.bytes.as_deref().map(String::from_utf8_lossy);
            format!("{} {} {bytes:?}", part.observer, part.name)
        });
        script(&self.0).taken.lock().unwrap().push(words.collect());
        parts
    }
}

#[async_trait::async_trait]
impl Service for Scene {
    fn by_partition(&self) -> bool {
        true
    }

    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause> {
        let observers = out.observers.clone().expect("it is by partition");
        for order in [1, 2] {
            assert!(observers.begin(order, format!("t/{order}").into(), Vec::new()).await);
        }
        self.line(&out, 1, "1", Audience::All).await;
        self.line(&out, 2, "10", Audience::All).await;
        self.line(&out, 1, "2", Audience::Observers).await;
        self.line(&out, 1, "400", Audience::Outputs).await;
        self.save(&observers, 1, false).await;
        self.save(&observers, 1, false).await;
        self.line(&out, 1, "3", Audience::All).await;
        let parts = self.save(&observers, 1, true).await;
        self.line(&out, 1, "1000", Audience::All).await;
        self.save(&observers, 1, false).await;
        assert!(observers.begin(1, "t/1".into(), parts).await);
        self.line(&out, 1, "4", Audience::All).await;
        self.save(&observers, 1, true).await;
        self.save(&observers, 2, true).await;
        script(&self.0).calls.fetch_add(1, Ordering::SeqCst);
        drop(out);
        stop.finished.cancelled().await;
        Ok(())
    }
}

impl Plugin for Parted {
    type Kind = Input;
    type Config = NoOptions;
    const NAME: &'static str = "parted";
    const SAMPLE: &'static str = "[[inputs.parted]]\n";
    fn build(_: NoOptions, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let (alias, tags) = (Arc::clone(&context.alias), Arc::clone(&context.tags));
        Ok(Input::Service(Box::new(Scene(alias, tags))))
    }
}

/// An observer that adds up the lines it sees, and the sums of those above it.
pub(super) struct Sum;
struct DoSum(Arc<Series>, f64, i64);

impl Observer for DoSum {
    fn observe(&mut self, batch: &Batch, emit: &mut Emit) {
        let before = self.1;
        match &batch.events {
            Events::Logs(logs) => {
                let number = |log: &Log| String::from_utf8_lossy(&log.body).parse::<f64>().unwrap();
                self.1 += logs.iter().map(number).sum::<f64>();
            }
            Events::Metrics(metrics) => {
                assert!(
                    batch.reached_ms.is_some(),
                    "what one above emits tells its partition's time"
                );
                self.1 += metrics.iter().map(|one| one.value).sum::<f64>();
            }
            Events::Incidents(_) | Events::Evidence(_) => (),
        }
        let value = self.1 - before;
        emit.push(Events::Metrics(vec![Metric { series: Arc::clone(&self.0), time_ms: 0, value }]));
    }

    fn tick(&mut self, now_ms: i64, _: &mut Emit) {
        self.2 = now_ms;
    }

    fn of_a_partition(&mut self) {
        self.1 += 0.5; // to be seen
    }

    fn parts(&self) -> Vec<(String, u64)> {
        vec![("sum".to_owned(), self.1.to_bits())]
    }

    fn part(&self, _: &str) -> Option<Vec<u8>> {
        Some(format!("{} at {}", self.1, self.2 / 1_000_000).into_bytes())
    }

    fn restore_parts(&mut self, parts: Vec<(String, Vec<u8>)>) -> Result<(), Cause> {
        for (_, bytes) in parts {
            let text = String::from_utf8(bytes)?;
            self.1 = text.split(' ').next().unwrap_or_default().parse()?;
        }
        Ok(())
    }
}

impl Plugin for Sum {
    type Kind = Processor;
    type Config = NoOptions;
    const NAME: &'static str = "sum";
    const SAMPLE: &'static str = "[[processors.sum]]\n";
    fn build(_: NoOptions, context: &Context) -> Result<Processor, Vec<ConfigError>> {
        let series = Series::new("sum", Kind::Gauge, context.tags.iter());
        Ok(Processor::Observer(Box::new(DoSum(series, 0.0, 0))))
    }
}

#[tokio::test]
async fn each_partition_has_observers_of_its_own_and_what_they_know_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text = "[[inputs.parted]]\nalias = \"parts\"\n\
        [[processors.sum]]\nalias = \"above\"\n[[processors.sum]]\nalias = \"below\"\nfrom = [\"above\"]\n\
        [[outputs.scripted]]\nalias = \"parts-out\"\nfrom = [\"parts\"]\n[[outputs.scripted]]\nalias = \"rest\"\n";
    let running = pipeline::start(&plan(text, &shared), &shared).unwrap();
    until("the scene is over", || script("parts").calls.load(Ordering::SeqCst) == 1).await;
    let given = script("parts").taken.lock().unwrap().clone();
    let part = |observer: &str, sum: &str| format!("{observer} sum Some(\"{sum}\")");
    assert_eq!(given[0], [part("above", "3.5 at 1"), part("below", "3.5 at 1")]);
    assert_eq!(given[1], [""; 0], "given once");
    assert_eq!(given[2], [part("above", "6.5 at 1"), part("below", "6.5 at 1")]);
    assert_eq!(given[3], [""; 0], "it was not ours");
    assert_eq!(given[4], [part("above", "10.5 at 1"), part("below", "10.5 at 1")]);
    assert_eq!(given[5], [part("above", "10.5 at 2"), part("below", "10.5 at 2")]);
    let mut delivered = script("parts-out").lines();
    delivered.sort();
    assert_eq!(delivered, ["1", "10", "1000", "3", "4", "400"], "all but what they had before");
    let status = running.telemetry.json();
    running.stop().await;
    let of = |alias: &str| {
        let plugins = status["plugins"].as_array().unwrap().iter();
        plugins.clone().find(|one| one["alias"] == alias).unwrap().clone()
    };
    assert_eq!(of("above")["counts"]["not_ours"], 1, "{}", of("above"));
}

#[tokio::test]
async fn what_they_emit_is_delivered_and_a_stop_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text = "[[inputs.parted]]\nalias = \"ends\"\n[[processors.sum]]\nalias = \"ends-sum\"\n\
        [[outputs.scripted]]\nalias = \"ends-out\"\nfrom = [\"ends-sum\"]\n";
    let running = pipeline::start(&plan(text, &shared), &shared).unwrap();
    let out = script("ends-out");
    until("each of the lines that are shown made one", || out.lines().len() == 5).await;
    until("the scene is over", || script("ends").calls.load(Ordering::SeqCst) == 1).await;
    tokio::time::timeout(Duration::from_secs(30), running.stop()).await.unwrap();
}

#[test]
fn observers_of_partitions_and_of_other_inputs_cannot_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[inputs.parted]]\n[[inputs.poll]]\n[[processors.sum]]\n[[outputs.scripted]]\n";
    let source = Source { path: "agent.toml".into(), text: text.to_owned() };
    let shared = shared(folder.path());
    let refused = config::plan(&[source], &REGISTRY, &Environment::process(), &shared);
    let words = refused.err().unwrap().render();
    let expected = "`sum` takes events of `parted` and of `poll`, but what it knows moves with the partitions of one of them";
    assert!(words.contains(expected) && words.contains("from = [\"parted\"]"), "{words}");
}
