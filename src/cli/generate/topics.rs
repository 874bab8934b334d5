//! Lines and samples into Kafka topics, by a producer set as that of `outputs.kafka`: a message each, a host's in order.
//!
//! What is made is bounded by librdkafka's queue, and each message is counted when its delivery report is there. It tries again by
//! itself, without doubling, until a message is as old as the timeout; the first that fails ends the work.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use sentinel_contract::Metric;
use sentinel_inputs::generate::{Data, Generator, Piece};
use sentinel_transport::Tls;
use sentinel_transport::formats::json;
use sentinel_transport::kafka::rdkafka::client::ClientContext;
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use sentinel_transport::kafka::rdkafka::message::{DeliveryResult, Message as _};
use sentinel_transport::kafka::rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use sentinel_transport::kafka::{
    Compression, Heard, KafkaOptions, Producing, Sasl, Security, Trouble, heard,
};

use crate::cli::complain;

/// How old a message may become: as of a write of `outputs.kafka`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long brokers may take to answer before anything is made.
const GREETING: Duration = Duration::from_secs(8);
/// Between looks for delivery reports when there is nothing else to do.
const PAUSE: Duration = Duration::from_millis(5);
/// How long, after something failed, what is on its way is waited for.
const REST: Duration = Duration::from_secs(1);

/// A producer, and which topic is whose.
pub(super) struct Topics {
    producer: BaseProducer<Reports>,
    of_sources: Vec<Place>,
    of_hosts: Vec<Place>,
    timeout: Duration,
    /// How many messages were acknowledged when that was last new or nothing was on its way, and when that was.
    quiet: Cell<(u64, Instant)>,
    buffer: Vec<u8>,
    /// Handed over so far.
    pub(super) bytes: u64,
}

/// Where the messages of a host go.
struct Place {
    topic: String,
    host: Arc<str>,
}

/// Takes delivery reports.
struct Reports {
    heard: Heard,
    acknowledged: AtomicU64,
    /// The first that failed, and the topic it was for.
    failed: Mutex<Option<(Code, String)>>,
    /// Something was said that is over when a message is acknowledged.
    is_troubled: AtomicBool,
}

impl Topics {
    /// Asks the brokers whether they are there.
    pub(super) fn open(
        brokers: &[String],
        topic: &str,
        timeout: Duration,
        generator: &Generator,
    ) -> Result<Self> {
        let place = |data: Data, host: &Arc<str>| Place {
            topic: topic.replace("{kind}", data.as_str()).replace("{host}", host),
            host: Arc::clone(host),
        };
        let of_sources: Vec<Place> =
            generator.sources().iter().map(|source| place(source.data, &source.host)).collect();
        let of_hosts: Vec<Place> =
            generator.metric_hosts().iter().map(|host| place(Data::Host, host)).collect();
        ensure!(
            !of_sources.iter().any(|lines| of_hosts.iter().any(|host| host.topic == lines.topic)),
            "--topic {topic}: lines and samples cannot be read from one topic: put {{kind}} into its name"
        );
        ensure!(!timeout.is_zero(), "--timeout must not be 0");
        let options = KafkaOptions {
            brokers: brokers.to_vec(),
            client_id: "sentinelops".to_owned(),
            security: Security::default(),
            sasl: Sasl::default(),
            tls: Tls::default(),
            properties: BTreeMap::new(),
        };
        let producing =
            Producing { compression: Compression::Zstd, max_message_bytes: 1_000_000, timeout };
        let client = options.producer(&producing).map_err(|errors| anyhow!("{}", errors[0]))?;
        let reports = Reports {
            heard: Heard::new(Tls::default()),
            acknowledged: AtomicU64::new(0),
            failed: Mutex::new(None),
            is_troubled: AtomicBool::new(false),
        };
        let producer: BaseProducer<Reports> = client.create_with_context(reports)?;
        greet(&producer).map_err(|cause| cause.context(brokers.join(",")))?;
        let quiet = Cell::new((0, Instant::now()));
        let buffer = Vec::new();
        Ok(Topics { producer, of_sources, of_hosts, timeout, quiet, buffer, bytes: 0 })
    }

    /// A message a line, without its end.
    pub(super) fn lines(&mut self, generator: &mut Generator, piece: &Piece) -> Result<()> {
        self.buffer.clear();
        generator.write(piece, &mut self.buffer);
        let (mut from, mut time_ns) = (0, piece.time_ns);
        for end in memchr::memchr_iter(b'\n', &self.buffer) {
            let place = &self.of_sources[piece.source];
            self.send(place, &self.buffer[from..end], time_ns.div_euclid(1_000_000))?;
            (from, time_ns) = (end + 1, time_ns + piece.gap_ns);
        }
        self.bytes += self.buffer.len() as u64 - piece.lines;
        self.listen()
    }

    /// A message a sample, as `inputs.kafka` reads them with the format `json`.
    pub(super) fn samples(&mut self, host: usize, samples: &[Metric]) -> Result<()> {
        for sample in samples {
            self.buffer.clear();
            json::metric(&mut self.buffer, sample)?;
            self.send(&self.of_hosts[host], &self.buffer, sample.time_ms)?;
            self.bytes += self.buffer.len() as u64;
        }
        self.listen()
    }

    /// Hands one message to librdkafka; waits while that has no room.
    fn send(&self, place: &Place, payload: &[u8], time_ms: i64) -> Result<()> {
        let mut record =
            BaseRecord::to(&place.topic).key(&*place.host).payload(payload).timestamp(time_ms);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                bail!("{}: {error}", place.topic);
            }
            self.producer.poll(PAUSE);
            self.fail()?;
            record = back;
        }
        Ok(())
    }

    /// Takes the delivery reports that there are.
    ///
    /// Errors: a message failed.
    pub(super) fn listen(&self) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        self.fail()
    }

    /// Errors: a message failed, or nothing was acknowledged for too long. librdkafka tells that some seconds late when its
    /// connections are broken.
    fn fail(&self) -> Result<()> {
        let reports = self.producer.context();
        let failed = reports.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match failed {
            Some((code, topic)) if code != Code::MessageTimedOut => {
                bail!("{topic}: {}", reports.heard.about(code))
            }
            None if !self.is_too_quiet() => Ok(()),
            _ => bail!("messages were not acknowledged within {:?}", self.timeout),
        }
    }

    fn is_too_quiet(&self) -> bool {
        let (acknowledged, since) = self.quiet.get();
        if self.acknowledged() != acknowledged || self.producer.in_flight_count() == 0 {
            self.quiet.set((self.acknowledged(), Instant::now()));
        }
        self.quiet.get().1 == since && since.elapsed() > self.timeout
    }

    /// Waits until each message is settled; when one has failed, not for long.
    ///
    /// Errors: a message failed.
    pub(super) fn end(&self) -> Result<()> {
        let mut until = None;
        while self.producer.in_flight_count() > 0 && until.is_none_or(|at| Instant::now() < at) {
            self.producer.poll(PAUSE);
            if until.is_none() && self.fail().is_err() {
                until = Some(Instant::now() + REST);
            }
        }
        self.fail()
    }

    /// How many messages are on all in-sync replicas.
    pub(super) fn acknowledged(&self) -> u64 {
        self.producer.context().acknowledged.load(Relaxed)
    }
}

/// Whether a broker answers. Why it does not was said when it was heard.
fn greet(producer: &BaseProducer<Reports>) -> Result<()> {
    let reports = producer.context();
    let listen = || producer.poll(Duration::ZERO);
    let asked = heard::ask(&reports.heard, GREETING, listen, |wait| {
        producer.client().fetch_metadata(None, wait)
    });
    match asked {
        Ok(_) => Ok(()),
        Err(_) if reports.heard.of(Trouble::Brokers).is_some() => {
            bail!("no broker has answered within {GREETING:?}")
        }
        Err(cause) => Err(cause),
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        heard::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let (_, words, is_new) = self.heard.error(&error, reason);
        if is_new {
            complain(&words);
        }
        self.is_troubled.store(true, Relaxed);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Relaxed);
                if self.is_troubled.swap(false, Relaxed) {
                    self.heard.works();
                }
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| (code, message.topic().to_owned()));
            }
        }
    }
}
