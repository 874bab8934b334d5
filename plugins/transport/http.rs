//! The HTTP client of the outputs: few idle connections, HTTP/1.1, no redirects, answers read to 64 KiB at most.
//!
//! Built at the first request, so that building a plugin touches nothing. Nothing it says contains a credential: the
//! address is shown without user, password and query, and secrets that an answer repeats are blanked. It never retries.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url};
use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Cause, ConfigError, WriteError};
use serde::Deserialize;

use crate::compress::Body;
use crate::status::{Answer, retry_after};
use crate::tls::Tls;

/// How much of an answer is read.
const ANSWER_LIMIT: usize = 64 << 10;

/// How much of an answer is shown in a message.
const SHOWN_LIMIT: usize = 500;

/// Shorter than any server's own idle limit (VictoriaMetrics: 1 minute), so that no request meets a closing connection.
const IDLE: Duration = Duration::from_secs(30);

/// A host that does not answer a connection attempt for this long is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that describe the body and cannot be replaced.
const OURS: [&str; 5] =
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "host"];

/// What every HTTP output lets the user set. A plugin repeats these as options of its own.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Base address; may hold user and password.
    pub url: String,
    /// Of a whole request.
    pub timeout: Period,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// Address of a proxy; empty: none, whatever the environment says.
    pub proxy: Secret,
    /// TLS.
    pub tls: Tls,
    /// Credentials.
    pub auth: Auth,
}

/// The option `auth` of a plugin: user and password, or a token.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// For basic authentication.
    pub username: String,
    /// For basic authentication.
    pub password: Secret,
    /// For bearer authentication.
    pub bearer_token: Secret,
}

impl Default for Auth {
    fn default() -> Self {
        Auth { username: String::new(), password: Secret::new(""), bearer_token: Secret::new("") }
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The pause it asks for.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB of its body.
    pub text: String,
    /// Whether there was more of it: it was longer, or it broke off.
    pub cut: bool,
    asked: String,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: answered {}", self.asked, self.status)?;
        f.write_str(match self.status {
            300..=399 => " (a redirect, which is not followed: set url to where it leads)",
            401 | 403 => " (check auth, and the tenant where there is one)",
            404 => " (check the path of url)",
            _ => "",
        })?;
        let mut text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.len() > SHOWN_LIMIT || self.cut {
            text.truncate(text.floor_char_boundary(SHOWN_LIMIT));
            text.push_str(" ...");
        }
        if text.is_empty() { Ok(()) } else { write!(f, ": {text}") }
    }
}

/// A client for one address. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    options: HttpOptions,
    headers: HeaderMap,
    base: Url,
    push: Url,
    built: Arc<Mutex<Option<reqwest::Client>>>,
}

impl Client {
    /// Checks the options. `push_path` is where [`Client::post`] goes when the address has no path of its own.
    pub fn new(options: HttpOptions, push_path: &str) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let url = address(&options.url).map_err(|reason| ConfigError::value("url", reason));
        let https = url.as_ref().map_or(true, |url| url.scheme() == "https");
        errors.extend(options.tls.check(https));
        errors.extend(check_auth(&options));
        if options.timeout.0.is_zero() {
            errors.push(ConfigError::value("timeout", "must be more than 0s"));
        }
        let proxy = options.proxy.reveal();
        if !proxy.is_empty() && address(proxy).is_err() {
            errors.push(ConfigError::value("proxy", "is not an address such as http://proxy:3128"));
        }
        let headers = headers(&options.headers).map_err(|error| errors.push(error)).ok();
        match (url, headers) {
            (Ok(url), Some(headers)) if errors.is_empty() => {
                let (base, push) = paths(url, push_path);
                Ok(Client { options, headers, base, push, built: Arc::default() })
            }
            (Err(error), _) => {
                errors.insert(0, error);
                Err(errors)
            }
            _ => Err(errors),
        }
    }

    /// The address that is pushed to, without credentials.
    pub fn shown(&self) -> String {
        shown(&self.push)
    }

    /// Sends a body to the push address. An answer of any status is `Ok`.
    pub async fn post(
        &mut self,
        headers: &[(&'static str, &str)],
        body: &mut Body,
    ) -> Result<Reply, WriteError> {
        let (lent, len) = body.lend();
        let url = self.push.clone();
        let reply = self.send(Method::POST, url, headers, lent.slice(..len)).await;
        body.restore(lent);
        reply
    }

    /// Asks for a path below the base address.
    pub async fn get(&mut self, path: &str) -> Result<Reply, WriteError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// Asks the push address with these parameters for an answer that is read as it comes, however long it is. The time
    /// limit is that of the whole answer. Any status but 200 is an error.
    pub async fn open(&mut self, parameters: &[(&str, &str)]) -> Result<Stream, WriteError> {
        let mut url = self.push.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let (request, asked) = self.prepare(Method::GET, url, &[], Bytes::new())?;
        let response = request.send().await.map_err(|error| self.failed(&error, &asked))?;
        if response.status().as_u16() == 200 {
            return Ok(Stream { response, asked });
        }
        let mut reply = answer(response, &asked).await;
        self.blank(&mut reply.text);
        let cause = anyhow::anyhow!("{reply}");
        Err(WriteError::Hold { cause })
    }

    async fn send(
        &mut self,
        method: Method,
        url: Url,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Reply, WriteError> {
        let (request, asked) = self.prepare(method, url, headers, body)?;
        let response = request.send().await.map_err(|error| self.failed(&error, &asked))?;
        let mut reply = answer(response, &asked).await;
        self.blank(&mut reply.text);
        Ok(reply)
    }

    /// A request with everything that every request has, and the words for it.
    pub(crate) fn prepare(
        &mut self,
        method: Method,
        url: Url,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<(reqwest::RequestBuilder, String), WriteError> {
        let asked = format!("{method} {}", shown(&url));
        let client = self.client();
        let client = client.map_err(|cause| {
            Answer::Unbuildable.action().error(None, cause.context(asked.clone()))
        })?;
        let mut request = client.request(method, url).headers(self.headers.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let auth = &self.options.auth;
        if !auth.bearer_token.reveal().is_empty() {
            request = request.bearer_auth(auth.bearer_token.reveal());
        } else if !auth.username.is_empty() {
            request = request.basic_auth(&auth.username, Some(auth.password.reveal()));
        }
        Ok((request, asked))
    }

    fn client(&self) -> Result<reqwest::Client, Cause> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*built {
            return Ok(client.clone());
        }
        Ok(built.insert(self.build()?).clone())
    }

    fn build(&self) -> Result<reqwest::Client, Cause> {
        let options = &self.options;
        let proxy = options.proxy.reveal();
        let https = self.push.scheme() == "https" || proxy.starts_with("https:");
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(options.tls.client(https)?)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sentinelops/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(IDLE)
            .connect_timeout(options.timeout.0.min(CONNECT_TIMEOUT))
            .timeout(options.timeout.0);
        if !proxy.is_empty() {
            let proxy = reqwest::Proxy::all(proxy).map_err(reqwest::Error::without_url);
            builder = builder.proxy(proxy.context("the proxy cannot be used")?);
        }
        builder.build().map_err(|error| anyhow::anyhow!("{}", root(&error)))
    }

    /// The error of a request that got no answer. Certificates in files may have been renewed: read them again.
    fn failed(&mut self, error: &reqwest::Error, asked: &str) -> WriteError {
        if !self.options.tls.ca_file.is_empty() || !self.options.tls.cert_file.is_empty() {
            *self.built.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let answer = answer_of(error);
        let mut words = match answer {
            Answer::TimedOut => format!("no answer within {:?}", self.options.timeout.0),
            Answer::NoConnection if error.is_timeout() => {
                format!("no connection within {:?}", self.options.timeout.0.min(CONNECT_TIMEOUT))
            }
            _ => root(error),
        };
        self.blank(&mut words);
        answer.action().error(None, anyhow::anyhow!("{asked}: {words}"))
    }

    /// A server may repeat what it was sent.
    fn blank(&self, text: &mut String) {
        let auth = &self.options.auth;
        let secrets = [&auth.password, &auth.bearer_token];
        let secrets = secrets.into_iter().chain(self.options.headers.values());
        let secrets = secrets.map(Secret::reveal).chain(self.push.password());
        for secret in secrets.filter(|secret| secret.len() >= 3) {
            if text.contains(secret) {
                *text = text.replace(secret, "(secret)");
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shown())
    }
}

/// An answer that is read as it comes.
#[derive(Debug)]
pub struct Stream {
    response: reqwest::Response,
    asked: String,
}

impl Stream {
    /// The next piece of the body; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| anyhow::anyhow!("{}: {}", self.asked, root(&error)))
    }
}

/// How a request that got no status ended.
pub(crate) fn answer_of(error: &reqwest::Error) -> Answer {
    if error.is_builder() {
        return Answer::Unbuildable;
    }
    if !error.is_connect() {
        return if error.is_timeout() { Answer::TimedOut } else { Answer::BrokenOff };
    }
    let mut next = error.source();
    while let Some(inner) = next {
        // The client's own error of a name that cannot be resolved has no type that can be asked for.
        if inner.to_string().starts_with("dns error") {
            return Answer::NoName;
        }
        let io = inner.downcast_ref::<io::Error>();
        // A handshake that the server closes has no error of the TLS library.
        let closed = io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof);
        if closed || inner.is::<rustls::Error>() {
            return Answer::NoTls;
        }
        let within = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        next = within.or_else(|| inner.source());
    }
    Answer::NoConnection
}

/// The status, and what comes of the body: the status stands, also when the body breaks off or does not come in time.
async fn answer(mut response: reqwest::Response, asked: &str) -> Reply {
    let status = response.status().as_u16();
    let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = pause.and_then(|value| retry_after(value, SystemTime::now()));
    let mut body = Vec::new();
    let cut = loop {
        match response.chunk().await {
            Ok(None) => break false,
            Err(_) => break true,
            Ok(Some(chunk)) => {
                let room = ANSWER_LIMIT - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break true; // the connection is closed with the rest in it
                }
            }
        }
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    Reply { status, retry_after: pause, text, cut, asked: asked.to_owned() }
}

fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(Url::has_host);
    let url = url.ok_or("must be an address such as http://127.0.0.1:8428")?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("must begin with http:// or https://"),
    }
}

/// The base address and the push address: an address with a path of its own is the push address already.
fn paths(url: Url, push_path: &str) -> (Url, Url) {
    let mut base = url.clone();
    let mut push = url;
    base.set_query(None);
    if push.path() == "/" {
        push.set_path(push_path);
    } else {
        let prefix = push.path().trim_end_matches('/').strip_suffix(push_path).unwrap_or("");
        base.set_path(prefix);
    }
    (base, push)
}

fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn check_auth(options: &HttpOptions) -> Vec<ConfigError> {
    let auth = &options.auth;
    let mut errors = Vec::new();
    if !auth.username.is_empty() && !auth.bearer_token.reveal().is_empty() {
        errors.push(ConfigError::value("auth", "username and bearer_token exclude each other"));
    }
    if auth.username.is_empty() && !auth.password.reveal().is_empty() {
        errors.push(ConfigError::value("auth.username", "is needed with a password"));
    }
    errors
}

fn headers(given: &BTreeMap<String, Secret>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let wrong = |reason: &str| ConfigError::value(format!("headers.{name}"), reason);
        let key = name.parse::<HeaderName>().map_err(|_| wrong("is not a header's name"))?;
        if OURS.contains(&key.as_str()) {
            return Err(wrong("describes the body and cannot be set"));
        }
        let value = HeaderValue::from_str(value.reveal());
        let mut value = value.map_err(|_| wrong("has a character that a header cannot hold"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// The innermost cause, which says what happened; the others name layers of the client.
fn root(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        // Its own words hold the address, credentials included.
        Some(_) if error.is_body() => "the answer broke off".to_owned(),
        Some(_) if error.is_builder() => "the request cannot be built".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => innermost.to_string(),
    }
}
