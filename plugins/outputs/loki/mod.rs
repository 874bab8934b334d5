//! Logs and incidents to Grafana Loki, as protobuf and snappy.
//!
//! From Loki's HTTP API (`POST /loki/api/v1/push`) and `pkg/push/push.proto`. Few labels name a stream, the others are
//! structured metadata (Loki 2.9 and later keep it, earlier ones ignore it). Never retries.

pub mod encode;

mod answer;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;

mod entry;
mod labels;
mod streams;
mod times;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Cause, ConfigError, Context, Kinds, Output, Piece, Plugin, WriteError};
use sentinel_transport::{Action, Auth, Body, Client, HttpOptions, Reply, Tls};
use serde::Deserialize;

use answer::Refused;
use encode::Encoder;

const PUSH_PATH: &str = "/loki/api/v1/push";

/// Requests of one stream each in a write; with more of them it is halved, or it could take longer than it may.
const MOST_ALONE: usize = 16;

/// Requests at once that may be asked for: each has up to two requests' worth of memory.
const MOST_AT_ONCE: usize = 16;

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base address; the push path is added unless one is given.
    pub url: String,
    /// The labels that name a stream; the others become structured metadata.
    pub labels: Vec<String>,
    /// Parsed fields that are attached to a line.
    pub structured_metadata: Vec<String>,
    /// Sent as `X-Scope-OrgID`.
    pub tenant: String,
    /// Most requests at once; one after the other unless there is a backlog.
    pub concurrency: usize,
    /// Of a whole request.
    pub timeout: Period,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// Address of a proxy.
    pub proxy: Secret,
    /// TLS.
    pub tls: Tls,
    /// Credentials.
    pub auth: Auth,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: String::new(),
            labels: ["host", "job", "filename", "unit", "level"].map(String::from).to_vec(),
            structured_metadata: Vec::new(),
            tenant: String::new(),
            concurrency: 4,
            timeout: Period::secs(10),
            headers: BTreeMap::new(),
            proxy: Secret::new(""),
            tls: Tls::default(),
            auth: Auth::default(),
        }
    }
}

/// The output.
pub struct Loki {
    client: Client,
    encoder: Encoder,
    body: Body,
    concurrency: usize,
}

impl Plugin for Loki {
    type Kind = Box<dyn Output>;
    type Config = Config;
    const NAME: &'static str = "loki";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Self::Kind, Vec<ConfigError>> {
        let mut headers = config.headers;
        let mut errors = Vec::new();
        if config.labels.is_empty() {
            errors.push(ConfigError::value("labels", "must name at least one label"));
        }
        if !(1..=MOST_AT_ONCE).contains(&config.concurrency) {
            let bounds = format!("must be from 1 to {MOST_AT_ONCE}");
            errors.push(ConfigError::value("concurrency", bounds));
        }
        if !config.tenant.is_empty() {
            if headers.keys().any(|name| name.eq_ignore_ascii_case("x-scope-orgid")) {
                errors.push(ConfigError::value("tenant", "is also set as a header"));
            }
            headers.insert("X-Scope-OrgID".to_owned(), Secret::new(config.tenant));
        }
        // Only then are different files different streams: of one stream, what an hour older is must not come second.
        let by_file = config.labels.iter().any(|label| label == "filename");
        let concurrency = if by_file { config.concurrency } else { 1 };
        let options = HttpOptions {
            url: config.url,
            timeout: config.timeout,
            headers,
            proxy: config.proxy,
            tls: config.tls,
            auth: config.auth,
        };
        let client = Client::new(options, PUSH_PATH);
        let fields = &config.structured_metadata;
        match client {
            Ok(client) if errors.is_empty() => Ok(Box::new(Loki {
                client,
                encoder: Encoder::new(config.labels, fields, context.host.clone()),
                body: Body::new(),
                concurrency,
            })),
            Ok(_) => Err(errors),
            Err(more) => Err(more.into_iter().chain(errors).collect()),
        }
    }
}

#[async_trait::async_trait]
impl Output for Loki {
    fn accepts(&self) -> Kinds {
        Kinds::LOGS.and(Kinds::INCIDENTS)
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        self.encoder.begin(pieces);
        if self.encoder.alone() > MOST_ALONE {
            let cause = anyhow::anyhow!("too many streams with lines far behind for one write");
            return Err(WriteError::Split { cause });
        }
        let (mut refused, mut only, mut why) = (Vec::new(), true, None);
        while self.encoder.next(pieces).map_err(|cause| WriteError::Refuse { cause })? {
            let reply = self.push().await?;
            let result =
                if reply.status == 400 { Err(self.refused(&reply)) } else { reply.into_result() };
            let (events, cause) = match result {
                Ok(()) => continue,
                Err(WriteError::Reject { events, cause }) => (events, cause),
                Err(WriteError::Partly { events, cause }) => {
                    only = false;
                    (events, cause)
                }
                Err(error) => return Err(error), // all of it is sent again: Loki drops what it has already
            };
            refused.extend(events);
            why = Some(cause);
        }
        if only {
            self.encoder.settled(why.is_none(), Instant::now());
        }
        let Some(cause) = why else { return Ok(()) };
        refused.sort_unstable();
        Err(if only {
            WriteError::Reject { events: refused, cause }
        } else {
            WriteError::Partly { events: refused, cause }
        })
    }

    fn beside(&self, count: usize) -> Option<Box<dyn Output>> {
        let other = || Loki {
            client: self.client.clone(),
            encoder: self.encoder.beside(),
            body: Body::new(),
            concurrency: self.concurrency,
        };
        (count < self.concurrency).then(|| Box::new(other()) as Box<dyn Output>)
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        let ready = self.client.get("/ready").await?;
        self.encoder.begin(&[]);
        let push = self.push().await?;
        let answer = format!("{ready}; {push} to an empty push");
        match push.action() {
            // 422 and 400 come after credentials and tenant were found good: it is the emptiness that is refused.
            Action::Done | Action::Refuse => Ok(answer),
            _ => Err(anyhow::anyhow!(answer)),
        }
    }
}

impl Loki {
    async fn push(&mut self) -> Result<Reply, WriteError> {
        let compressed = self.body.snappy(self.encoder.raw());
        compressed.map_err(|cause| WriteError::Split { cause })?;
        let headers = [("content-type", "application/x-protobuf")];
        self.client.post(&headers, &mut self.body).await
    }

    /// A 400 names the entries that it is about.
    fn refused(&self, reply: &Reply) -> WriteError {
        let cause = anyhow::anyhow!("{reply}");
        if reply.text.contains("includes structured metadata, but this feature is disallowed") {
            return WriteError::Hold { cause }; // nothing is wrong with the lines
        }
        let (sent, names) = (self.encoder.sent(), self.encoder.names());
        let named = if reply.cut { None } else { answer::refused(&reply.text, sent, &names) };
        match named {
            Some(Refused { events, only: true }) => WriteError::Reject { events, cause },
            Some(Refused { events, only: false }) => WriteError::Partly { events, cause },
            None => WriteError::Refuse { cause },
        }
    }
}
