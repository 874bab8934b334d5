//! How many requests of one output may be under way: additive increase, multiplicative decrease (Chiu and Jain 1989; as a
//! window of requests, Jacobson 1988).
//!
//! It opens only while there is a backlog, by one for each window of answers that were good, and is halved by a failure;
//! failures of requests that began before it was last halved say nothing new. With nothing to catch up on it is one.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The window.
pub(super) struct Window {
    most: usize,
    state: Mutex<State>,
    /// For writers that wait for a turn.
    turns: Notify,
    /// For the dispatcher.
    room: Notify,
}

struct State {
    size: f64,
    under_way: usize,
    /// Writers that wait for a turn: theirs comes before that of a write which has not begun.
    waiting: usize,
    halved: Instant,
    /// The backend asked for a pause until then.
    closed: Option<Instant>,
}

impl State {
    /// Room for a request, with those before it that `wait`.
    fn has_room(&self, waiting: usize) -> bool {
        self.under_way + waiting < self.size as usize
    }
}

impl Window {
    /// For at most this many requests.
    pub(super) fn new(most: usize) -> Self {
        let state =
            State { size: 1.0, under_way: 0, waiting: 0, halved: Instant::now(), closed: None };
        let (turns, room) = (Notify::new(), Notify::new());
        Window { most, state: Mutex::new(state), turns, room }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that may be under way.
    pub(super) fn size(&self) -> usize {
        self.state().size as usize
    }

    /// Waits until there may be room. For one waiter.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// The turn of a write that begins, if there is room.
    pub(super) fn try_turn(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.state();
        let free = state.has_room(state.waiting);
        state.under_way += usize::from(free);
        free.then(|| Turn(Arc::clone(self)))
    }

    /// Waits for a turn of a write that has begun.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let _waiting = Waiting::new(self);
        loop {
            let mut freed = pin!(self.turns.notified());
            freed.as_mut().enable(); // or what is freed between the look and the wait were missed
            {
                let mut state = self.state();
                if state.has_room(0) {
                    state.under_way += 1;
                    return Turn(Arc::clone(self));
                }
            }
            freed.await;
        }
    }

    /// A request was answered well, and more waits than fits into the next.
    pub(super) fn grow(&self) {
        let mut state = self.state();
        state.size = (state.size + 1.0 / state.size).min(self.most as f64);
        drop(state);
        self.freed();
    }

    /// A request that began then has failed; the backend asked for a pause, or not.
    pub(super) fn halve(&self, began: Instant, pause: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state();
        if began >= state.halved {
            state.size = (state.size / 2.0).max(1.0);
            state.halved = now;
        }
        state.closed = state.closed.max(pause.map(|pause| now + pause));
    }

    /// How long the backend wants to be left alone, when it said so.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let left = self.state().closed?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }

    /// One request at a time again.
    pub(super) fn reset(&self) {
        self.state().size = 1.0;
    }

    fn freed(&self) {
        self.turns.notify_waiters();
        self.room.notify_one();
    }
}

/// The right to one request; given back when dropped.
pub(super) struct Turn(Arc<Window>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.freed();
    }
}

/// A writer that waits for a turn, until dropped.
struct Waiting<'a>(&'a Window);

impl<'a> Waiting<'a> {
    fn new(window: &'a Window) -> Self {
        window.state().waiting += 1;
        Waiting(window)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        self.0.freed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_good_answers(window: &Window, answers: usize) -> usize {
        (0..answers).for_each(|_| window.grow());
        window.size()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_by_one_for_each_window_of_good_answers_up_to_its_limit() {
        let window = Window::new(3);
        let sizes: Vec<usize> = (0..8).map(|_| after_good_answers(&window, 1)).collect();
        assert_eq!(sizes, [2, 2, 2, 3, 3, 3, 3, 3]);
        window.reset();
        assert_eq!(window.size(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_together_halve_it_once() {
        let window = Window::new(8);
        after_good_answers(&window, 100);
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        (0..8).for_each(|_| window.halve(began, None));
        assert_eq!(window.size(), 4);
        tokio::time::advance(Duration::from_secs(1)).await;
        window.halve(Instant::now(), None);
        assert_eq!(window.size(), 2);
        (0..9).for_each(|_| window.halve(Instant::now(), None));
        assert_eq!(window.size(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_as_many_as_its_size_and_a_waiter_gets_the_next() {
        let window = Arc::new(Window::new(2));
        let first = window.try_turn().unwrap();
        assert!(window.try_turn().is_none());
        let waiter = tokio::spawn({
            let window = Arc::clone(&window);
            async move { window.turn().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(first);
        assert!(window.try_turn().is_none(), "whoever waits comes first");
        let second = waiter.await.unwrap();
        assert!(window.try_turn().is_none());
        window.grow();
        let third = window.try_turn().unwrap();
        window.halve(Instant::now(), None);
        drop(third);
        assert!(window.try_turn().is_none(), "one is under way, and one may be");
        drop(second);
        assert!(window.try_turn().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_backend_asked_for_is_for_all_and_the_longest_counts() {
        let window = Window::new(2);
        assert_eq!(window.closed_for(), None);
        window.halve(Instant::now(), Some(Duration::from_secs(9)));
        window.halve(Instant::now(), Some(Duration::from_secs(5)));
        window.halve(Instant::now(), None);
        assert_eq!(window.closed_for(), Some(Duration::from_secs(9)));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(window.closed_for(), None);
    }
}
