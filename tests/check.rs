//! `sealgate check`, the binary, with certificates and backends of every kind behind it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test: a panic is how it fails

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

/// A backend that answers every connection by itself, for as long as the test runs.
fn backend(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// Like a Postfix with `smtpd_upstream_proxy_protocol`: without a PROXY v2 header there is nothing to talk about.
fn smtp(mut stream: TcpStream, keywords: &str, rcpt: &str) {
    let mut header = [0; 16];
    if stream.read_exact(&mut header).is_err() || !header.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        return;
    }
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    stream.read_exact(&mut vec![0; rest]).unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    stream.write_all(b"220 fake ESMTP\r\n").unwrap();
    let mut answer = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).is_ok();
    for line in lines {
        let goes_on = match line.split(' ').next().unwrap() {
            "EHLO" => answer(&format!("250-fake\r\n{keywords}250 8BITMIME")),
            "MAIL" | "RSET" => answer("250 2.0.0 Ok"),
            "RCPT" => answer(rcpt),
            "QUIT" => !answer("221 2.0.0 Bye"),
            _ => answer("502 5.5.2 Error: command not recognized"),
        };
        if !goes_on {
            return;
        }
    }
}

fn imap(mut stream: TcpStream, capabilities: &str) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    stream.write_all(b"* OK fake ready.\r\n").unwrap();
    for line in lines {
        let mut words = line.split(' ');
        let (tag, command) = (words.next().unwrap(), words.next().unwrap_or_default());
        let answer = match command {
            "CAPABILITY" => format!("* CAPABILITY {capabilities}\r\n{tag} OK done\r\n"),
            "LOGOUT" => format!("* BYE\r\n{tag} OK done\r\n"),
            _ => format!("{tag} BAD unknown command\r\n"),
        };
        if stream.write_all(answer.as_bytes()).is_err() || command == "LOGOUT" {
            return;
        }
    }
}

/// A certificate for mail.example.com with its authority behind it.
fn certificate(directory: &Path) {
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["mail.example.com".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    fs::write(directory.join("chain.pem"), format!("{}{}", leaf.pem(), ca.pem())).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    fs::set_permissions(directory.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs the check for such listeners: service, backend, client_identity.
fn check(listeners: &[(&str, SocketAddr, &str)], arguments: &[&str]) -> Output {
    check_with("", listeners, arguments)
}

/// The same, with more lines at the end.
fn check_with(more: &str, listeners: &[(&str, SocketAddr, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    let mut text =
        String::from("hostname = 'mail.example.com'\n[[tls.certificate]]\nchain = 'chain.pem'\nkey = 'key.pem'\n");
    for (service, backend, identity) in listeners {
        text +=
            &format!("[[listener]]\nservice = '{service}'\nbackend = '{backend}'\nclient_identity = '{identity}'\n");
    }
    text += more;
    let config = directory.path().join("sealgate.toml");
    fs::write(&config, text).unwrap();
    sealgate(&[&["check", "--config", config.to_str().unwrap()], arguments].concat())
}

fn sealgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sealgate")).args(arguments).output().unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

/// (area, verdict, message) of every finding.
fn findings(output: &Output) -> Vec<(String, String, String)> {
    let Value::Array(all) = serde_json::from_slice(&output.stdout).unwrap() else { panic!("{output:?}") };
    let field = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    all.iter().map(|one| (field(one, "area"), field(one, "verdict"), field(one, "message"))).collect()
}

const DENIED: &str = "554 5.7.1 Relay access denied";

#[test]
fn good_backends_pass() {
    let relay = backend(|stream| smtp(stream, "250-SIZE 1000\r\n", DENIED));
    let submission = backend(|stream| smtp(stream, "250-AUTH PLAIN\r\n", DENIED));
    let dovecot = backend(|stream| imap(stream, "IMAP4rev1 LITERAL+ AUTH=PLAIN"));
    let listeners = [("smtp", relay, "proxy-v2"), ("submissions", submission, "proxy-v2"), ("imaps", dovecot, "none")];
    let output = check(&listeners, &["--strict"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    for expected in
        ["announces SIZE 1000, 8BITMIME", "takes client_identity = \"proxy-v2\"", DENIED, "AUTH=PLAIN", "0 to repair"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains('\x1b'), "no colours in a pipe: {told}");
}

#[test]
fn an_open_relay_and_closed_logins_fail() {
    let open = backend(|stream| smtp(stream, "", "250 2.1.5 Ok"));
    let dovecot = backend(|stream| imap(stream, "IMAP4rev1 STARTTLS LOGINDISABLED"));
    let listeners = [("submission", open, "proxy-v2"), ("imap", dovecot, "none")];
    let output = check(&listeners, &["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let all = findings(&output);
    let failed: Vec<_> = all.iter().filter(|(_, verdict, _)| verdict == "fail").map(|(_, _, said)| said).collect();
    let [auth, relay, login] = failed.as_slice() else { panic!("{all:#?}") };
    assert!(auth.contains("does not offer AUTH"), "{all:#?}");
    assert!(relay.contains("open relay"), "{all:#?}");
    assert!(login.contains("LOGINDISABLED"), "{all:#?}");
}

#[test]
fn a_warning_fails_the_check_only_where_it_is_strict() {
    let greylisting = backend(|stream| smtp(stream, "", "450 4.7.1 try again later"));
    let listeners = [("smtp", greylisting, "proxy-v2")];
    assert_eq!(check(&listeners, &[]).status.code(), Some(0));
    let output = check(&listeners, &["--strict"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("450 4.7.1 try again later"), "{output:?}");
}

#[test]
fn offline_connects_to_nothing() {
    // Nobody listens there: connecting would fail the check.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listeners = [("smtp", gone, "xclient")];
    assert_eq!(check(&listeners, &["--offline", "--strict"]).status.code(), Some(0));
    let output = check(&listeners, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("cannot connect to backend"), "{output:?}");
}

#[test]
fn mistakes_of_the_configuration_are_told_to_people_and_to_scripts() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sealgate.toml");
    fs::write(&config, "hostname = 'mail.example.com'\ndrian = '30s'\n").unwrap();
    let config = config.to_str().unwrap();

    for command in ["check", "run"] {
        let output = sealgate(&[command, "--config", config]);
        // `run` is about to serve: what it says of a broken configuration is the same.
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("did you mean `drain`?") && told.contains("2 | drian = '30s'"), "{command}: {told}");
    }
    let output = sealgate(&["check", "--json", "--config", config]);
    assert_eq!(output.status.code(), Some(2));
    let Value::Array(all) = serde_json::from_slice(&output.stdout).unwrap() else { panic!("{output:?}") };
    assert_eq!(all[0]["subject"], format!("{config}:2:1"));
    assert_eq!(all[0]["advice"], "did you mean `drain`?");
    assert_eq!(all.len(), 3, "{all:#?}");
}

#[test]
fn run_says_once_what_is_wrong_with_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sealgate.toml");
    let lines = "hostname = 'h.example'\n[[tls.certificate]]\nchain = 'absent.pem'\nkey = 'key.pem'\n\
        [[listener]]\nservice = 'imaps'\nbackend = '127.0.0.1:143'\nclient_identity = 'proxy-v2'\n";
    fs::write(&config, lines).unwrap();
    let output = sealgate(&["run", "--config", config.to_str().unwrap()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("No such file").count(), 1, "{told}");
    assert!(
        told.starts_with("error: ") && told.contains("absent.pem cannot be read") && told.contains("check the path")
    );
}

#[test]
fn whoever_has_seen_enough_of_the_json_causes_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sealgate.toml");
    fs::write(&config, "").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sealgate"))
        .args(["check", "--json", "--config", config.to_str().unwrap()])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_man_page_and_completions_come_from_the_command_line_itself() {
    let page = sealgate(&["generate", "man"]);
    assert!(page.status.success() && text(&page.stdout).contains(".TH sealgate 1"), "{page:?}");
    // Not filled: each example on a line of its own.
    assert!(text(&page.stdout).contains(".SH NOTES\n.nf\nFirst steps:\n"), "{page:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = sealgate(&["generate", "completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("offline"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    let man1 = directory.path().join("man1");
    assert!(sealgate(&["generate", "man", "--directory", man1.to_str().unwrap()]).status.success());
    for page in ["sealgate.1", "sealgate-check.1", "sealgate-run.1", "sealgate-generate-man.1"] {
        assert!(man1.join(page).exists(), "{page}");
    }
}

#[test]
fn every_help_text_fits_a_screen() {
    for command in [&[][..], &["run"], &["check"], &["demo"], &["report"], &["generate"], &["generate", "man"]] {
        let output = sealgate(&[command, &["--help"]].concat());
        let help = text(&output.stdout);
        assert!(output.status.success() && (5..=40).contains(&help.lines().count()), "{command:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command:?}: {help}");
    }
}

#[test]
fn limits_that_are_hardly_meant_are_pointed_out() {
    let nonsense = "[limits]\nexempt = ['0.0.0.0/0']\nsessions_per_minute = 10\nfailed_logins_per_minute = 1\n";
    let switched_off = "[limits]\nsessions_per_minute = 0\nfailed_logins_per_minute = 0\n";
    for (limits, expected) in [
        ("", &[][..]),
        (switched_off, &[]),
        (nonsense, &["covers every address", "could not come back at once", "locks out everybody"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        certificate(directory.path());
        let config = directory.path().join("sealgate.toml");
        let text = format!(
            "hostname = 'mail.example.com'\n{limits}[[tls.certificate]]\nchain = 'chain.pem'\nkey = 'key.pem'\n\
             [[listener]]\nservice = 'imaps'\nbackend = '127.0.0.1:10143'\nclient_identity = 'none'\n"
        );
        fs::write(&config, text).unwrap();
        let output = sealgate(&["check", "--offline", "--json", "--config", config.to_str().unwrap()]);
        let found = findings(&output);
        let warned: Vec<_> = found.iter().filter(|(area, verdict, _)| area == "config" && verdict == "warn").collect();
        assert_eq!(warned.len(), expected.len(), "{limits}: {found:?}");
        for (warning, words) in warned.iter().zip(expected) {
            assert!(warning.2.contains(words), "{warning:?}");
        }
    }
}

#[test]
fn what_run_would_stumble_over_on_this_host_fails() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let cases = [
        ("listen = ['192.0.2.77:25']", "cannot listen on 192.0.2.77:25", "ip address"),
        ("[log]\nto = '/nonexistent/sub/x.log'", "there is no directory /nonexistent/sub", "mkdir -p /nonexistent/sub"),
        ("[log]\nto = '/'", "/ is a directory", "name a file"),
    ];
    for (more, what, advice) in cases {
        let output = check_with(more, &[("imaps", nowhere, "none")], &["--offline"]);
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{more}: {told}");
        assert!(told.contains(what) && told.contains(advice), "{more}: {told}");
    }
    // A port that somebody has is the old server's, until it moves.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("listen = ['{}']", taken.local_addr().unwrap());
    assert_eq!(check_with(&more, &[("imaps", nowhere, "none")], &["--offline"]).status.code(), Some(0));
}
