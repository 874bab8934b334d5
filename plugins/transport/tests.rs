//! The transport's promises, against a scripted server on this host.

mod answers;
mod export;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{ConfigError, WriteError};

use crate::fake::Fake;
use crate::protobuf::{close, open, put_bytes, put_double, put_int, put_varint, varint_len};
use crate::status::retry_after;
use crate::{Auth, Body, ByIdentity, Client, HttpOptions, Tls, Verify};

fn options(url: &str) -> HttpOptions {
    HttpOptions {
        url: url.to_owned(),
        timeout: Period::secs(5),
        headers: BTreeMap::new(),
        proxy: Secret::new(""),
        tls: Tls::default(),
        auth: Auth::default(),
    }
}

fn client(url: &str) -> Client {
    Client::new(options(url), "/push").unwrap()
}

fn body() -> Body {
    let mut body = Body::new();
    body.snappy(b"hello hello hello").unwrap();
    body
}

fn refusals(options: HttpOptions) -> Vec<String> {
    let errors = Client::new(options, "/push").err().unwrap_or_default();
    errors.iter().map(ConfigError::to_string).collect()
}

#[tokio::test]
async fn a_request_carries_what_the_options_say() {
    let fake = Fake::start();
    let mut options = options(&fake.url);
    options.headers.insert("X-Team".into(), Secret::new("ops"));
    options.auth.username = "agent".into();
    options.auth.password = Secret::new("hunter2");
    let mut client = Client::new(options, "/push").unwrap();
    let mut body = body();
    let sent = body.as_slice().to_vec();
    client.post(&[("content-encoding", "snappy")], &mut body).await.unwrap();
    let got = &fake.received()[0];
    assert_eq!(got.line, "POST /push");
    assert_eq!(got.body, sent);
    assert_eq!(got.header("x-team"), Some("ops"));
    assert_eq!(got.header("authorization"), Some("Basic YWdlbnQ6aHVudGVyMg=="));
    assert_eq!(got.header("content-encoding"), Some("snappy"));
    assert_eq!(got.header("accept-encoding"), None);
    assert!(got.header("user-agent").unwrap().starts_with("sentinelops/"));
}

#[tokio::test]
async fn a_token_is_sent_as_bearer() {
    let fake = Fake::start();
    let mut options = options(&fake.url);
    options.auth.bearer_token = Secret::new("t0ken");
    Client::new(options, "/push").unwrap().post(&[], &mut body()).await.unwrap();
    assert_eq!(fake.received()[0].header("authorization"), Some("Bearer t0ken"));
}

#[tokio::test]
async fn the_connection_and_the_buffer_are_used_again() {
    let fake = Fake::start();
    let mut client = client(&fake.url);
    let mut body = body();
    for _ in 0..3 {
        body.snappy(&[7; 1000]).unwrap();
        client.post(&[], &mut body).await.unwrap();
    }
    let received = fake.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|request| request.connection == 1));
}

#[tokio::test]
async fn user_and_password_in_the_address_are_used_but_never_shown() {
    let fake = Fake::start();
    let url = fake.url.replace("http://", "http://agent:hunter2@") + "/?token=s3cret";
    let mut client = client(&url);
    fake.answer(400, "", "you said hunter2");
    let refused = client.post(&[], &mut body()).await.unwrap().into_result().unwrap_err();
    assert_eq!(fake.received()[0].header("authorization"), Some("Basic YWdlbnQ6aHVudGVyMg=="));
    fake.hang_up();
    let failed = client.post(&[], &mut body()).await.unwrap_err();
    for words in [format!("{refused} {refused:?}"), format!("{failed} {failed:?}"), client.shown()]
    {
        assert!(!words.contains("hunter2") && !words.contains("s3cret"), "{words}");
    }
}

#[tokio::test]
async fn an_answer_is_read_to_64_kib_at_most() {
    let fake = Fake::start();
    fake.answer(400, "", &"x".repeat(1 << 20));
    let reply = client(&fake.url).post(&[], &mut body()).await.unwrap();
    assert_eq!(reply.text.len(), 64 << 10);
    assert!(reply.cut);
    assert!(reply.to_string().len() < 1000);
}

#[tokio::test]
async fn what_a_person_can_mend_is_said_in_the_message() {
    let fake = Fake::start();
    let hints = [(301, "not followed: set url"), (401, "check auth"), (404, "check the path")];
    for (status, hint) in hints {
        fake.answer(status, "location: http://127.0.0.1:1/\r\n", "");
        let reply = client(&fake.url).post(&[], &mut body()).await.unwrap();
        assert!(reply.to_string().contains(hint), "{reply}");
    }
}

#[tokio::test]
async fn paths_follow_the_address() {
    let fake = Fake::start();
    for (path, push, health) in [
        ("", "POST /push", "GET /health"),
        ("/", "POST /push", "GET /health"),
        ("/vm/push", "POST /vm/push", "GET /vm/health"),
        ("/insert/0/write", "POST /insert/0/write", "GET /health"),
    ] {
        let mut client = client(&format!("{}{path}", fake.url));
        client.post(&[], &mut body()).await.unwrap();
        client.get("/health").await.unwrap();
        let lines = fake.received().into_iter().map(|request| request.line).collect::<Vec<_>>();
        assert_eq!(lines[lines.len() - 2..], [push, health], "{path:?}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_instead() {
    let fake = Fake::start();
    let mut options = options("http://backend.invalid:8428");
    options.proxy = Secret::new(fake.url.clone());
    Client::new(options, "/push").unwrap().post(&[], &mut body()).await.unwrap();
    assert_eq!(fake.received()[0].line, "POST http://backend.invalid:8428/push");
}

#[tokio::test]
async fn a_missing_certificate_file_holds_the_data_and_names_the_file() {
    let mut options = options("https://127.0.0.1:1");
    options.tls.ca_file = "/nonexistent/ca.pem".into();
    let mut client = Client::new(options, "/push").unwrap();
    let error = client.post(&[], &mut body()).await.unwrap_err();
    assert!(matches!(error, WriteError::Hold { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

/// A path in `testdata`.
fn data(name: &str) -> String {
    format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A TLS server named `backend.test`, and the options of a client that trusts its authority.
fn secure(fake: &Fake, asks_for_certificate: bool) -> HttpOptions {
    let certificates = |name: &str| {
        let found = CertificateDer::pem_file_iter(data(name)).unwrap();
        found.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if asks_for_certificate {
        builder.with_client_cert_verifier(clients.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(data("server.key")).unwrap();
    let config = Arc::new(builder.with_single_cert(certificates("server.pem"), key).unwrap());
    let port = fake.listen(move |stream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    });
    let mut options = options(&format!("https://127.0.0.1:{port}"));
    options.tls.ca_file = data("ca.pem");
    options.tls.server_name = "backend.test".into();
    options
}

/// Whether a request comes through, or why not.
async fn attempt(options: HttpOptions) -> Result<u16, String> {
    let mut client = Client::new(options, "/push").unwrap();
    match client.post(&[], &mut body()).await {
        Ok(reply) => Ok(reply.status),
        Err(error @ WriteError::Retry { .. }) => Err(error.to_string()),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_server_is_believed_only_with_the_right_authority_and_name() {
    let fake = Fake::start();
    let good = secure(&fake, false);
    assert_eq!(attempt(good.clone()).await, Ok(204));
    let mut named = good.clone();
    named.tls.server_name = "other.test".into();
    let mut plain = good.clone();
    plain.tls.server_name = String::new(); // 127.0.0.1, which the certificate does not name
    let mut system = good.clone();
    system.tls.ca_file = data("client.pem"); // an authority that did not sign it
    for (options, reason) in [(named, "name"), (plain, "name"), (system, "certificate")] {
        let words = attempt(options).await.unwrap_err();
        assert!(words.contains("certificate") && words.contains(reason), "{words}");
    }
    let mut none = good;
    none.tls = Tls { verify: Verify::None, ..Tls::default() };
    assert_eq!(attempt(none).await, Ok(204));
    assert_eq!(fake.received().len(), 2, "nothing is sent to a server that is not believed");
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_server_that_asks() {
    let fake = Fake::start();
    let mut options = secure(&fake, true);
    assert!(attempt(options.clone()).await.is_err());
    options.tls.cert_file = data("client.pem");
    options.tls.key_file = data("client.key");
    assert_eq!(attempt(options).await, Ok(204));
}

#[test]
fn bad_options_are_all_named() {
    for (url, reason) in [
        ("", "must be an address"),
        ("127.0.0.1:8428", "must be an address"),
        ("ftp://127.0.0.1", "http://"),
        ("localhost:8428", "must be an address"),
    ] {
        let errors = refusals(options(url));
        assert!(errors.len() == 1 && errors[0].starts_with("url: "), "{url}: {errors:?}");
        assert!(errors[0].contains(reason), "{url}: {errors:?}");
    }
    let mut bad = options("http://127.0.0.1");
    bad.headers.insert("Content-Type".into(), Secret::new("x"));
    bad.proxy = Secret::new("nowhere");
    bad.timeout = Period::secs(0);
    bad.tls.cert_file = "x".into();
    bad.auth.password = Secret::new("x");
    let errors = refusals(bad).join("\n");
    for option in ["headers.Content-Type: ", "proxy: ", "timeout: ", "tls: ", "auth.username: "] {
        assert!(errors.contains(option), "{option} is missing in\n{errors}");
    }
}

#[test]
fn the_buffer_of_a_body_does_not_stay_large() {
    let mut body = Body::new();
    body.snappy(&vec![1; 4 << 20]).unwrap();
    body.snappy(&[1; 10]).unwrap();
    let (lent, _) = body.lend();
    assert!(lent.len() < 1000, "{}", lent.len());
}

#[test]
fn an_equal_value_with_a_new_address_takes_its_entry_over() {
    let mut cache = ByIdentity::default();
    let first = Arc::new("a".to_owned());
    let second = Arc::new("a".to_owned());
    assert_eq!(cache.adopt(&first, 1, || 10), (0, true));
    assert_eq!(cache.adopt(&second, 1, || 20), (0, false));
    assert_eq!((cache.find(&first), cache.find(&second)), (None, Some(0)));
    assert_eq!(cache.adopt(&Arc::new("b".to_owned()), 1, || 30), (1, true), "a hash is no proof");
    assert!(cache.retain(|entry| entry.value != 10));
    assert_eq!(cache.find(&second), None);
    assert_eq!(*cache.value(0), 30);
}

proptest! {
    #[test]
    fn fields_read_back_by_prost(number: i64, double: f64, bytes: Vec<u8>, varint: u64) {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Inner {
            #[prost(int64, tag = "1")]
            number: i64,
            #[prost(double, tag = "2")]
            double: f64,
            #[prost(bytes = "vec", tag = "3")]
            bytes: Vec<u8>,
            #[prost(uint64, tag = "20")]
            varint: u64,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct Outer {
            #[prost(message, repeated, tag = "5")]
            inner: Vec<Inner>,
        }
        let mut out = Vec::new();
        let opened = open(&mut out, 5);
        put_int(&mut out, 1, number);
        put_double(&mut out, 2, double);
        put_bytes(&mut out, 3, &bytes);
        put_varint(&mut out, 20 << 3);
        let before = out.len();
        put_varint(&mut out, varint);
        prop_assert_eq!(out.len() - before, varint_len(varint));
        close(&mut out, &opened);
        let read = <Outer as prost::Message>::decode(&out[..]).unwrap();
        let inner = &read.inner[0];
        prop_assert_eq!(inner.number, number);
        prop_assert_eq!(inner.double.to_bits(), double.to_bits());
        prop_assert_eq!(&inner.bytes, &bytes);
        prop_assert_eq!(inner.varint, varint);
    }

    #[test]
    fn bodies_read_back(raw: Vec<u8>) {
        let mut body = Body::new();
        body.snappy(&raw).unwrap();
        prop_assert_eq!(&snap::raw::Decoder::new().decompress_vec(body.as_slice()).unwrap(), &raw);
        body.zstd(&raw).unwrap();
        prop_assert_eq!(&zstd::bulk::decompress(body.as_slice(), raw.len()).unwrap(), &raw);
    }

    #[test]
    fn no_header_makes_retry_after_panic(header: String) {
        retry_after(&header, UNIX_EPOCH);
    }
}
