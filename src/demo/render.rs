//! What the demo shows: the table of a round trip, the Received fields, and what to try.

use std::fmt::Write;
use std::net::SocketAddr;

use comfy_table::{LineStyle, Table, TableStyle};
use owo_colors::OwoColorize;

use super::account::{DOMAIN, PASSWORD, USER};
use super::round_trip::Report;
use crate::protocol::Service;

/// One line below the header is all that six rows need.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The round trip as a table, and below it every Received field, folded as it arrived.
pub fn round_trip(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(["listener", "version", "cipher", "group", "signature", "resumed", "result"]);
    for leg in &report.legs {
        let listener = format!("{} {}", leg.listener, leg.address.port());
        let mut row = vec![listener];
        match &leg.tls {
            Some(seen) => row.extend([
                seen.tls_version.to_owned(),
                seen.cipher.clone(),
                seen.group.to_owned(),
                seen.signature.unwrap_or("-").to_owned(),
                if seen.resumed { "yes" } else { "no" }.to_owned(),
            ]),
            None => row.extend(std::iter::repeat_n("-".to_owned(), 5)),
        }
        row.push(if leg.error.is_none() { "ok" } else { "failed" }.to_owned());
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    let mut text = format!("{}\n\n{}\n", table.trim_fmt(), sum(report));
    for leg in &report.legs {
        let name = format!("{} {}", leg.listener, leg.address);
        if let Some(error) = &leg.error {
            let _ = write!(text, "\n{} {error}\n", format!("{name} failed:").red().bold());
        }
        if let Some(received) = &leg.received {
            let resumed = if leg.tls.as_ref().is_some_and(|seen| seen.resumed) { ", resumed" } else { "" };
            let _ = write!(text, "\n{}\n{}", format!("{name}{resumed}:").bold(), received.replace("\r\n", "\n"));
        }
    }
    text
}

/// The round trip in a sentence.
fn sum(report: &Report) -> String {
    let failed = report.legs.iter().filter(|leg| leg.error.is_some()).count();
    let mails = report.legs.iter().filter(|leg| leg.received.is_some()).count();
    match failed {
        0 if report.ok => {
            format!("All {mails} mails came back, each with its Received field.").green().bold().to_string()
        }
        0 => "Not every listener was there.".red().bold().to_string(),
        failed => format!("{failed} of {} connections failed.", report.legs.len()).red().bold().to_string(),
    }
}

/// The commands to try, with the ports in use.
pub fn commands(addresses: &[(&'static Service, SocketAddr)]) -> String {
    let find = |name: &str| addresses.iter().find(|(service, _)| service.name == name).map(|(_, address)| *address);
    let (Some(smtp), Some(submission), Some(submissions), Some(imap), Some(imaps)) =
        (find("smtp"), find("submission"), find("submissions"), find("imap"), find("imaps"))
    else {
        return String::new();
    };
    let mailbox = format!("{USER}@{DOMAIN}");
    let login = format!("--user {USER}:{PASSWORD}");
    let commands = [
        ("What a client agrees on", format!("openssl s_client -starttls smtp -connect {submission} -crlf -brief")),
        ("The same for IMAP, from the first octet", format!("openssl s_client -connect {imaps} -crlf -brief")),
        (
            "What is refused: a key exchange without forward secrecy",
            format!("openssl s_client -connect {imaps} -tls1_2 -cipher AES128-SHA -brief"),
        ),
        (
            "Send a mail",
            format!(
                "swaks --server {submission} --tls --auth PLAIN --auth-user {USER} --auth-password {PASSWORD} \
                 --from {mailbox} --to {mailbox}"
            ),
        ),
        (
            "Send one with curl",
            format!(
                "printf 'Subject: hello\\r\\n\\r\\nhello\\r\\n' | curl -sS --insecure smtps://{submissions} {login} \
                 --mail-from {mailbox} --mail-rcpt {mailbox} --upload-file -"
            ),
        ),
        ("Try to relay", format!("swaks --server {smtp} --tls --from a@elsewhere.example --to b@elsewhere.example")),
        ("Try without TLS", format!("swaks --server {submission} --from {mailbox} --to {mailbox}")),
        ("List the mails", format!("curl -sS --insecure --ssl-reqd {login} 'imap://{imap}/INBOX?ALL'")),
        ("Read the first", format!("curl -sS --insecure {login} 'imaps://{imaps}/INBOX;UID=1'")),
    ];
    let mut text = format!(
        "{} (user {USER}, password {PASSWORD}):\n",
        "The gate stays up until Ctrl-C and logs every session here. Try".bold()
    );
    for (what, command) in commands {
        let _ = write!(text, "\n  {}\n    {command}\n", what.dimmed());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::round_trip::Leg;
    use crate::demo::tls_client::Seen;
    use crate::protocol::SERVICES;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_leg_a_row_then_errors_and_fields() {
        let seen = Seen {
            tls_version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            group: "X25519MLKEM768",
            signature: None,
            resumed: true,
        };
        let leg = |listener, port, tls, received: Option<&str>, error: Option<&str>| Leg {
            listener,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            tls,
            received: received.map(str::to_owned),
            error: error.map(str::to_owned),
        };
        let legs = vec![
            leg("smtp", 2525, Some(seen), Some("Received: from x\r\n\tby y\r\n"), None),
            leg("imaps", 2993, None, None, Some("connecting: Connection refused")),
        ];
        let text = plain(&round_trip(&Report { ok: false, legs }));
        let expected = "listener    version  cipher                  group           signature  resumed  result\n\
            ────────────────────────────────────────────────────────────────────────────────────────\n\
            smtp 2525   TLSv1.3  TLS_AES_256_GCM_SHA384  X25519MLKEM768  -          yes      ok\n\
            imaps 2993  -        -                       -               -          -        failed\n\
            \n1 of 2 connections failed.\n\
            \nsmtp 127.0.0.1:2525, resumed:\nReceived: from x\n\tby y\n\
            \nimaps 127.0.0.1:2993 failed: connecting: Connection refused\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_commands_name_the_ports_in_use() {
        let addresses: Vec<_> = (30_001..)
            .zip(SERVICES)
            .map(|(port, service)| (service, SocketAddr::from(([127, 0, 0, 1], port))))
            .collect();
        let text = plain(&commands(&addresses));
        for port in 30_001..=30_005 {
            assert!(text.contains(&format!("127.0.0.1:{port}")), "{port} {text}");
        }
        for tool in ["openssl s_client -starttls smtp", "swaks ", "curl "] {
            assert!(text.contains(tool), "{tool}");
        }
    }
}
