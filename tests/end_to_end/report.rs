//! What the log says of a session, and `sealgate report` on our own log and on the real Postfix's.

use crate::support::clients::{Finished, run};
use crate::support::gate::gate;
use crate::support::pki::pki;
use crate::support::stack::stack;
use crate::support::wire::Offer;

fn run_report(log: &str) -> Finished {
    run(env!("CARGO_BIN_EXE_sealgate"), &["report", "-"], log.as_bytes()).success()
}

#[test]
fn our_own_log_and_postfix_s_are_counted() {
    let (stack, _shown) = stack();
    let (gate, _gate_shown) = gate();
    let ca = pki().ca.to_str().expect("UTF-8");
    // A session each through the gate, and to the old servers' own TLS, one of them without forward secrecy.
    let connect = |port: u16, starttls: &[&str], more: &[&str]| {
        let address = format!("127.0.0.1:{port}");
        let args = [&["s_client", "-connect", &address, "-CAfile", ca], starttls, more].concat();
        run("openssl", &args, b"QUIT\r\n").success()
    };
    let ours = gate.log.tail();
    connect(gate.port("imaps"), &[], &["-tls1_3"]);
    connect(gate.port("imaps"), &[], &["-tls1_2"]);
    ours.wait_for(&["event=ended", "tls_version=TLSv1.3"]);
    ours.wait_for(&["event=ended", "tls_version=TLSv1.2"]);
    let postfix = stack.postfix.log.tail();
    connect(stack.postfix.hardened, &["-starttls", "smtp"], &["-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"]);
    connect(stack.postfix.hardened, &["-starttls", "smtp"], &["-tls1_3"]);
    postfix.wait_for(&["TLS connection established from", "AES256-GCM-SHA384"]);
    postfix.wait_for(&["TLS connection established from", "TLSv1.3"]);

    let report = run_report(&ours.text());
    for word in ["TLSv1.3", "TLSv1.2", "imaps", "ECDHE-"] {
        assert!(report.text().contains(word), "{word}: {}", report.story());
    }
    let report = run_report(&postfix.text());
    for word in ["TLSv1.3", "AES256-GCM-SHA384", "forward"] {
        assert!(report.text().contains(word), "{word}: {}", report.story());
    }
}

#[test]
fn a_record_counts_every_octet_that_the_client_said_and_heard() {
    let (gate, _shown) = gate();
    let config = Offer::default().config();
    let smtp: &[&str] = &["NOOP", "QUIT"];
    let imap: &[&str] = &["a CAPABILITY", "b NOOP", "c LOGOUT"];
    for (service, words) in
        [("smtp", smtp), ("submission", smtp), ("submissions", smtp), ("imap", imap), ("imaps", imap), ("imaps", &[])]
    {
        let log = gate.log.tail(); // another test's client may have had the same port before
        let mut wire = gate.secured(service, &config);
        words.iter().for_each(|word| wire.send(format!("{word}\r\n")));
        // Who has said nothing leaves by itself.
        if words.is_empty() {
            wire.finish()
        } else {
            drop(wire.rest())
        }
        let line = log.wait_for(&["event=ended", &format!("client_port={} ", wire.port)]);
        let [sent, received] = wire.counted;
        assert!(line.contains(&format!(" bytes_in={sent} bytes_out={received} ")), "{sent} {received} {line}");
    }
}
