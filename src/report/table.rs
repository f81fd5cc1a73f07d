//! A summary for people.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;

use super::summary::{CipherShare, FailureShare, Locked, Share, Summary};

/// The most rows of a table; the rest is a number.
const ROWS: usize = 12;
/// The most clients named in a row.
const CLIENTS: usize = 3;

impl fmt::Display for Summary {
    /// Coloured; print it through `anstream`, which takes the colours out where nobody sees them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = "TLS in mail logs".bold().to_string();
        match (&self.first, &self.last) {
            (Some(first), Some(last)) => writeln!(f, "{heading}, {first} to {last}")?,
            _ => writeln!(f, "{heading}")?,
        }
        write!(f, "{} read, {} of them about TLS sessions", counted(self.lines, "line"), number(self.relevant))?;
        if self.broken > 0 {
            write!(f, ", {} left out because broken", number(self.broken))?;
        }
        if self.outgoing > 0 {
            write!(f, "; {} not counted", counted(self.outgoing, "outgoing connection"))?;
        }
        writeln!(f, ".")?;
        if self.tls_sessions + self.plaintext_sessions == 0 && self.failures.is_empty() {
            if self.proxied_or_local_logins > 0 {
                let logins = counted(self.proxied_or_local_logins, "login");
                writeln!(
                    f,
                    "\n{logins} came through a proxy or from the server's own host: what the clients of a proxy have"
                )?;
                writeln!(f, "agreed on is in its own log. Sealgate's is read together with this one.")?;
            }
            return f.write_str(LOOKED_FOR);
        }
        section(f, "Sessions", &self.sessions())?;
        section(f, "Services", &shares(&self.services))?;
        section(f, "Versions", &shares(&self.versions))?;
        section(f, "Ciphers", &ciphers(&self.ciphers))?;
        section(f, "Groups", &shares(&self.groups))?;
        if !self.failures.is_empty() {
            section(f, "Failures", &failures(&self.failures))?;
        }
        if self.failures_of_other_reasons > 0 {
            writeln!(f, "  … and {} for other reasons", counted(self.failures_of_other_reasons, "failure"))?;
        }
        let (modern, intermediate) = (&self.locked_out.modern, &self.locked_out.intermediate);
        let lacking = self.lacking();
        locked(
            f,
            "Sealgate's default, policy = \"intermediate\"",
            "less than TLS 1.2 with ECDHE and an AEAD",
            intermediate,
            lacking.as_deref(),
        )?;
        locked(f, "policy = \"modern\"", "less than TLS 1.3", modern, lacking.as_deref())?;
        if modern.always + modern.sometimes + intermediate.always + intermediate.sometimes > 0 {
            writeln!(
                f,
                "\nA log shows what the server chose, not all that a client can do: who negotiated less with an old server\n\
                 may well do better with a new one. \"Sometimes\" is a client that has done so, or several behind one address."
            )?;
        }
        if lacking.is_some() {
            writeln!(
                f,
                "\nWho fails with nothing in common is locked out by the server that wrote the log: by Sealgate for offering too\n\
                 little, by an old server perhaps for offering only what is newer. Scanners fail so, too. Who it was stands\n\
                 under Failures, and in full in what --json prints."
            )?;
        }
        if self.locked_out.sessions_of_other_clients > 0 {
            let others = number(self.locked_out.sessions_of_other_clients);
            writeln!(
                f,
                "{others} sessions are of clients beyond the number that is told apart, and not in these lists."
            )?;
        }
        Ok(())
    }
}

const LOOKED_FOR: &str = "
No TLS sessions found. These are looked for:
  Sealgate   the text and json formats (event=secured, event=ended) and the postfix format
  Postfix    \"TLS connection established from …\" and \"SSL_accept error from …\"; needs smtpd_tls_loglevel = 1
  Dovecot    \"imap-login: Login: …\" and \"… TLS handshaking …\"; version and cipher need %k in login_log_format_elements
Dates of syslog (Nov 21 22:36:05) and RFC 3339 may stand in front. Compressed logs: zcat FILE | sealgate report -,
and likewise by xzcat, zstdcat or bzcat.
";

impl Summary {
    /// The handshakes that failed with nothing in common, if there are any, by reason.
    fn lacking(&self) -> Option<String> {
        let reasons: Vec<_> = self
            .failures
            .iter()
            .filter(|failure| failure.nothing_in_common)
            .map(|failure| format!("{} ({})", failure.reason, number(failure.count)))
            .collect();
        let handshakes = counted(self.locked_out.failed_handshakes, "handshake");
        (!reasons.is_empty()).then(|| format!("{handshakes} failed with nothing in common: {}", reasons.join(", ")))
    }

    fn sessions(&self) -> Table {
        let (secret, quantum) = (&self.forward_secret, &self.post_quantum);
        let mut table = table(&[]);
        let mut remarks = Vec::new();
        if secret.anonymous > 0 {
            remarks.push(format!(
                "{} of them anonymous (ADH, AECDH): safe from recording alone",
                number(secret.anonymous)
            ));
        }
        if secret.unknown > 0 {
            remarks.push(format!("{} without a cipher in the log", number(secret.unknown)));
        }
        let unknown = match quantum.unknown {
            0 => String::new(),
            unknown => format!("{} without a group in the log", number(unknown)),
        };
        table.add_row([String::from("  with TLS"), number(self.tls_sessions), String::new(), String::new()]);
        table.add_row([
            String::from("  forward secret"),
            number(secret.yes + secret.anonymous),
            secret.share.map_or(String::from("unknown"), percent),
            remarks.join("; "),
        ]);
        table.add_row([
            String::from("  post-quantum"),
            number(quantum.yes),
            quantum.share.map_or(String::from("unknown"), percent),
            unknown,
        ]);
        let told = String::from("as far as Sealgate and Dovecot tell; Postfix does not log it");
        table.add_row([String::from("  in plaintext"), number(self.plaintext_sessions), String::new(), told]);
        if self.proxied_or_local_logins > 0 {
            let told = String::from("or on the server's own host, as Dovecot tells; not counted in what follows");
            table.add_row([
                String::from("  behind a proxy"),
                number(self.proxied_or_local_logins),
                String::new(),
                told,
            ]);
        }
        finish(&mut table, 0, 2);
        table
    }
}

/// A name from a log, with `?` for whatever a terminal would act on: strangers write part of every log.
fn shown(name: &str) -> String {
    let shown = name.chars().map(|c| if c.is_control() { '?' } else { c });
    "  ".chars().chain(shown).collect()
}

fn shares(list: &[Share]) -> Table {
    let mut table = table(&[]);
    for share in list.iter().take(ROWS) {
        table.add_row([shown(&share.name), number(share.count), percent(share.share)]);
    }
    finish(&mut table, list.len(), 2);
    table
}

fn ciphers(list: &[CipherShare]) -> Table {
    let mut table = table(&[]);
    for cipher in list.iter().take(ROWS) {
        let remark = match cipher.forward_secret {
            "no" => "not forward secret",
            "anonymous" => "anonymous",
            _ => "",
        };
        let share = &cipher.share;
        table.add_row([shown(&share.name), number(share.count), percent(share.share), remark.to_owned()]);
    }
    finish(&mut table, list.len(), 2);
    table
}

fn failures(list: &[FailureShare]) -> Table {
    let mut table = table(&[]);
    for failure in list.iter().take(ROWS) {
        let mut clients: Vec<_> = failure
            .clients
            .iter()
            .take(CLIENTS)
            .map(|client| format!("{} ({})", client.address, number(client.count)))
            .collect();
        let more = failure.clients.len().saturating_sub(CLIENTS);
        if failure.others > 0 {
            clients.push(String::from("… and others"));
        } else if more > 0 {
            clients.push(format!("… and {more} more"));
        }
        table.add_row([shown(&failure.reason), number(failure.count), clients.join(", ")]);
    }
    finish(&mut table, list.len(), 1);
    table
}

fn locked(f: &mut fmt::Formatter<'_>, policy: &str, less: &str, locked: &Locked, lacking: Option<&str>) -> fmt::Result {
    let title = format!("Locked out by {policy}");
    let (always, sometimes) = (counted(locked.always, "client"), number(locked.sometimes));
    let seen = match (locked.clients.is_empty(), lacking) {
        (true, None) => format!("nobody was seen with {less}"),
        // A client that comes to no session has no version to be seen with.
        (true, Some(_)) => format!("no session was seen with {less}"),
        (false, _) => format!("{always} seen only with {less}, {sometimes} sometimes"),
    };
    writeln!(f, "\n{}\n  {seen}", title.bold())?;
    if let Some(lacking) = lacking {
        writeln!(f, "  {lacking}")?;
    }
    if locked.clients.is_empty() {
        return Ok(());
    }
    let mut table = table(&["  client", "sessions", "", "last seen"]);
    for client in locked.clients.iter().take(ROWS) {
        table.add_row([
            format!("  {}", client.address),
            number(client.count),
            String::from(if client.always { "always" } else { "sometimes" }),
            client.last_seen.clone().unwrap_or_default(),
        ]);
    }
    let all = u64::try_from(locked.clients.len()).unwrap_or(u64::MAX).saturating_add(locked.more);
    finish(&mut table, usize::try_from(all).unwrap_or(usize::MAX), 1);
    writeln!(f, "{}", table.trim_fmt())
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, table: &Table) -> fmt::Result {
    writeln!(f, "\n{}\n{}", title.bold(), table.trim_fmt())
}

/// Columns without lines between them.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table
}

/// Says how many rows of `all` are missing, and lays the columns out, the first so many after the names to the right.
fn finish(table: &mut Table, all: usize, numbers: usize) {
    if let Some(more) = all.checked_sub(ROWS).filter(|more| *more > 0) {
        table.add_row([format!("  … and {more} more")]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if (1..=numbers).contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// `1 line`, `2 lines`.
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `1,234,567`.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
