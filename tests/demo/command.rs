//! `sealgate demo` as a user runs it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::ports::is_listening;

const OFFSETS: [u16; 5] = [525, 587, 465, 143, 993];
/// Longer than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A base whose ports nobody listens on, below the range that the kernel hands out by itself.
fn port_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 150).unwrap() * 100;
    for _ in 0..100 {
        let base = start + NEXT.fetch_add(1, Ordering::Relaxed) * 7;
        if !OFFSETS.iter().any(|offset| is_listening(base + offset)) {
            return base;
        }
    }
    panic!("no free ports from {start} on");
}

fn demo(arguments: &[&str], base: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealgate"));
    command.arg("demo").args(arguments).arg("--port-base").arg(base.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn finish(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn once_json_shows_every_leg_with_its_facts_and_ends_well() {
    let base = port_base();
    let output = finish(&mut demo(&["--once", "--json"], base)).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let rows: Vec<String> = report["legs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| {
            let keys = ["listener", "address", "tls_version", "cipher", "group", "signature", "resumed", "error"];
            keys.map(|key| leg[key].as_str().map_or_else(|| leg[key].to_string(), str::to_owned)).join(" ")
        })
        .collect();
    let at = |offset: u16| format!("127.0.0.1:{}", base + offset);
    let expected = [
        format!("smtp {} TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 ecdsa_secp256r1_sha256 false null", at(525)),
        format!(
            "submission {} TLSv1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 x25519 rsa_pss_rsae_sha256 false null",
            at(587)
        ),
        format!(
            "submissions {} TLSv1.3 TLS_CHACHA20_POLY1305_SHA256 secp256r1 rsa_pss_rsae_sha256 false null",
            at(465)
        ),
        format!("submissions {} TLSv1.3 TLS_CHACHA20_POLY1305_SHA256 secp256r1 null true null", at(465)),
        format!(
            "imap {} TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 secp384r1 ecdsa_secp256r1_sha256 false null",
            at(143)
        ),
        format!("imaps {} TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 ecdsa_secp256r1_sha256 false null", at(993)),
    ];
    assert_eq!(rows, expected);
    for leg in report["legs"].as_array().unwrap() {
        let received = leg["received"].as_str().unwrap_or_default();
        let is_smtp = !leg["listener"].as_str().unwrap().starts_with("imap");
        assert_eq!(
            received.starts_with("Received: from client.demo.example ([127.0.0.1])\r\n\t(using TLSv1."),
            is_smtp
        );
    }
    assert_eq!(log, "", "nothing but what the report says");
}

#[tokio::test]
async fn once_prints_the_table_and_the_fields_plain_into_a_pipe() {
    let output = finish(&mut demo(&["--once"], port_base())).await;
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!shown.contains('\x1b'), "{shown}");
    let words: Vec<&str> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["listener", "version", "cipher", "group", "signature", "resumed", "result"]);
    assert_eq!(shown.lines().filter(|line| line.ends_with(" ok")).count(), 6, "{shown}");
    assert_eq!(shown.matches("\nReceived: from client.demo.example ([127.0.0.1])\n\t(using TLSv1.").count(), 4);
    assert!(!shown.contains("swaks"), "nothing is up to be tried any more");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let base = port_base();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 465)).unwrap();
    let output = finish(&mut demo(&["--once"], base)).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in [&format!("127.0.0.1:{}", base + 465), "submissions", "in use", "--port-base"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn it_stays_up_for_what_it_offers_to_try_until_it_is_interrupted() {
    let base = port_base();
    let mut child = demo(&[], base).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut commands = Vec::new();
    // The last of the commands that are shown reads the first mail.
    while !commands.last().is_some_and(|command: &String| command.contains("UID=1")) {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        commands.extend(line.strip_prefix("    ").map(str::to_owned));
    }

    // Each does what its headline says, as it is shown.
    let runs: [(&str, bool, &str); 9] = [
        ("openssl s_client -starttls smtp", true, "Protocol version: TLSv1.3"),
        ("openssl s_client -connect", true, "Protocol version: TLSv1.3"),
        ("AES128-SHA", false, "alert handshake failure"),
        ("--auth PLAIN", true, "250 2.0.0 Ok"),
        ("printf", true, ""),
        ("elsewhere.example", false, "554 5.7.1"),
        ("swaks --server", false, "530 5.7.0 Must issue a STARTTLS command first"),
        ("--ssl-reqd", true, "* SEARCH 1 2 3 4 5 6"),
        ("UID=1", true, "Subject: Through smtp"),
    ];
    assert_eq!(commands.len(), runs.len());
    for (command, (part, succeeds, expected)) in commands.iter().zip(runs) {
        assert!(command.contains(part), "{part}: {command}");
        let output = finish(Command::new("sh").arg("-c").arg(command).stdin(Stdio::null())).await;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.success(), succeeds, "{command}\n{said}");
        assert!(said.contains(expected), "{command}\n{said}");
    }

    // A failed handshake is a record, too.
    loop {
        let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().unwrap();
        if line.contains("event=ended") && line.contains("no common cipher suite") {
            break;
        }
    }
    interrupt(&child).await;
    let ended = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}

/// What Ctrl-C does.
async fn interrupt(child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
}
