//! The backend's side: every response is one that something asked for, and whole.

use std::collections::VecDeque;

use super::super::capability::{offered, rewritten};
use super::super::command::LiteralKind;
use super::super::response::{First, Kind, Response, Status, first};
use super::super::{reasons, violation};
use super::{BeforeLogin, Login, Turn};
use crate::facts::Reason;
use crate::protocol::{Event, Out, Verdict, Violation, sasl};

impl BeforeLogin {
    /// Judges what the backend sent.
    pub(super) fn backend(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let response = match first(input) {
            First::Whole(response) => response,
            First::Partial => return Ok(Verdict::More),
            First::Broken if matches!(self.turn, Turn::Greeting) => return Err(self.distrust(reasons::NO_GREETING)),
            First::Broken => return Err(self.distrust(reasons::BACKEND_MALFORMED)),
            First::TooLong => return Err(self.distrust(reasons::BACKEND_TOO_LONG)),
        };
        let line = input.get(..response.octets).unwrap_or(input);
        if matches!(self.turn, Turn::Greeting) {
            return self.greeting(line, &response, out);
        }
        match response.kind {
            Kind::Continue => self.proceed(line, &response, out),
            Kind::Status { status: Status::PreAuth } => Err(self.distrust(reasons::BACKEND_UNASKED)),
            Kind::Status { status } => {
                self.bye |= status == Status::Bye;
                Ok(pass(line, &response, out))
            }
            Kind::Untagged { .. } => Ok(pass(line, &response, out)),
            Kind::Tagged { tag, status } => self.tagged(tag, status, line, &response, out),
        }
    }

    /// RFC 9051 §7.1: OK, PREAUTH or BYE.
    fn greeting(&mut self, line: &[u8], response: &Response<'_>, out: &mut Out) -> Result<Verdict, Violation> {
        match response.kind {
            Kind::Status { status: Status::Ok } => {
                self.turn = Turn::Command;
                // One that announces nothing any more has the next clients ask.
                out.events.push(Event::Learned(offered(line, response).unwrap_or_default()));
                // The client has had our own: before TLS, after which it asks for capabilities again (§6.2.1), or with the
                // capabilities that were learned.
                Ok(Verdict::Drop(line.len()))
            }
            Kind::Status { status: Status::Bye } => {
                out.events.push(Event::Ending(reasons::GREETED_BYE));
                say(line, response, out);
                Ok(Verdict::Close)
            }
            // Whoever came through would be logged in, as whom the backend takes the gate for.
            Kind::Status { status: Status::PreAuth } => Err(self.distrust(reasons::GREETED_PREAUTH)),
            _ => Err(self.distrust(reasons::NO_GREETING)),
        }
    }

    /// The backend asks for a literal or for a line of an authentication exchange.
    fn proceed(&mut self, line: &[u8], response: &Response<'_>, out: &mut Out) -> Result<Verdict, Violation> {
        let verdict = match self.turn {
            Turn::Continue { octets, kind } => {
                self.turn = if octets == 0 { Turn::Rest } else { Turn::Octets(octets) };
                if let Some(login) = self.login.as_mut().filter(|_| octets == 0) {
                    // An empty literal is the name, if that is still to come; the next one is not.
                    login.unnamed = false;
                }
                match kind {
                    LiteralKind::Synchronising => Verdict::Pass(line.len()),
                    // The client has not asked and does not wait.
                    LiteralKind::NonSynchronising => Verdict::Drop(line.len()),
                }
            }
            Turn::Reply if self.pending.front().is_some_and(|command| command.name == "authenticate") => {
                self.turn = Turn::Response;
                self.challenged(line.get(response.text()).unwrap_or_default(), out);
                Verdict::Pass(line.len())
            }
            // What it asks for would be raw octets that nobody judged.
            _ => return Err(self.distrust(reasons::BACKEND_UNASKED)),
        };
        if self.login.is_some() {
            out.events.push(Event::Answered); // behind a refusal: what failed counts before another login takes its place
        }
        Ok(verdict)
    }

    /// With some mechanisms it is a challenge that refuses, and the rest is form.
    fn challenged(&mut self, text: &[u8], out: &mut Out) {
        let Some(login) = self.login.as_mut().filter(|login| !login.unnamed && !login.refused) else { return };
        if sasl::challenge_is_refusal(&login.method, text) {
            login.refused = true;
            out.events.push(Event::Auth { method: login.method.clone(), user: login.user.clone(), ok: false });
        }
    }

    /// A command has its answer.
    fn tagged(
        &mut self,
        tag: &[u8],
        status: Status,
        line: &[u8],
        response: &Response<'_>,
        out: &mut Out,
    ) -> Result<Verdict, Violation> {
        let ok = status == Status::Ok;
        let next = match self.turn {
            // It has not had the command yet, and would take the rest for another one.
            Turn::Octets(_) | Turn::Rest => return Err(self.distrust(reasons::BACKEND_UNASKED)),
            Turn::Continue { .. } if ok => return Err(self.distrust(reasons::BACKEND_UNASKED)),
            Turn::Continue { octets, kind: LiteralKind::NonSynchronising } => Some(Turn::Dead(octets)),
            Turn::Continue { .. } | Turn::Reply | Turn::Response => Some(Turn::Command),
            _ => None,
        };
        let Some(place) = self.pending.iter().position(|command| *command.tag == *tag) else {
            return Err(self.distrust(reasons::BACKEND_UNASKED));
        };
        let name = self.pending.remove(place).map_or("unknown", |command| command.name);
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        if let Some(next) = next {
            self.turn = next;
        }
        out.events.push(Event::Command { name, ok });
        let is_login = matches!(name, "login" | "authenticate");
        if is_login && let Some(login) = self.login.take() {
            out.events.extend(judged(*login, status, line, response));
            out.events.push(Event::Answered);
        }
        if !ok {
            if let Err(violation) = self.errors.count() {
                say(line, response, out);
                return Err(violation);
            }
        } else if is_login {
            self.turn = Turn::Spliced;
        } else if name == "logout" {
            out.events.push(Event::Ending(reasons::LOGGED_OUT));
            say(line, response, out);
            return Ok(Verdict::Close);
        }
        Ok(pass(line, response, out))
    }

    /// A backend that does not speak IMAP as it should is not spoken with.
    fn distrust(&self, reason: Reason) -> Violation {
        let text = format!("[UNAVAILABLE] {} cannot make out its mail store, please try again later", self.hostname);
        violation(reason, &text)
    }
}

/// How a NO begins that says nothing of the credentials: the backend could not tell, did not ask since it takes the connection
/// for an insecure one, or found them good and has no room (RFC 5530 §3). Dovecot before 2.0 has sentences for some of that instead of codes,
/// and before 2.3 for AUTHENTICATE.
const NO_VERDICT: [(&[u8], Reason); 12] = [
    (b"[UNAVAILABLE] Maximum number of connections", reasons::LOGIN_FULL), // 2.0 to 2.2
    (b"[UNAVAILABLE]", reasons::LOGIN_PUT_OFF),
    (b"[SERVERBUG]", reasons::LOGIN_PUT_OFF),
    (b"Temporary authentication failure", reasons::LOGIN_PUT_OFF),
    (b"[PRIVACYREQUIRED]", reasons::LOGIN_INSECURE),
    (b"Plaintext authentication disallowed", reasons::LOGIN_INSECURE), // 1.0 and 1.1, LOGIN
    (b"[CLIENTBUG] Plaintext authentication disallowed", reasons::LOGIN_INSECURE), // 1.2, LOGIN
    (b"Plaintext authentication disabled", reasons::LOGIN_INSECURE),   // 1.1 and 1.2, AUTHENTICATE
    (b"[ALERT] Plaintext authentication disabled", reasons::LOGIN_INSECURE), // 2.0 to 2.2, AUTHENTICATE
    (b"Maximum number of connections", reasons::LOGIN_FULL),           // 1.1 and 1.2
    (b"[LIMIT]", reasons::LOGIN_FULL),
    (b"[INUSE]", reasons::LOGIN_FULL),
];

/// What an answer says of a login; nothing if it is BAD, which is for what was malformed or cancelled (RFC 9051 §6.2.2).
fn judged(login: Login, status: Status, line: &[u8], response: &Response<'_>) -> Option<Event> {
    let Login { method, user, refused, .. } = login;
    let text = line.get(response.text()).unwrap_or_default().trim_ascii_start();
    let begins = |start: &[u8]| text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    match (status, NO_VERDICT.iter().find(|(start, _)| begins(start))) {
        (Status::Ok, _) => Some(Event::Auth { method, user, ok: true }),
        _ if refused => None, // a challenge has said it already
        (Status::No, Some((_, reason))) => Some(Event::Unjudged { method, user, reason: *reason }),
        (Status::No, None) => Some(Event::Auth { method, user, ok: false }),
        _ => None,
    }
}

/// Sends a response on, its capabilities rewritten.
fn pass(line: &[u8], response: &Response<'_>, out: &mut Out) -> Verdict {
    match rewritten(line, response) {
        Some(rewritten) => {
            out.to_client.extend_from_slice(&rewritten);
            Verdict::Drop(line.len())
        }
        None => Verdict::Pass(line.len()),
    }
}

/// Says a response that no verdict can pass any more.
fn say(line: &[u8], response: &Response<'_>, out: &mut Out) {
    match rewritten(line, response) {
        Some(rewritten) => out.to_client.extend_from_slice(&rewritten),
        None => out.to_client.extend_from_slice(line),
    }
}
