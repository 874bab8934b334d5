//! Connections within limits: how many at once, how long one may be silent, and how much it may send unanswered.
//!
//! hyper reads up to 400 kB of headers and, behind `axum::serve`, waits for them without end. So the limits are kept
//! here, below it: a connection on which nothing was answered for `QUIET`, or which sent more than `UNANSWERED` bytes
//! since the last answer, is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// A page uses one, a browser up to six; the rest waits in the kernel's queue.
pub(crate) const CONNECTIONS: usize = 32;
/// Longer than a read of history may take.
pub(crate) const QUIET: Duration = Duration::from_secs(15);
/// The longest request there is, with a browser's headers and cookies of other programs on this host.
pub(crate) const UNANSWERED: usize = 32 << 10;
/// After an error of accept (no file descriptors left): it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A listener that counts what it accepts.
pub(crate) struct Connections {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Connections {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Connections { listener, free: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let quiet = Box::pin(tokio::time::sleep(QUIET));
                    let connection = Connection { stream, quiet, unanswered: 0, _permit: permit };
                    return (connection, address);
                }
                Err(error) => {
                    tracing::warn!(%error, "the page cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A stream that closes itself when its limits are reached.
pub(crate) struct Connection {
    stream: TcpStream,
    quiet: Pin<Box<Sleep>>,
    unanswered: usize,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Registers for the time when it has been quiet for too long.
    fn expired(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.quiet.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn answered(&mut self) {
        self.unanswered = 0;
        self.quiet.as_mut().reset(Instant::now() + QUIET);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.expired(context)?;
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.unanswered += buffer.filled().len() - before;
        if self.unanswered > UNANSWERED {
            return Poll::Ready(Err(io::Error::other("the request is too long")));
        }
        poll
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.expired(context)?;
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(poll, Poll::Ready(Ok(_))) {
            self.answered();
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.expired(context)?;
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if matches!(poll, Poll::Ready(Ok(_))) {
            self.answered();
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
