//! The supervisor of an asynchronous input: runs it, and builds and runs it again when it fails or panics.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sentinel_contract::{Cause, Emitter, Service, Stop};

use crate::backoff::Backoff;
use crate::panic::guard_async;
use crate::telemetry::{Condition, Plugin};

/// A service input at run time.
pub(crate) struct ServiceTask {
    /// The first one, already built.
    pub service: Box<dyn Service>,
    /// Builds it again.
    pub rebuild: Box<dyn Fn() -> Result<Box<dyn Service>, Cause> + Send + Sync>,
    /// Its condition and counters.
    pub state: Arc<Plugin>,
    /// Where it puts what it read.
    pub emitter: Emitter,
    /// When to stop.
    pub stop: Stop,
}

impl ServiceTask {
    /// Runs until stopped.
    pub(crate) async fn run(self) {
        let ServiceTask { service, rebuild, state, emitter, stop } = self;
        let mut backoff = Backoff::new(Arc::as_ptr(&state) as u64);
        let mut next = Some(service);
        // Our own emitter is dropped at the stop, so that the lane sees its end when the service drops its copy.
        let mut emitter = Some(emitter);
        while !stop.reading.is_cancelled() {
            let Some(out) = emitter.clone() else { break };
            let started = std::time::Instant::now();
            let failure = match next.take().map_or_else(&rebuild, Ok) {
                Ok(service) => {
                    let run = guard_async(service.run(out, stop.clone()));
                    tokio::pin!(run);
                    let ended = tokio::select! {
                        ended = &mut run => ended,
                        () = stop.reading.cancelled() => {
                            drop(emitter.take());
                            run.await
                        }
                    };
                    match ended {
                        Ok(Ok(())) if stop.reading.is_cancelled() => return,
                        Ok(Ok(())) => "ended by itself".to_owned(),
                        Ok(Err(error)) => format!("{error:#}"),
                        Err(words) => words,
                    }
                }
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > crate::backoff::LAST {
                backoff.reset(); // it worked: this is another failure
            }
            let pause = backoff.next(None);
            tracing::error!(error = %failure, pause_s = pause.as_secs_f32(), "the input failed and is started again");
            state.fail(Condition::Failed, failure);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.reading.cancelled() => return,
            }
            state.counters.restarts.fetch_add(1, Relaxed);
            state.set(Condition::Active);
        }
    }
}
