//! Backends as a client from nowhere sees them through the gate.

use std::sync::Arc;
use std::time::Duration;

use sealgate::backend::ConnectError;
use sealgate::backend::exposure::{Exposure, exposure};
use sealgate::backend::probe::{Probe, Seen, probe, turns_the_stranger_away};
use sealgate::backend::self_test::{SelfTest, relay_self_test};
use sealgate::config::{BackendAddr, ClientIdentity, Config, Deadlines, Listener};
use sealgate::protocol::AuthRule;

use super::finding::{Finding, Findings, in_two};

/// Somebody waits at a terminal: a backend that is silent for longer is told to be, whatever the sessions' deadlines.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a backend answered.
struct Answers {
    probe: Probe,
    /// Not asked where nothing could be seen.
    self_test: Option<SelfTest>,
    /// Nor here.
    exposure: Option<Result<Exposure, ConnectError>>,
}

/// Asks all backends at the same time and tells of them in the order of the listeners.
pub fn look(config: &Config, all: &mut Vec<Finding>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = Arc::new(config.clone());
    runtime.block_on(async {
        let pairs = config
            .listeners
            .iter()
            .flat_map(|listener| listener.backends.iter().map(move |backend| (listener.clone(), backend.clone())));
        let asked: Vec<_> = pairs
            .map(|(listener, backend)| {
                let answers = tokio::spawn(ask(listener.clone(), backend.clone(), Arc::clone(&config)));
                (listener, backend, answers)
            })
            .collect();
        for (listener, backend, answers) in asked {
            let subject = format!("{} at {backend}", listener.service.name);
            tell(&listener, answers.await?, &mut Findings::new("backend", subject, all));
        }
        Ok(())
    })
}

async fn ask(listener: Listener, backend: BackendAddr, config: Arc<Config>) -> Answers {
    let all = &config.deadlines;
    let deadlines = Deadlines {
        connect: all.connect.min(PATIENCE),
        greeting: all.greeting.min(PATIENCE),
        reply: all.reply.min(PATIENCE),
        ..*all
    };
    let probe = probe(&listener, &backend, &config.hostname, &deadlines).await;
    let self_test = match &probe.seen {
        Err(error) if !turns_the_stranger_away(&listener, error) => None,
        _ => Some(relay_self_test(&listener, &backend, &config.hostname, &deadlines).await),
    };
    let exposure = match &probe.seen {
        Ok(_) => Some(exposure(&listener, &backend, &config.hostname, &deadlines).await),
        Err(_) => None,
    };
    Answers { probe, self_test, exposure }
}

fn tell(listener: &Listener, answers: Answers, findings: &mut Findings<'_>) {
    match &answers.probe.seen {
        Ok(seen) => tell_seen(listener, seen, findings),
        Err(error) if turns_the_stranger_away(listener, error) => findings.note(
            format!("it turned the test from nowhere away at once, so that nothing more is seen of it: {error}"),
            "nothing to do if a rule for clients says that (smtpd_delay_reject = no)",
        ),
        Err(error) => tell_unseen(listener, error, findings),
    }
    if !matches!(&answers.probe.seen, Err(error) if turns_the_stranger_away(listener, error)) {
        tell_identities(listener, &answers.probe, findings);
    }
    if let Some(self_test) = answers.self_test {
        tell_self_test(listener, &self_test, findings);
    }
    // It answered before: what was not found out now is not worth a line.
    if let Some(Ok(exposure)) = answers.exposure {
        tell_exposure(listener, &exposure, findings);
    }
}

/// What the gate keeps out, and only the gate.
fn tell_exposure(listener: &Listener, exposure: &Exposure, findings: &mut Findings<'_>) {
    if !exposure.elsewhere.is_empty() {
        let addresses: Vec<_> = exposure.elsewhere.iter().map(ToString::to_string).collect();
        findings.warn(
            format!("it answers at {}, too: who connects there passes the gate by", addresses.join(" and ")),
            if listener.service.takes_mail() {
                "let the gate's own service listen on loopback alone: 127.0.0.1:PORT in master.cf"
            } else {
                "let the gate's own service listen on loopback alone: address = 127.0.0.1 in its inet_listener \
                 (listen = 127.0.0.1 before Dovecot 2.0)"
            },
        );
    }
    if exposure.xclient && listener.identity != ClientIdentity::Xclient {
        findings.warn(
            "it takes XCLIENT from this host, which nothing here needs",
            "take our address out of its smtpd_authorized_xclient_hosts",
        );
    }
    if exposure.bare_newline {
        findings.note(
            "it takes a lone LF as the end of a command line; if it does so in messages, too, mail can be smuggled into \
             it by whoever reaches it without the gate (CVE-2023-51764)",
            "nothing but the gate and friends should reach it: close the ports that it still has open to the world",
        );
    }
}

fn tell_unseen(listener: &Listener, error: &ConnectError, findings: &mut Findings<'_>) {
    match error {
        // RFC 9051 §7.1.4: whoever connects is logged in already.
        ConnectError::Refused { reply, .. } if reply.starts_with("* PREAUTH") => findings.fail(
            format!("it takes everybody for a user who is logged in: {reply}"),
            "take the pre-authentication off this service, and let clients log in",
        ),
        // RFC 5321 §4.2: no IMAP server greets like that.
        ConnectError::Refused { reply, .. } if !listener.service.takes_mail() && reply.starts_with("220") => {
            findings.fail(format!("it speaks SMTP: {reply}"), "name the port on which it speaks IMAP");
        }
        // Behind a semicolon in the backend's own words there is no advice.
        ConnectError::Refused { .. } => findings.fail(error.to_string(), "its own log may say why"),
        _ => {
            let (message, advice) = in_two(&error.to_string());
            findings.fail(message, advice);
        }
    }
}

fn tell_seen(listener: &Listener, seen: &Seen, findings: &mut Findings<'_>) {
    findings.ok(match seen.announced.as_slice() {
        [] => String::from("announces nothing"),
        announced => format!("announces {}", announced.join(", ")),
    });
    if !listener.service.takes_mail() {
        if seen.announces("LOGINDISABLED") {
            findings.fail(
                "it lets nobody log in (LOGINDISABLED): it takes the connection for an insecure one",
                "open a service of its own for the gate that takes plaintext, as config/backends/ shows for each \
                 version of Dovecot:\nhaproxy = yes with client_identity = \"proxy-v2\", or \
                 login_trusted_networks = 127.0.0.1, or disable_plaintext_auth = no",
            );
        }
        return;
    }
    // `AUTH=` is how some old clients want it, and never stands alone.
    if listener.service.auth == AuthRule::InsideTls && !seen.announces("AUTH") {
        findings.fail(
            "it does not offer AUTH, so nobody can log in",
            "set for the gate's own service in master.cf, as config/backends/ shows:\n\
             -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=no -o smtpd_tls_security_level=none \
             -o smtpd_sasl_security_options=noanonymous",
        );
    }
}

fn tell_identities(listener: &Listener, probe: &Probe, findings: &mut Findings<'_>) {
    let taken: Vec<_> = probe.takes.iter().filter(|(_, taken)| taken.is_ok()).map(|(identity, _)| *identity).collect();
    let set = |best: &ClientIdentity| match best {
        ClientIdentity::ImapId => {
            String::from("set client_identity = \"imap-id\", and our address in its login_trusted_networks")
        }
        best => format!("set client_identity = \"{}\"", best.as_str()),
    };
    match (listener.identity, &probe.seen, taken.first()) {
        (ClientIdentity::None, Ok(_), None) => findings.ok("takes no client_identity, and is told none"),
        (ClientIdentity::None, Ok(_), Some(best)) => findings.warn(
            "it is not told who the client is, but could be",
            format!("{}: its log and its access rules see the client then", set(best)),
        ),
        (configured, Err(_), Some(best)) if configured != ClientIdentity::None => findings.fail(
            format!("does not take client_identity = \"{}\" here", configured.as_str()),
            format!("{}, or set the backend up for the other", set(best)),
        ),
        // Without the capability ID nothing is sent, and the session goes on.
        (ClientIdentity::ImapId, Ok(_), best) if !taken.contains(&ClientIdentity::ImapId) => findings.warn(
            "does not take client_identity = \"imap-id\": it sees our address as every client's",
            best.map_or_else(|| String::from("write \"none\" if it cannot be told"), set),
        ),
        (_, Ok(_), Some(_)) => {
            let names: Vec<_> = taken.iter().map(|identity| format!("\"{}\"", identity.as_str())).collect();
            findings.ok(format!("takes client_identity = {}", names.join(" or ")));
        }
        (_, _, _) => {}
    }
}

fn tell_self_test(listener: &Listener, self_test: &SelfTest, findings: &mut Findings<'_>) {
    match self_test {
        SelfTest::Skipped if listener.service.takes_mail() => findings.warn(
            "not tested whether it relays for strangers: allow_relay_as_proxy is set",
            "take that line out, unless nobody but friends can connect",
        ),
        SelfTest::Skipped => {}
        SelfTest::Refused { .. } => findings.ok(self_test.to_string()),
        SelfTest::Deferred { .. } => findings.warn(
            self_test.to_string(),
            "no need to do anything if it greylists; otherwise see why it puts strangers off",
        ),
        SelfTest::Relays { .. } | SelfTest::Unreachable(_) => {
            let (message, advice) = in_two(&self_test.to_string());
            findings.fail(message, advice);
        }
    }
}

#[cfg(test)]
mod tests;
