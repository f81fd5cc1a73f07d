//! The configuration, from the outside: the files that are shipped, and what people are told about broken ones.
//!
//! Every `tests/config/invalid/NAME.toml` stands beside `NAME.stderr`, what an administrator would read.
//! `BLESS=1 cargo test --test config` writes them anew; look at the difference before you commit it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test: a panic is how it fails

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealgate::config::{
    BackendAddr, ClientCertificates, ClientIdentity, Config, Errors, LogFormat, LogProgram, LogTarget, Policy, User,
};
use sealgate::protocol::BareNewline;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = repository().join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// Reads a file under its name alone, so that no message depends on where the repository lies.
fn read(path: &Path) -> Result<Config, Errors> {
    Config::parse(&fs::read_to_string(path).unwrap(), Path::new(path.file_name().unwrap()))
}

#[test]
fn what_is_shipped_is_valid() {
    let mut cases = files("config/examples");
    assert!(cases.len() >= 4, "{cases:?}");
    cases.push(repository().join("config/sealgate.toml"));
    cases.extend(files("tests/config/valid"));
    for case in cases {
        if let Err(errors) = read(&case) {
            panic!("{}:\n{errors}", case.display());
        }
    }
}

/// systemd's unit lets the gate write nothing but its own directory of logs.
#[test]
fn every_example_logs_where_the_unit_lets_it() {
    let unit = fs::read_to_string(repository().join("systemd/sealgate.service")).unwrap();
    let own = unit.lines().find_map(|line| line.strip_prefix("LogsDirectory=")).unwrap();
    let mut to_a_file = 0;
    for example in [files("config"), files("config/examples")].concat() {
        if let LogTarget::File(path) = read(&example).unwrap().log.to {
            assert_eq!(path.parent(), Some(&*Path::new("/var/log").join(own)), "{}", example.display());
            to_a_file += 1;
        }
    }
    assert!(to_a_file > 0, "no example logs to a file");
}

#[test]
fn the_readme_shows_the_smallest_example() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let shown: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown, [fs::read_to_string(repository().join("config/examples/minimal.toml")).unwrap()]);
}

#[test]
fn the_reference_shows_the_defaults() {
    let reference = read(&repository().join("config/sealgate.toml")).unwrap();
    let shortest = "\
        hostname = 'mail.example.com'\n\
        [[tls.certificate]]\n\
        chain = '/etc/letsencrypt/live/mail.example.com/fullchain.pem'\n\
        key = '/etc/letsencrypt/live/mail.example.com/privkey.pem'\n\
        [[listener]]\n\
        service = 'smtp'\n\
        backend = '127.0.0.1:10025'\n\
        client_identity = 'proxy-v2'\n";
    let defaults = Config::parse(shortest, Path::new("sealgate.toml")).unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{defaults:#?}"));
}

#[test]
fn without_tickets_there_is_no_key_to_rotate() {
    let shortest = fs::read_to_string(repository().join("tests/config/valid/shortest.toml")).unwrap();
    let with = |line: &str| {
        let text = shortest.replacen("\n\n", &format!("\ntls.{line}\n\n"), 1);
        assert_ne!(text, shortest);
        Config::parse(&text, Path::new("sealgate.toml")).unwrap().tls.ticket_rotation
    };
    assert_eq!(with("tickets = true"), Some(Duration::from_secs(3600)));
    assert_eq!(with("tickets = false"), None);
}

#[test]
fn every_value_arrives() {
    let config = read(&repository().join("tests/config/valid/everything-changed.toml")).unwrap();
    assert_eq!(&*config.hostname, "mx-1.xn--bcher-kva.example");
    assert_eq!(config.drain, Duration::from_millis(500));
    assert_eq!(config.workers.get(), 3);
    assert_eq!(config.user, Some(User::Name("sealgate".to_owned())));
    assert_eq!(config.dns.servers, ["127.0.0.1:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
    assert_eq!((config.dns.deadline, config.dns.cache.get()), (Duration::from_secs(2), 16));
    assert_eq!(config.tls.policy, Policy::Modern);
    assert_eq!(config.tls.client_certificates, ClientCertificates::Request { ca: "clients.pem".into() });
    assert_eq!(config.tls.ticket_rotation, Some(Duration::from_secs(84 * 3600)));
    let files: Vec<_> = config.tls.certificates.iter().map(|pair| (&*pair.chain, &*pair.key)).collect();
    let path = Path::new;
    assert_eq!(files, [(path("/etc/a.pem"), path("/etc/a.key")), (path("b.pem"), path("../b.key"))]);
    assert_eq!((config.log.format, config.log.program), (LogFormat::Postfix, LogProgram::Postfix));
    assert_eq!(config.log.to, LogTarget::File("/var/log/sealgate.log".into()));
    assert!(config.received_user);
    let limits = &config.limits;
    assert_eq!((limits.connections_per_address.get(), limits.errors), (1, 1));
    assert_eq!(limits.xclient_connections_per_address.get(), 2);
    let most = [limits.sessions_per_minute, limits.failed_handshakes_per_minute, limits.failed_logins_per_minute];
    assert_eq!(most.map(|most| most.map_or(0, NonZeroU32::get)), [0, 2, 3]);
    assert!(config.limits.exempt.is_empty());
    let d = config.deadlines;
    let short = [d.proxy_header, d.handshake, d.connect, d.greeting, d.login, d.command].map(|d| d.as_secs());
    assert_eq!(short, [1, 2, 3, 4, 5, 6]);
    assert_eq!(d.body_rate, None);
    assert_eq!([d.body, d.reply, d.delivery].map(|d| d.as_secs()), [7 * 60, 8 * 3600, 720 * 3600]);

    let [submission, imap] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!(submission.service.name, "submission");
    let addresses = ["127.0.0.1:0", "127.0.0.1:0", "192.0.2.1:587"].map(|address| address.parse().unwrap());
    assert_eq!(submission.listen, addresses);
    assert_eq!(submission.backends, [BackendAddr::Unix("/run/smtp".into())]);
    assert_eq!(submission.identity, ClientIdentity::None);
    assert!(submission.relay_as_proxy);
    let networks = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"].map(|network| network.parse().unwrap());
    assert_eq!(submission.accept_proxy_from, networks);
    assert_eq!(submission.connections.get(), u32::MAX as usize);
    assert_eq!(submission.bare_newline, BareNewline::Reject);
    assert_eq!(imap.service.name, "imap");
    assert_eq!(imap.listen, ["0.0.0.0:143", "[::]:143"].map(|address| address.parse().unwrap()));
    assert_eq!(imap.backends, [BackendAddr::Tcp("192.0.2.9:143".parse().unwrap())]);
    assert_eq!(imap.identity, ClientIdentity::ImapId);
}

#[test]
fn several_backends_arrive_in_their_order() {
    let config = read(&repository().join("tests/config/valid/several-backends.toml")).unwrap();
    let tcp = |address: &str| BackendAddr::Tcp(address.parse().unwrap());
    let expected = [tcp("127.0.0.1:10025"), BackendAddr::Unix("/run/smtp".into()), tcp("[::1]:10025")];
    assert_eq!(config.listeners[0].backends, expected);
}

#[test]
fn paths_start_in_the_directory_of_the_file() {
    let text = fs::read_to_string(repository().join("tests/config/valid/everything-changed.toml")).unwrap();
    let config = Config::parse(&text, Path::new("/etc/sealgate/sealgate.toml")).unwrap();
    assert_eq!(config.tls.certificates[0].chain, Path::new("/etc/a.pem"));
    assert_eq!(config.tls.certificates[1].chain, Path::new("/etc/sealgate/b.pem"));
    assert_eq!(config.tls.client_certificates, ClientCertificates::Request { ca: "/etc/sealgate/clients.pem".into() });
}

#[test]
fn mistakes_are_told_as_expected() {
    let cases = files("tests/config/invalid");
    assert!(!cases.is_empty());
    let bless = std::env::var_os("BLESS").is_some();
    let mut different = Vec::new();
    for case in cases {
        let Err(errors) = read(&case) else { panic!("{} has no mistake", case.display()) };
        let told = format!("{errors}\n");
        assert_eq!(anstream::adapter::strip_str(&errors.styled()).to_string() + "\n", told, "colours apart, the same");
        let expectation = case.with_extension("stderr");
        if bless {
            fs::write(&expectation, &told).unwrap();
        }
        if fs::read_to_string(&expectation).unwrap_or_default() != told {
            different.push(format!("{}:\n{told}", case.display()));
        }
    }
    assert!(different.is_empty(), "BLESS=1 would change:\n{}", different.join("\n"));
}

/// What `client_certificates` says may be wrong itself: then nobody knows whether the file of authorities is out of place.
#[test]
fn authorities_without_a_question_are_a_mistake_told_once() {
    for (asks, expected) in [
        ("", "`tls.client_ca`: no client is asked for a certificate, so nothing is done with it"),
        (
            "client_certificates = 'none'",
            "`tls.client_ca`: no client is asked for a certificate, so nothing is done with it",
        ),
        ("client_certificates = 'required'", "`tls.client_certificates`: \"required\" is not known"),
    ] {
        let text = format!("hostname = 'mail.example.com'\n[tls]\nclient_ca = 'ca.pem'\n{asks}\n");
        let errors = Config::parse(&text, Path::new("x.toml")).unwrap_err();
        let told: Vec<_> = errors.mistakes().iter().map(|mistake| mistake.what.as_str()).collect();
        let about: Vec<_> = told.iter().filter(|what| what.contains("tls.client_c")).collect();
        assert_eq!(about, [&expected], "{asks}");
    }
}

#[test]
fn a_mistake_knows_its_line_and_column() {
    let errors = Config::parse("# ü\nhostname = 'ü.example'\n\tdrain = 'ü' # ü\n", Path::new("x.toml")).unwrap_err();
    let places: Vec<_> =
        errors.mistakes().iter().map(|mistake| (mistake.what.as_str(), errors.place(mistake))).collect();
    assert_eq!(places[0], ("`hostname`: \"ü.example\" is not a DNS name", Some((2, 12))));
    assert_eq!(places[1], ("`drain`: \"ü\" is not a duration", Some((3, 10))));
    assert_eq!(places[2], ("there is no [[tls.certificate]]", None));
}

#[test]
fn an_unreadable_file_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("large.toml"), vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    fs::write(path("latin1.toml"), b"drain = '30s'\n# f\xfcr").unwrap();
    for (name, told) in [
        ("absent.toml", "cannot read the configuration: No such file or directory"),
        ("", "cannot read the configuration: it is a directory"),
        ("", "name the file in it with --config FILE"),
        ("large.toml", "larger than 1 MiB"),
        ("latin1.toml", "line 2 is not UTF-8"),
    ] {
        let errors = Config::load(&path(name)).unwrap_err().to_string();
        assert!(errors.contains(told), "{name}: {errors}");
        assert!(errors.contains(&path(name).display().to_string()), "{name}: {errors}");
    }
}

/// Whatever is in a file, reading it ends with a configuration or with at least one mistake, each inside the file.
#[test]
fn no_cut_of_a_file_confuses_the_reader() {
    let cases: Vec<_> = ["config", "config/examples", "tests/config/valid", "tests/config/invalid"].map(files).concat();
    assert!(!cases.is_empty());
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        for (end, _) in text.char_indices() {
            if let Err(errors) = Config::parse(&text[..end], &case) {
                assert!(!errors.mistakes().is_empty());
                if end % 16 == 0 {
                    assert!(!errors.to_string().is_empty());
                }
            }
        }
    }
}
