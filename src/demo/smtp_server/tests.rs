use bytes::Bytes;

use super::super::testing::{client, talk};
use super::*;

/// All that the server says, its greeting aside, however the bytes are cut, and what is in the mailbox then.
async fn run(input: &str) -> (String, Vec<Bytes>) {
    let mut whole: Option<(String, Vec<Bytes>)> = None;
    for capacity in (1..40).chain([100_000]) {
        let mailbox = Mailbox::new();
        let session = |wire| serve(wire, client(), Arc::clone(&mailbox));
        let said = talk(capacity, input.as_bytes(), session).await;
        let said = said.strip_prefix("220 mail.demo.example ESMTP demo backend\r\n").unwrap().to_owned();
        let now = (said, mailbox.messages().into_iter().map(|message| message.content).collect());
        assert_eq!(whole.get_or_insert_with(|| now.clone()), &now, "cut by {capacity}");
    }
    whole.unwrap()
}

/// The codes of the final reply lines.
fn codes(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}

#[tokio::test]
async fn ehlo_tells_the_extensions_and_who_the_proxy_says_is_there() {
    let (said, _) = run("EHLO client.example\r\nQUIT\r\n").await;
    assert_eq!(
        said,
        "250-mail.demo.example Hello [192.0.2.1], secured by TLS\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
         250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-SIZE 16777216\r\n\
         250-AUTH PLAIN LOGIN\r\n250 HELP\r\n221 2.0.0 mail.demo.example closing connection\r\n"
    );
}

#[tokio::test]
async fn a_pipelined_mail_reaches_the_mailbox_unchanged() {
    let mail = "EHLO x\r\nMAIL FROM:<a@b.example> SIZE=20 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<demo@demo.example> NOTIFY=NEVER\r\n\
        DATA\r\nSubject: x\r\n\r\n..\r\nbody\r\n.\r\nQUIT\r\n";
    let (said, mails) = run(mail).await;
    assert_eq!(codes(&said), ["250", "250", "250", "354", "250", "221"]);
    assert_eq!(mails, ["Subject: x\r\n\r\n.\r\nbody\r\n"]);
}

#[tokio::test]
async fn rfc3030_chunks_are_one_mail() {
    let mail =
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 4\r\na\r\n.BDAT 0\r\nBDAT 3 LAST\r\n\r\nbQUIT\r\n";
    let (said, mails) = run(mail).await;
    assert_eq!(codes(&said), ["250", "250", "250", "250", "250", "250", "221"]);
    assert_eq!(mails, ["a\r\n.\r\nb"]);
}

#[tokio::test]
async fn nobody_may_relay_without_a_login() {
    let (said, mails) = run("EHLO x\r\nMAIL FROM:<a@demo.example>\r\nRCPT TO:<a@elsewhere.example>\r\n\
        RCPT TO:<a@demo.example.elsewhere.example>\r\nRCPT TO:<a>\r\nDATA\r\nQUIT\r\n")
    .await;
    assert_eq!(codes(&said), ["250", "250", "554", "554", "554", "554", "221"]);
    assert!(said.contains("554 5.7.1 <a@elsewhere.example>: Relay access denied for [192.0.2.1]\r\n"), "{said}");
    assert!(mails.is_empty());
}

#[tokio::test]
async fn after_a_login_mail_for_anywhere_goes_into_the_mailbox() {
    let plain = "AUTH PLAIN AGRlbW8AZGVtbw==\r\n";
    let asked = "AUTH PLAIN\r\nAGRlbW8AZGVtbw==\r\n";
    let login = "AUTH LOGIN\r\nZGVtbw==\r\nZGVtbw==\r\n";
    for (auth, expected) in
        [(plain, "235 2.7.0"), (asked, "334 \r\n235"), (login, "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235")]
    {
        let (said, mails) = run(&format!(
            "EHLO x\r\n{auth}MAIL FROM:<a@demo.example>\r\nRCPT TO:<a@elsewhere.example>\r\nDATA\r\n.\r\nQUIT\r\n"
        ))
        .await;
        assert!(said.contains(expected), "{said}");
        assert_eq!(mails, [""]);
    }
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_client_a_stranger() {
    let cases = [
        ("AUTH PLAIN AGRlbW8Ad3Jvbmc=\r\n", "535 5.7.8"),
        ("AUTH PLAIN\r\n*\r\n", "501 5.5.2"),
        ("AUTH LOGIN\r\nZGVtbw==\r\n*\r\n", "501 5.5.2"),
        ("AUTH PLAIN not-base64\r\n", "501 5.5.2"),
        ("AUTH CRAM-MD5\r\n", "504 5.5.4"),
    ];
    for (auth, expected) in cases {
        let (said, _) =
            run(&format!("EHLO x\r\n{auth}MAIL FROM:<>\r\nRCPT TO:<a@elsewhere.example>\r\nQUIT\r\n")).await;
        assert!(said.contains(expected) && said.contains("554 5.7.1"), "{auth} {said}");
    }
}

#[tokio::test]
async fn commands_out_of_order_or_malformed_are_refused() {
    let cases = [
        ("MAIL FROM:<>\r\n", "503 5.5.1"),
        ("EHLO\r\n", "501 5.5.4"),
        ("EHLO x\r\nRCPT TO:<a@demo.example>\r\n", "503 5.5.1"),
        ("EHLO x\r\nDATA\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<>\r\nDATA\r\n", "554 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\n", "501 5.5.4"),
        ("EHLO x\r\nMAIL FROM:a\r\n", "501 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<> FOO\r\n", "555 5.5.4"),
        ("EHLO x\r\nMAIL FROM:<> SIZE=16777217\r\n", "552 5.3.4"),
        ("EHLO x\r\nBDAT 2\r\n\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 1\r\nxDATA\r\n", "503 5.5.1"),
        ("EHLO x\r\nMAIL FROM:<>\r\nAUTH PLAIN =\r\n", "503 5.5.1"),
        ("XCLIENT ADDR=127.0.0.1\r\n", "500 5.5.2"),
        ("NOOP\nQUIT\r\n", "500 5.5.2"),
    ];
    for (input, expected) in cases {
        let (said, mails) = run(&format!("{input}QUIT\r\n")).await;
        assert!(said.contains(expected), "{input} {said}");
        assert!(said.ends_with("closing connection\r\n"), "{input} {said}");
        assert!(mails.is_empty());
    }
}

#[tokio::test]
async fn a_transaction_ends_with_rset_and_with_ehlo() {
    let (said, _) = run("EHLO x\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nEHLO x\r\nRCPT TO:<postmaster>\r\nVRFY a\r\nHELP\r\nNOOP\r\nQUIT\r\n").await;
    assert_eq!(codes(&said), ["250", "250", "250", "250", "250", "503", "252", "214", "250", "221"]);
}

#[tokio::test]
async fn a_chunk_whose_length_cannot_be_read_ends_the_session() {
    for command in ["BDAT", "BDAT x", "BDAT 1 FIRST", "BDAT 1 LAST LAST", "BDAT -1"] {
        let (said, _) = run(&format!("EHLO x\r\n{command}\r\nMAIL FROM:<>\r\n")).await;
        assert_eq!(codes(&said), ["250", "501", "421"], "{command}");
    }
}

#[tokio::test]
async fn a_cut_off_mail_is_not_delivered() {
    for end in ["DATA\r\nabc\r\n", "DATA\r\nabc\r\n.", "BDAT 4 LAST\r\nabc", "BDAT 3\r\nabc"] {
        let (_, mails) = run(&format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n{end}")).await;
        assert!(mails.is_empty(), "{end}");
    }
}

#[tokio::test]
async fn too_many_errors_and_recipients_are_bounded() {
    let (said, _) = run(&"FOO\r\n".repeat(30)).await;
    assert_eq!(codes(&said).len(), 21);
    assert!(said.ends_with("421 4.7.0 mail.demo.example Error: too many errors\r\n"), "{said}");

    let many = "RCPT TO:<a@demo.example>\r\n".repeat(101);
    let (said, _) = run(&format!("EHLO x\r\nMAIL FROM:<>\r\n{many}QUIT\r\n")).await;
    assert_eq!(codes(&said).iter().filter(|code| **code == "250").count(), 102);
    assert!(said.contains("452 4.5.3"));
}

#[tokio::test]
async fn a_mail_over_the_limit_is_refused_and_the_session_goes_on() {
    let line = "x".repeat(998) + "\r\n";
    let body = line.repeat(MESSAGE_LIMIT / 1000 + 1);
    let data = format!("DATA\r\n{body}.\r\n");
    let chunk = format!("BDAT {} LAST\r\n{body}", body.len());
    for content in [data, chunk] {
        let mailbox = Mailbox::new();
        let input = format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n{content}NOOP\r\nQUIT\r\n");
        let said = talk(100_000, input.as_bytes(), |wire| serve(wire, client(), Arc::clone(&mailbox))).await;
        assert!(said.contains("552 5.3.4"), "{said}");
        assert!(said.ends_with("250 2.0.0 Ok\r\n221 2.0.0 mail.demo.example closing connection\r\n"), "{said}");
        assert!(mailbox.messages().is_empty());
    }
}
