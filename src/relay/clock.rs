//! When a session is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::Wait;

/// How long last words may take to leave while the client reads none of them.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long last words may take in all, however steadily the client sips them.
pub(super) const LAST_WORDS_IN_ALL: Duration = Duration::from_secs(300);

/// How long a session may go on for the replies it still owes, once told to stop,
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// and how long its last words may then take. The server waits a little longer than for both.
pub(super) const DRAIN_LAST_WORDS: Duration = Duration::from_secs(2);

/// The one timer of a session, and what it is set to.
pub(super) struct Clock<'a> {
    allowed: &'a (dyn Fn(Wait) -> Duration + Sync),
    /// When something must have happened.
    due: Instant,
    wait: Wait,
    login: Login,
    /// Spliced, and opaque bytes wait or the client has ended.
    bounded: bool,
    /// The latest end of last words.
    end: Instant,
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
#[derive(Clone, Copy, Default)]
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

impl<'a> Clock<'a> {
    pub fn new(wait: Wait, allowed: &'a (dyn Fn(Wait) -> Duration + Sync)) -> Self {
        let now = Instant::now();
        let mut clock = Self { allowed, due: now, wait, login: Login::NotYet, bounded: false, end: now };
        clock.restart(wait, now);
        clock
    }

    pub fn due(&self) -> Instant {
        self.due
    }

    /// A deadline runs from the moment its wait began or last saw progress of the side that is waited for. Bytes alone are
    /// none, and a client that talks on does not make a silent backend any faster.
    pub fn judging(&mut self, wait: Wait, moved: Moved) {
        let progress = match wait {
            Wait::Greeting | Wait::Reply | Wait::Delivery => moved.backend,
            Wait::Command | Wait::Login | Wait::Body => moved.client,
        };
        if progress || moved.written || wait != self.wait {
            self.restart(wait, Instant::now());
        }
    }

    fn restart(&mut self, wait: Wait, now: Instant) {
        let allowed = (self.allowed)(wait);
        self.wait = wait;
        self.login = match (wait, self.login) {
            (Wait::Greeting, Login::NotYet) => Login::NotYet,
            (Wait::Command | Wait::Body | Wait::Delivery, _) => Login::Done,
            (_, Login::NotYet) | (Wait::Login, Login::Done) => Login::By(now + (self.allowed)(Wait::Login)),
            (_, login) => login,
        };
        self.due = match (wait, self.login) {
            (Wait::Login, Login::By(end)) => end,
            // Somebody who has commands answered all the time is not logged in, either. The backend may use its time, though.
            (_, Login::By(end)) => (now + allowed).min(end + allowed),
            _ => now + allowed,
        };
    }

    /// Whose time is over.
    pub fn expired(&self) -> Wait {
        match self.login {
            Login::By(end) if self.due >= end + (self.allowed)(self.wait) => Wait::Login,
            _ => self.wait,
        }
    }

    /// A spliced session may idle as long as both sides like (IDLE, RFC 2177); keepalive finds the dead ones. But
    /// bytes that wait must be taken, and after the client's end the backend must go on or end, too.
    pub fn spliced(&mut self, bounded: bool, moved: bool) {
        if !bounded {
            self.due = far_future();
        } else if moved || !self.bounded {
            self.due = Instant::now() + (self.allowed)(Wait::Delivery);
        }
        self.bounded = bounded;
    }

    /// The replies that are owed may still come.
    pub fn draining(&mut self) {
        self.due = Instant::now() + DRAIN_GRACE;
    }

    /// Only last words are left.
    pub fn closing(&mut self, stopping: bool) {
        let now = Instant::now();
        self.end = now + if stopping { DRAIN_LAST_WORDS } else { LAST_WORDS_IN_ALL };
        self.due = self.end.min(now + GRACE);
    }

    /// The client has taken some of them.
    pub fn heard(&mut self) {
        self.due = self.end.min(Instant::now() + GRACE);
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365)
}
