//! The queue of replies that the client waits for, in the order of its commands (RFC 2920 §3.1).

use std::collections::VecDeque;

use bytes::BytesMut;

/// The most commands waiting for their answers; what comes behind them is held.
pub const PENDING_LIMIT: usize = 100;

/// A reply that is owed to the client.
#[derive(Debug)]
pub enum Pending {
    /// EHLO.
    Ehlo(Box<str>),
    /// HELO.
    Helo(Box<str>),
    /// AUTH or a response in its exchange.
    Auth,
    /// MAIL, and whether it asks for SMTPUTF8.
    Mail {
        /// SMTPUTF8 was asked for.
        utf8: bool,
    },
    /// RCPT, and whom a Received field may name.
    Rcpt(Box<str>),
    /// DATA: its 354.
    Data,
    /// The message's verdict.
    EndOfData,
    /// A chunk, which has a verdict of its own; the last one's is the message's.
    Bdat {
        /// The message ends with it.
        last: bool,
    },
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
    /// Anything else, and the name it is counted under.
    Other(&'static str),
    /// Our own reply, which waits for its turn.
    Own(&'static [u8]),
}

impl Pending {
    /// Whether the client must hear the answer before anything else has a meaning: RFC 2920 §3.1 has these commands
    /// last in a group.
    pub fn is_last_in_group(&self) -> bool {
        matches!(self, Self::Ehlo(_) | Self::Helo(_) | Self::Auth | Self::Data | Self::Quit)
    }

    /// The name that a command is counted under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ehlo(_) => "ehlo",
            Self::Helo(_) => "helo",
            Self::Auth => "auth",
            Self::Mail { .. } => "mail",
            Self::Rcpt(_) => "rcpt",
            Self::Data | Self::EndOfData => "data",
            Self::Bdat { .. } => "bdat",
            Self::Rset => "rset",
            Self::Quit => "quit",
            Self::Other(name) => name,
            Self::Own(_) => "unknown",
        }
    }
}

/// The queue. A client that waits for each answer never has more than one thing in it, so the first has its place here and
/// only the others need memory of their own, which goes when the client has all its answers.
#[derive(Debug, Default)]
pub struct Queue {
    front: Option<Pending>,
    /// Empty where there is no `front`.
    behind: VecDeque<Pending>,
}

impl Queue {
    /// Whether the client has all its answers.
    pub fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// Whether another command must wait.
    pub fn is_full(&self) -> bool {
        self.behind.len() + 1 >= PENDING_LIMIT
    }

    /// The oldest one.
    pub fn front(&self) -> Option<&Pending> {
        self.front.as_ref()
    }

    /// The newest one.
    pub fn back(&self) -> Option<&Pending> {
        self.behind.back().or(self.front.as_ref())
    }

    /// A command went to the backend.
    pub fn push(&mut self, pending: Pending) {
        if self.front.is_none() {
            self.front = Some(pending);
        } else {
            self.behind.push_back(pending);
        }
    }

    /// The backend answers the oldest one.
    pub fn pop(&mut self) -> Option<Pending> {
        std::mem::replace(&mut self.front, self.behind.pop_front())
    }

    /// Our own replies whose turn has come.
    pub fn flush(&mut self, to_client: &mut BytesMut) {
        while let Some(Pending::Own(reply)) = self.front {
            to_client.extend_from_slice(reply);
            self.pop();
        }
        if self.front.is_none() && self.behind.capacity() > 0 {
            // An idle session holds no memory for a burst of long ago.
            self.behind = VecDeque::new();
        }
    }
}
