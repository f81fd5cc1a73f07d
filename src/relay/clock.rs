//! When a session is due.

use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::Pace;
use super::turn::Turn;
use crate::protocol::Wait;

/// How long last words may take to leave while the client reads none of them.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long last words may take in all, however steadily the client sips them.
pub(super) const LAST_WORDS_IN_ALL: Duration = Duration::from_secs(300);

/// How long a session may go on for the replies it still owes, once told to stop,
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// and how long its last words may then take. The server waits a little longer than for both.
pub(super) const DRAIN_LAST_WORDS: Duration = Duration::from_secs(2);

/// When a session is due, and why.
pub(super) struct Clock {
    /// When something must have happened; none while nothing must.
    due: Option<Instant>,
    wait: Wait,
    login: Login,
    /// Spliced, and opaque bytes wait or the client has ended.
    bounded: bool,
    /// The latest end of last words.
    end: Option<Instant>,
    pace: Pace,
    /// Until then the client waits, and so does everything else.
    pause: Option<Instant>,
}

/// What is to be done when a session is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The client's octets come fast enough.
    GoOn,
    /// Nothing came in time.
    Late(Wait),
    /// Something came, but too little.
    TooSlow,
}

/// The client's login, which has one deadline in all, whatever else is waited for in between.
#[derive(Clone, Copy)]
enum Login {
    /// The backend has not greeted yet.
    NotYet,
    By(Instant),
    Done,
}

/// What happened since the clock was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    /// The client's input was judged and some of it is done with.
    pub client: bool,
    /// The backend's was.
    pub backend: bool,
    /// Something left for one of the two.
    pub written: bool,
    /// Something was read.
    pub read: bool,
}

impl Moved {
    pub fn any(self) -> bool {
        self.client || self.backend || self.written || self.read
    }
}

impl Clock {
    /// A clock that runs from now on.
    pub fn new(wait: Wait, least_rate: Option<NonZeroU32>, allowed: &dyn Fn(Wait) -> Duration) -> Self {
        let pace = Pace::new(least_rate, allowed(Wait::Body));
        let mut clock = Self { due: None, wait, login: Login::NotYet, bounded: false, end: None, pace, pause: None };
        clock.restart(wait, Instant::now(), allowed);
        clock
    }

    pub fn due(&self) -> Option<Instant> {
        let due = match (self.due, self.pace.due()) {
            (Some(due), Some(pace)) => Some(due.min(pace)),
            (due, pace) => due.or(pace),
        };
        self.pause.or(due)
    }

    /// Lets the client wait until then for all that is on its way to it.
    pub fn pause(&mut self, until: Instant) {
        self.pause = self.pause.max(Some(until));
    }

    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Ends the pause, if there is one.
    pub fn resume(&mut self) -> bool {
        self.pause.take().is_some()
    }

    /// Whether what is waited for should have come by now, whatever was paused for.
    pub fn is_late(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// A deadline runs from the moment its wait began or last saw progress of the side that is waited for. Bytes alone are
    /// none, and a client that talks on does not make a silent backend any faster. While it is the backend that does not
    /// take a message (`jammed`), the client cannot send more of it.
    pub fn judging(&mut self, wait: Wait, moved: Moved, jammed: bool, turn: &mut Turn<'_>) {
        match wait {
            Wait::Body if !jammed => self.pace.run(turn),
            Wait::Delivery => self.pace.refill(turn.allowed()(Wait::Body)),
            _ => self.pace.rest(turn),
        }
        let progress = match wait {
            Wait::Greeting | Wait::Reply | Wait::Delivery => moved.backend,
            Wait::Command | Wait::Login | Wait::Body => moved.client,
        };
        if progress || moved.written || wait != self.wait {
            self.restart(wait, turn.now(), turn.allowed());
        }
    }

    fn restart(&mut self, wait: Wait, now: Instant, allowed: &dyn Fn(Wait) -> Duration) {
        let time = allowed(wait);
        self.wait = wait;
        self.login = match (wait, self.login) {
            (Wait::Greeting, Login::NotYet) => Login::NotYet,
            (Wait::Command | Wait::Body | Wait::Delivery, _) => Login::Done,
            (_, Login::NotYet) | (Wait::Login, Login::Done) => Login::By(now + allowed(Wait::Login)),
            (_, login) => login,
        };
        self.due = Some(match (wait, self.login) {
            (Wait::Login, Login::By(end)) => end,
            // Somebody who has commands answered all the time is not logged in, either. The backend may use its time, though.
            (_, Login::By(end)) => (now + time).min(end + time),
            _ => now + time,
        });
    }

    /// What a session that was judged is due for; `octets` is all that came from the client.
    pub fn expired(&mut self, octets: u64, turn: &Turn<'_>) -> Due {
        let now = Instant::now(); // it is later than when this turn began
        let late = self.due.is_none_or(|due| due <= now);
        if !late {
            let whole = turn.allowed()(Wait::Body);
            return match self.pace.is_over(octets, whole, now) {
                false => Due::GoOn,
                // Who has sent nothing for long is silent rather than slow.
                true if self.due.is_some_and(|due| due < now + whole / 2) => Due::Late(self.wait),
                true => Due::TooSlow,
            };
        }
        Due::Late(match (self.login, self.due) {
            (Login::By(end), Some(due)) if due >= end + turn.allowed()(self.wait) => Wait::Login,
            _ => self.wait,
        })
    }

    /// A spliced session may idle as long as both sides like (IDLE, RFC 2177); keepalive finds the dead ones. But
    /// bytes that wait must be taken, and after the client's end the backend must go on or end, too.
    pub fn spliced(&mut self, bounded: bool, moved: bool, turn: &mut Turn<'_>) {
        self.pace.rest(turn);
        if !bounded {
            self.due = None;
        } else if moved || !self.bounded {
            self.due = Some(turn.now() + turn.allowed()(Wait::Delivery));
        }
        self.bounded = bounded;
    }

    /// The replies that are owed may still come.
    pub fn draining(&mut self, turn: &mut Turn<'_>) {
        self.pause = None;
        self.pace.rest(turn);
        self.due = Some(turn.now() + DRAIN_GRACE);
    }

    /// Only last words are left.
    pub fn closing(&mut self, stopping: bool, turn: &mut Turn<'_>) {
        self.pause = self.pause.filter(|_| !stopping);
        self.pace.rest(turn);
        self.end = Some(turn.now() + if stopping { DRAIN_LAST_WORDS } else { LAST_WORDS_IN_ALL });
        self.heard(turn);
    }

    /// The client has taken some of them.
    pub fn heard(&mut self, turn: &mut Turn<'_>) {
        let silent = turn.now() + GRACE;
        self.due = Some(self.end.map_or(silent, |end| end.min(silent)));
    }
}

/// A session's place among the runtime's timers: taken only while something is due.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `due` is over. The place is moved only when it has come up or would too late: progress is far more frequent.
    ///
    /// tokio lets nothing be ready for a task that has used up its turn, which a client can bring about for as long as it sends
    /// small records fast enough: a deadline does not take part in that.
    pub fn poll(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else {
            self.0 = None;
            return Poll::Pending;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }

    #[cfg(test)]
    pub fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::task::coop::consume_budget;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_takes_no_place_while_nothing_is_due() {
        let mut timer = Timer::default();
        let mut cx = Context::from_waker(Waker::noop());
        let soon = Instant::now() + GRACE;
        assert!(timer.poll(None, &mut cx).is_pending());
        assert!(!timer.is_taken());
        assert!(timer.poll(Some(soon), &mut cx).is_pending());
        assert!(timer.is_taken());
        assert!(timer.poll(None, &mut cx).is_pending());
        assert!(!timer.is_taken(), "an idle session keeps its place");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_comes_up_in_a_session_that_is_never_idle() {
        let mut timer = Timer::default();
        let due = Instant::now() + GRACE;
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(Some(due), cx))).await.is_pending());
        tokio::time::advance(2 * GRACE).await;
        let polled = poll_fn(|cx| {
            // Reading does the same.
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(timer.poll(Some(due), cx))
        });
        assert!(polled.await.is_ready(), "a busy client has no deadlines");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_follows_what_is_due_to_either_side() {
        let mut timer = Timer::default();
        let mut cx = Context::from_waker(Waker::noop());
        let began = Instant::now();
        assert!(timer.poll(Some(began + GRACE), &mut cx).is_pending());
        assert!(timer.poll(Some(began + 3 * GRACE), &mut cx).is_pending());
        tokio::time::advance(2 * GRACE).await;
        assert!(timer.poll(Some(began + 3 * GRACE), &mut cx).is_pending(), "put off, and fires all the same");
        assert!(timer.poll(Some(began + GRACE), &mut cx).is_ready(), "brought forward, and does not fire");
        tokio::time::advance(2 * GRACE).await;
        assert!(timer.poll(Some(began + 3 * GRACE), &mut cx).is_ready());
    }
}
