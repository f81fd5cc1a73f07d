//! What the demo shows: the table of a round trip, the Received fields, and what to try.

use std::fmt::Write;
use std::net::SocketAddr;

use comfy_table::{Table, presets};
use owo_colors::OwoColorize;

use super::account::{DOMAIN, PASSWORD, USER};
use super::round_trip::Report;
use crate::protocol::Service;

/// The round trip as a table, and below it every Received field, folded as it arrived.
pub fn round_trip(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
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
    let mut text = format!("{}\n", table.trim_fmt());
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
        ("What a client agrees on", format!("openssl s_client -starttls smtp -connect {submission} -brief")),
        ("The same for IMAP, from the first octet", format!("openssl s_client -connect {imaps} -brief")),
        ("What is refused", format!("openssl s_client -connect {imaps} -tls1_2 -cipher AES128-SHA")),
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
                "printf 'Subject: hello\\r\\n\\r\\nhello\\r\\n' | curl --insecure smtps://{submissions} {login} \
                 --mail-from {mailbox} --mail-rcpt {mailbox} --upload-file -"
            ),
        ),
        ("Try to relay", format!("swaks --server {smtp} --tls --from a@elsewhere.example --to b@elsewhere.example")),
        ("Try without TLS", format!("swaks --server {submission} --from {mailbox} --to {mailbox}")),
        ("List the mails", format!("curl --insecure --ssl-reqd {login} 'imap://{imap}/INBOX?ALL'")),
        ("Read the first", format!("curl --insecure {login} 'imaps://{imaps}/INBOX;UID=1'")),
    ];
    let mut text = format!("{} (user {USER}, password {PASSWORD})\n", "The gate stays up until Ctrl-C. Try".bold());
    for (what, command) in commands {
        let _ = write!(text, "\n  {}\n    {command}\n", what.dimmed());
    }
    text
}
