//! Why a broker's certificate is not good. librdkafka says only that it is not: OpenSSL's reason is lost on the way.
//!
//! The certificate is looked at once more by rustls, which says whether it has expired, is signed by somebody else or is for
//! another name. Nothing is sent but a greeting.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::tls::Tls;

/// How long the broker may take for each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// What rustls has against the certificate of the broker that `reason`, librdkafka's words, begins with. `None`: nothing, or
/// it could not be looked at.
pub(super) fn certificate(reason: &str, tls: &Tls) -> Option<String> {
    if !reason.contains("certificate verify failed") {
        return None;
    }
    let address = reason.split_once("://")?.1;
    let address = address.split_once('/').map_or(address, |(address, _)| address);
    let address = address.split_once(": ").map_or(address, |(address, _)| address);
    let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let config = Arc::new(tls.client(true).ok()?);
    let mut socket =
        TcpStream::connect_timeout(&address.to_socket_addrs().ok()?.next()?, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut connection = ClientConnection::new(config, name).ok()?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
            return matches!(cause, rustls::Error::InvalidCertificate(_))
                .then(|| cause.to_string());
        }
    }
    None
}
