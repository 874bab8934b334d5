//! Metrics to VictoriaMetrics, or anything else that takes Prometheus remote write 1.0.
//!
//! From the remote write 1.0 specification and VictoriaMetrics' `app/vmagent/remotewrite/client.go` (its zstd form and
//! the way back to snappy on 400 and 415). Never retries: the second request after a refused zstd is a change of
//! encoding. Does not speak remote write 2.0: VictoriaMetrics 1.79 answers 204 to it and stores nothing.

pub mod encode;
mod labels;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Cause, ConfigError, Context, Kinds, Output, Piece, Plugin, WriteError};
use sentinel_transport::{Action, Auth, Body, Client, HttpOptions, Reply, Tls};
use serde::Deserialize;

use encode::{Encoder, Form};

const PUSH_PATH: &str = "/api/v1/write";

/// How long a server that refused zstd is not asked again.
const SNAPPY_FOR: Duration = Duration::from_hours(1);

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base address; the push path is added unless one is given.
    pub url: String,
    /// How requests are compressed.
    pub encoding: Encoding,
    /// A series that was not written for this long has ended; zero: never.
    pub stale_after: Period,
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
            encoding: Encoding::Auto,
            stale_after: Period::secs(300),
            timeout: Period::secs(10),
            headers: BTreeMap::new(),
            proxy: Secret::new(""),
            tls: Tls::default(),
            auth: Auth::default(),
        }
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// zstd if the server takes it, else snappy.
    Auto,
    /// What every server takes.
    Snappy,
    /// What VictoriaMetrics takes; a fifth smaller.
    Zstd,
}

/// The output.
pub struct VictoriaMetrics {
    client: Client,
    encoding: Encoding,
    snappy_until: Option<Instant>,
    encoder: Encoder,
    body: Body,
}

impl Plugin for VictoriaMetrics {
    type Kind = Box<dyn Output>;
    type Config = Config;
    const NAME: &'static str = "victoriametrics";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, _context: &Context) -> Result<Self::Kind, Vec<ConfigError>> {
        let options = HttpOptions {
            url: config.url,
            timeout: config.timeout,
            headers: config.headers,
            proxy: config.proxy,
            tls: config.tls,
            auth: config.auth,
        };
        Ok(Box::new(VictoriaMetrics {
            client: Client::new(options, PUSH_PATH)?,
            encoding: config.encoding,
            snappy_until: None,
            encoder: Encoder::new(config.stale_after.0),
            body: Body::new(),
        }))
    }
}

#[async_trait::async_trait]
impl Output for VictoriaMetrics {
    fn accepts(&self) -> Kinds {
        Kinds::METRICS
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        let refused = self.encoder.encode(pieces);
        if self.encoder.samples() > 0 {
            self.push().await?.into_result()?;
            self.encoder.acknowledged(Instant::now());
        }
        if refused.is_empty() {
            return Ok(());
        }
        let cause = anyhow::anyhow!("the value is not a finite number");
        Err(WriteError::Reject { events: refused, cause })
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        self.encoder.encode(&[]);
        let reply = self.push().await?;
        let answer = format!("{reply} to an empty write");
        reply.into_result()?;
        let form = if self.zstd() { "zstd" } else { "snappy" };
        Ok(format!("{answer}, in {form} form"))
    }
}

impl VictoriaMetrics {
    fn zstd(&self) -> bool {
        match self.encoding {
            Encoding::Zstd => true,
            Encoding::Snappy => false,
            Encoding::Auto => self.snappy_until.is_none_or(|until| Instant::now() > until),
        }
    }

    /// Sends what is encoded. A server that does not know zstd answers 400 or 415: it gets the same as snappy.
    async fn push(&mut self) -> Result<Reply, WriteError> {
        if !self.zstd() {
            return self.push_snappy().await;
        }
        self.body.zstd(self.encoder.raw(Form::Zstd)).map_err(too_large)?;
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "zstd"),
            ("x-victoriametrics-remote-write-version", "1"),
        ];
        let reply = self.client.post(&headers, &mut self.body).await?;
        let unknown = reply.status == 400 || reply.action() == Action::Encoding;
        if !unknown || self.encoding == Encoding::Zstd {
            return Ok(reply);
        }
        let reply = self.push_snappy().await?;
        if reply.action() == Action::Done {
            tracing::info!(
                url = self.client.shown(),
                "the server does not take zstd: using snappy"
            );
            self.snappy_until = Some(Instant::now() + SNAPPY_FOR);
            self.body.forget_zstd();
        }
        Ok(reply)
    }

    async fn push_snappy(&mut self) -> Result<Reply, WriteError> {
        self.body.snappy(self.encoder.raw(Form::Snappy)).map_err(too_large)?;
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        self.client.post(&headers, &mut self.body).await
    }
}

fn too_large(cause: Cause) -> WriteError {
    WriteError::Split { cause }
}
