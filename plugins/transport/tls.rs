//! TLS by rustls with ring's cryptography: the options and the client configuration made of them.
//!
//! The certificates of the system are read from the one file where the distribution keeps them, and only for an
//! `https` address: a client that never speaks TLS does not pay for them. Revocation is not checked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sentinel_contract::{Cause, ConfigError};
use serde::Deserialize;

/// Where distributions keep the certificates they trust, in one PEM file: Debian, Fedora, SUSE, RHEL, Alpine.
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The option `tls` of a plugin.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities to trust; empty: those of the system.
    pub ca_file: String,
    /// PEM file of the certificate to show.
    pub cert_file: String,
    /// PEM file of its key.
    pub key_file: String,
    /// Whether the server's certificate is checked.
    pub verify: Verify,
    /// The name that the server's certificate must have; empty: the host of the address.
    pub server_name: String,
}

/// How far the server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Its authority, its dates and its name.
    #[default]
    Full,
    /// Nothing: whoever answers is believed.
    None,
}

impl Tls {
    /// Checks what can be checked without touching a file.
    pub fn check(&self, https: bool) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if !https && *self != Tls::default() {
            errors.push(ConfigError::value("tls", "is set, but the url does not begin with https"));
        }
        if self.cert_file.is_empty() != self.key_file.is_empty() {
            errors.push(ConfigError::value("tls", "cert_file and key_file go together"));
        }
        if self.name().is_err() {
            errors.push(ConfigError::value("tls.server_name", "is not a host name or address"));
        }
        errors
    }

    fn name(&self) -> Result<Option<ServerName<'static>>, Cause> {
        match self.server_name.as_str() {
            "" => Ok(None),
            name => Ok(Some(ServerName::try_from(name.to_owned())?)),
        }
    }

    /// The configuration of a client. Reads files when `https`.
    pub(crate) fn client(&self, https: bool) -> Result<ClientConfig, Cause> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        if !https {
            let nobody = RootCertStore::empty();
            return Ok(builder.with_root_certificates(nobody).with_no_client_auth());
        }
        let verifier: Arc<dyn ServerCertVerifier> = match self.verify {
            Verify::None => Arc::new(Unverified(provider)),
            Verify::Full => {
                let roots = Arc::new(self.roots()?);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
                match self.name()? {
                    None => inner,
                    Some(name) => Arc::new(Named { inner, name }),
                }
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        if self.cert_file.is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .with_context(|| format!("cannot read tls.key_file {}", self.key_file))?;
        let config = builder.with_client_auth_cert(certificates(&self.cert_file)?, key)?;
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, Cause> {
        let mut roots = RootCertStore::empty();
        if !self.ca_file.is_empty() {
            for certificate in certificates(&self.ca_file)? {
                let why = || format!("{} holds a certificate that cannot be used", self.ca_file);
                roots.add(certificate).with_context(why)?;
            }
            return Ok(roots);
        }
        let given = std::env::var("SSL_CERT_FILE").ok();
        let file = given
            .as_deref()
            .or_else(|| SYSTEM_CERTIFICATES.into_iter().find(|file| Path::new(file).is_file()))
            .context("no trusted certificates found: install ca-certificates or set tls.ca_file")?;
        let (_added, _not_understood) = roots.add_parsable_certificates(certificates(file)?);
        anyhow::ensure!(!roots.is_empty(), "{file} holds no certificate that can be used");
        Ok(roots)
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read certificates of {file}"))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.with_context(|| format!("{file} is not in PEM format"))?;
    anyhow::ensure!(!found.is_empty(), "{file} holds no certificate");
    Ok(found)
}

/// Believes whoever answers, but still checks that he holds the key of the certificate he shows.
struct Unverified(Arc<CryptoProvider>);

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified")
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks everything, with another name than that of the address.
#[derive(Debug)]
struct Named {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
