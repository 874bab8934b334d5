//! Panics of plugins, caught and put into words: one plugin's panic never stops another.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// Runs `work`; `Err` holds the words of a panic.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| words(&*payload))
}

/// Awaits `work`; `Err` holds the words of a panic.
pub(crate) async fn guard_async<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = Box::pin(work);
    std::future::poll_fn(|cx| match guard(|| work.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(words) => Poll::Ready(Err(words)),
    })
    .await
}

/// What a panic said.
pub(crate) fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}
