//! The backend's replies.

use bytes::{BufMut, BytesMut};

use super::content::Content;
use super::pending::Pending;
use super::{Early, Greeting, SmtpDialogue, State, Transaction};
use crate::facts::Reason;
use crate::protocol::smtp::capabilities::{self, Auth};
use crate::protocol::smtp::command::{self, Verb};
use crate::protocol::smtp::received::Hello;
use crate::protocol::smtp::reply::{self, Reply, ReplyParse, first_reply};
use crate::protocol::smtp::sasl::Exchange;
use crate::protocol::smtp::{path, reasons};
use crate::protocol::{AuthRule, Event, Out, Verdict};

impl SmtpDialogue {
    /// Judges what the backend sent: whole replies, each passed, rewritten or the end.
    pub(super) fn backend(&mut self, input: &[u8], out: &mut Out) -> Verdict {
        let reply = match first_reply(input) {
            ReplyParse::Whole(reply) => reply,
            ReplyParse::Partial => return Verdict::More,
            ReplyParse::Nonsense => return self.backend_error(reasons::BACKEND_NONSENSE, out),
            ReplyParse::TooLong => return self.backend_error(reasons::BACKEND_TOO_LONG, out),
        };
        let whole = input.get(..reply.len).unwrap_or_default();
        match std::mem::replace(&mut self.state, State::Commands) {
            State::Greeting(greeting) => return self.greeting(greeting, reply, whole, out),
            State::Replaying(hello) => return self.replayed(hello, reply, whole, out),
            state => self.state = state,
        }
        if reply.code == 421 {
            // RFC 5321 §3.8: it may answer anything, and nothing follows it.
            if let Some(message @ (Pending::EndOfData | Pending::Bdat { last: true })) = self.queue.front() {
                out.events.push(Event::Command { name: message.name(), ok: false });
                out.events.push(Event::Message { accepted: false });
            }
            return self.last_word(reply, reasons::BACKEND_CLOSING, out);
        }
        match self.queue.pop() {
            Some(pending) => self.answer(pending, reply, whole, out),
            // A message refused before it is all there: as good as a verdict, but the backend is out of step with us.
            None if matches!(self.state, State::Content(_)) && reply.code >= 400 => {
                out.events.push(Event::Command { name: "data", ok: false });
                out.events.push(Event::Message { accepted: false });
                self.last_word(reply, reasons::BACKEND_UNASKED, out)
            }
            None => self.backend_error(reasons::BACKEND_UNASKED, out),
        }
    }

    /// The reply is passed on, and nothing after it.
    fn last_word(&mut self, reply: Reply, reason: Reason, out: &mut Out) -> Verdict {
        out.events.push(Event::Ending(reason));
        self.state = State::Closing;
        Verdict::Pass(reply.len)
    }

    fn greeting(&mut self, greeting: Greeting, reply: Reply, whole: &[u8], out: &mut Out) -> Verdict {
        if reply.is_intermediate() {
            return self.backend_error(reasons::BACKEND_INTERMEDIATE, out);
        }
        match greeting {
            Greeting::Swallow if !reply.is_positive() => {
                // RFC 5321 §3.1: the client's EHLO gets what its greeting should have been.
                out.events.push(Event::Ending(reasons::BACKEND_REFUSES));
                self.state = State::Refusing(whole.into());
                Verdict::CutBackend
            }
            // The client is waiting for the answer to the command that brought it here.
            _ if !reply.is_positive() => self.last_word(reply, reasons::BACKEND_REFUSES, out),
            Greeting::Swallow | Greeting::Replay(None) => Verdict::Drop(reply.len),
            Greeting::Replay(Some(line)) => {
                if let Some(command) = command::parse(&line) {
                    let name = path::hello(command.argument, true).into();
                    self.state = State::Replaying(Hello { name, extended: command.verb == Verb::Ehlo });
                    out.to_backend.put_slice(&line);
                    out.to_backend.put_slice(b"\r\n");
                }
                Verdict::Drop(reply.len)
            }
        }
    }

    /// The client has had an answer to this hello long ago.
    fn replayed(&mut self, hello: Hello, reply: Reply, whole: &[u8], out: &mut Out) -> Verdict {
        if reply.is_intermediate() {
            return self.backend_error(reasons::BACKEND_INTERMEDIATE, out);
        }
        if !reply.is_positive() {
            // What the client should have heard then answers the command that brought it here: a name that is refused for good is
            // not to be tried again for days.
            let ended = if reply.code == 421 { reasons::BACKEND_CLOSING } else { reasons::BACKEND_REFUSES_HELLO };
            return self.last_word(reply, ended, out);
        }
        // What would go to the client now, it has had from the preamble.
        self.greeted(hello, whole, &mut BytesMut::new(), &mut out.events);
        Verdict::Drop(reply.len)
    }

    /// Takes note of an accepted hello; for EHLO, writes the reply as the client may see it.
    fn greeted(&mut self, hello: Hello, whole: &[u8], to_client: &mut BytesMut, events: &mut Vec<Event>) {
        // RFC 5321 §4.1.4: a hello also resets the transaction.
        self.transaction = Transaction::default();
        let extended = hello.extended;
        self.hello = Some(hello);
        self.chunking = false;
        if !extended {
            return;
        }
        let offered = self.origin.tls.is_some() && self.auth == AuthRule::InsideTls;
        let auth = if offered { Auth::Shown } else { Auth::Hidden };
        let announced = capabilities::filter_reply(whole, auth, to_client);
        self.chunking = announced.chunking;
        events.push(Event::Learned(announced.learned));
    }

    /// The backend's answer to `pending`.
    fn answer(&mut self, pending: Pending, reply: Reply, whole: &[u8], out: &mut Out) -> Verdict {
        let ok = reply.is_positive();
        // After any other 3xx the backend would take raw octets from the client that nobody judges; and a DATA that is answered
        // 2xx leaves open who is to speak.
        let goes_on = matches!((&pending, reply.code), (Pending::Data, 354) | (Pending::Auth, 334));
        if (reply.is_intermediate() && !goes_on) || (ok && matches!(pending, Pending::Data)) {
            return self.backend_error(reasons::BACKEND_INTERMEDIATE, out);
        }
        // A Postfix with `soft_bounce = yes` says each 5xx as a 4xx; there are no such codes of their own.
        if matches!(reply.code, 500..=504 | 535 | 400..=404 | 435) {
            self.errors = self.errors.saturating_add(1);
        }
        if !goes_on {
            out.events.push(Event::Command { name: pending.name(), ok });
        }
        match pending {
            Pending::Ehlo(name) if ok => {
                self.greeted(Hello { name, extended: true }, whole, &mut out.to_client, &mut out.events);
                return Verdict::Drop(reply.len);
            }
            Pending::Helo(name) if ok => {
                self.greeted(Hello { name, extended: false }, whole, &mut out.to_client, &mut out.events);
            }
            Pending::Auth if goes_on => {
                self.state = State::SaslResponse;
                self.challenged(whole, out);
                out.events.push(Event::Answered);
            }
            Pending::Auth => {
                self.unheard = (!ok).then_some(Early::SaslResponse);
                self.authenticated(reply.code, whole, out);
                out.events.push(Event::Answered);
            }
            Pending::Mail { utf8 } if ok => self.transaction = Transaction { utf8, ..Transaction::default() },
            Pending::Rcpt(recipient) if ok => {
                self.transaction.accepted = self.transaction.accepted.saturating_add(1);
                self.transaction.recipient = recipient;
            }
            // Those that are taken are bounded by the backend, which answers 452 to what is too many (RFC 5321 §4.5.3.1.10).
            Pending::Rcpt(_) => self.idle = self.idle.saturating_add(1),
            Pending::Data if goes_on => self.state = State::Content(Content::new(out.now)),
            Pending::Data => self.unheard = Some(Early::Content),
            Pending::EndOfData => {
                out.events.push(Event::Message { accepted: ok });
                self.transaction = Transaction::default();
                self.idle = 0;
            }
            Pending::Bdat { last } => self.chunk_answered(last, ok, out),
            Pending::Rset if ok => self.transaction = Transaction::default(),
            Pending::Quit => self.state = State::Closing,
            // Refused, or without consequences. `settle` has taken our own replies off the queue's front.
            Pending::Ehlo(_)
            | Pending::Helo(_)
            | Pending::Mail { .. }
            | Pending::Rset
            | Pending::Other(_)
            | Pending::Own(_) => {}
        }
        Verdict::Pass(reply.len)
    }

    /// With some mechanisms it is a challenge that refuses, and the rest is form.
    fn challenged(&mut self, whole: &[u8], out: &mut Out) {
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.challenge(reply::lines(whole).next().unwrap_or_default()) {
            let (method, user) = (exchange.method.clone(), exchange.user.clone());
            out.events.push(Event::Auth { method, user, ok: false });
        }
    }

    fn authenticated(&mut self, code: u16, whole: &[u8], out: &mut Out) {
        let Some(exchange) = self.exchange.take() else { return };
        let refused = exchange.was_refused(); // by a challenge: that was counted
        let Exchange { method, user, .. } = *exchange;
        match code {
            200..=299 => {
                self.user = Some(user.clone().unwrap_or_default().into());
                out.events.push(Event::Auth { method, user, ok: true });
            }
            _ if refused => {}
            535 | 435 if is_nobodys_verdict(whole) => {
                out.events.push(Event::Unjudged { method, user, reason: reasons::BACKEND_PUTS_OFF });
            }
            // RFC 4954 §6: this alone says that the credentials are no good; a Postfix with `soft_bounce = yes` says 435 for it.
            535 | 435 => out.events.push(Event::Auth { method, user, ok: false }),
            400..=499 => out.events.push(Event::Unjudged { method, user, reason: reasons::BACKEND_PUTS_OFF }),
            _ => {}
        }
    }

    /// RFC 3030 §2: every chunk has an answer; the last one's, or the first negative one, is the message's verdict.
    fn chunk_answered(&mut self, last: bool, ok: bool, out: &mut Out) {
        let transaction = &mut self.transaction;
        if transaction.accepted > 0 && !transaction.chunk_refused && (last || !ok) {
            out.events.push(Event::Message { accepted: ok });
        }
        if last {
            if transaction.accepted > 0 {
                self.idle = 0;
            }
            *transaction = Transaction::default();
        } else if !ok {
            // Should the backend take another chunk in spite of that, a new message begins with it.
            transaction.chunk_refused = true;
            transaction.chunks_began = false;
        }
    }
}

/// Whether a 535 only says that nobody was there to judge. Postfix before 3.1 has no other code for that; what comes behind the
/// last colon are Dovecot's and Cyrus SASL's words for it.
fn is_nobodys_verdict(reply: &[u8]) -> bool {
    let said = reply::lines(reply).last().unwrap_or_default();
    let why = said.rsplit(|octet| *octet == b':').next().unwrap_or_default().trim_ascii();
    [&b"Connection lost to authentication server"[..], b"generic failure"]
        .iter()
        .any(|lost| why.eq_ignore_ascii_case(lost))
}
