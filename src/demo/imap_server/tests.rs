use super::super::testing::{client, talk};
use super::*;

const MAIL: &[u8] = b"Received: from x\r\n\tby y\r\nSubject: first\r\n\r\nbody\r\n";

fn mailbox() -> Arc<Mailbox> {
    let mailbox = Mailbox::new();
    mailbox.deliver(Bytes::from_static(MAIL)).unwrap();
    mailbox.deliver(Bytes::from_static(b"Subject: second\r\n\r\n")).unwrap();
    mailbox
}

/// All that the server says behind its greeting, however the bytes are cut.
async fn run(input: &str) -> String {
    let mut whole: Option<String> = None;
    for capacity in (1..40).chain([100_000]) {
        let mailbox = mailbox();
        let said = talk(capacity, input.as_bytes(), |wire| serve(wire, client(), Arc::clone(&mailbox))).await;
        let (greeting, said) = said.split_once("\r\n").unwrap();
        assert_eq!(greeting, format!("* OK [CAPABILITY {CAPABILITIES}] demo backend ready for [192.0.2.1]"));
        let said = said.replace(&format!("UIDVALIDITY {}", mailbox.uid_validity()), "UIDVALIDITY 1");
        assert_eq!(whole.get_or_insert_with(|| said.clone()), &said, "cut by {capacity}");
    }
    whole.unwrap()
}

/// The same behind LOGIN and SELECT, whose answers are left out.
async fn selected(input: &str) -> String {
    let said = run(&format!("l LOGIN demo demo\r\ns SELECT INBOX\r\n{input}")).await;
    said.split_once("s OK [READ-WRITE] SELECT completed\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn every_way_to_log_in() {
    let cases = [
        "a LOGIN demo demo\r\n",
        "a login \"demo\" {4}\r\ndemo\r\n",
        "a LOGIN {4+}\r\ndemo {4+}\r\ndemo\r\n",
        "a AUTHENTICATE PLAIN\r\nAGRlbW8AZGVtbw==\r\n",
        "a AUTHENTICATE PLAIN AGRlbW8AZGVtbw==\r\n",
    ];
    for login in cases {
        let said = run(&format!("{login}b LOGOUT\r\n")).await;
        let ok =
            format!("a OK [CAPABILITY {CAPABILITIES}] logged in\r\n* BYE logging out\r\nb OK LOGOUT completed\r\n");
        assert!(said.ends_with(&ok), "{login} {said}");
    }
}

#[tokio::test]
async fn every_way_not_to_log_in() {
    let cases = [
        ("a LOGIN demo wrong\r\n", "a NO [AUTHENTICATIONFAILED] user or password is wrong\r\n"),
        ("a AUTHENTICATE PLAIN AGRlbW8Ad3Jvbmc=\r\n", "a NO [AUTHENTICATIONFAILED] user or password is wrong\r\n"),
        ("a AUTHENTICATE PLAIN\r\n*\r\n", "+ \r\na BAD authentication cancelled or not base64\r\n"),
        ("a AUTHENTICATE XOAUTH2 abc=\r\n", "a NO [CANNOT] only PLAIN is supported\r\n"),
        ("a LOGIN demo\r\n", "a BAD a space is missing\r\n"),
        ("a SELECT INBOX\r\n", "a BAD unknown command, or not before login\r\n"),
        ("a LOGIN {70000}\r\n", "a BAD a literal is missing\r\n"),
    ];
    for (login, expected) in cases {
        assert_eq!(run(&format!("{login}b NOOP\r\n")).await, format!("{expected}b OK NOOP completed\r\n"), "{login}");
    }
}

#[tokio::test]
async fn rfc7888_4_a_literal_that_does_not_wait_and_is_too_large_ends_the_session() {
    let said = run("a LOGIN {70000+}\r\nb LOGOUT\r\n").await;
    assert_eq!(said, "* BYE literal too large\r\n");
}

#[tokio::test]
async fn rfc3501_6_3_mailboxes() {
    let said =
        run("l LOGIN demo demo\r\na LIST \"\" \"\"\r\nb LIST \"\" *\r\nc LSUB \"\" \"%\"\r\nd LIST \"\" Sent\r\n\
        e STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)\r\nf STATUS Sent (MESSAGES)\r\ng SELECT Sent\r\n\
        h FETCH 1 FLAGS\r\ni CREATE Sent\r\nj EXAMINE \"INBOX\"\r\n")
        .await;
    let expected = "* LIST (\\Noselect) \"/\" \"\"\r\na OK LIST completed\r\n\
        * LIST (\\Noinferiors) \"/\" INBOX\r\nb OK LIST completed\r\n\
        * LSUB (\\Noinferiors) \"/\" INBOX\r\nc OK LSUB completed\r\n\
        d OK LIST completed\r\n\
        * STATUS INBOX (MESSAGES 2 RECENT 0 UIDNEXT 3 UIDVALIDITY 1 UNSEEN 2)\r\ne OK STATUS completed\r\n\
        f NO [NONEXISTENT] there is INBOX only\r\n\
        g NO [NONEXISTENT] there is INBOX only\r\n\
        h BAD unknown command, or no mailbox is selected\r\n\
        i NO [CANNOT] the demo has one mailbox, and mail gets into it by SMTP alone\r\n\
        * FLAGS (\\Seen \\Deleted \\Answered \\Flagged \\Draft)\r\n* 2 EXISTS\r\n* 0 RECENT\r\n\
        * OK [UNSEEN 1] first unseen message\r\n* OK [PERMANENTFLAGS ()] kept until the demo ends\r\n\
        * OK [UIDVALIDITY 1] this run of the demo\r\n* OK [UIDNEXT 3] next\r\nj OK [READ-ONLY] EXAMINE completed\r\n";
    assert_eq!(said.split_once("logged in\r\n").unwrap().1, expected);
}

#[tokio::test]
async fn rfc3501_6_4_5_reading_marks_as_seen_and_peeking_does_not() {
    let mail = std::str::from_utf8(MAIL).unwrap();
    let said = selected("a FETCH 1 BODY.PEEK[]\r\nb UID FETCH 1 (FLAGS BODY[])\r\nc UID SEARCH UNSEEN\r\n").await;
    let size = MAIL.len();
    assert_eq!(
        said,
        format!(
            "* 1 FETCH (BODY[] {{{size}}}\r\n{mail})\r\na OK FETCH completed\r\n\
             * 1 FETCH (UID 1 FLAGS () BODY[] {{{size}}}\r\n{mail} FLAGS (\\Seen))\r\nb OK FETCH completed\r\n\
             * SEARCH 2\r\nc OK SEARCH completed\r\n"
        )
    );
}

#[tokio::test]
async fn rfc3501_6_4_6_flags_are_stored_and_messages_expunged() {
    let said = selected(
        "a STORE 1 +FLAGS (\\Deleted $Keyword)\r\nb UID STORE 2 FLAGS.SILENT \\Flagged\r\nc FETCH 1:* FLAGS\r\n\
         d EXPUNGE\r\ne SEARCH ALL\r\nf UID FETCH 1:* (UID)\r\ng CLOSE\r\nh CHECK\r\n",
    )
    .await;
    assert_eq!(
        said,
        "* 1 FETCH (FLAGS (\\Deleted))\r\na OK STORE completed\r\nb OK STORE completed\r\n\
         * 1 FETCH (FLAGS (\\Deleted))\r\n* 2 FETCH (FLAGS (\\Flagged))\r\nc OK FETCH completed\r\n\
         * 1 EXPUNGE\r\nd OK EXPUNGE completed\r\n* SEARCH 1\r\ne OK SEARCH completed\r\n\
         * 1 FETCH (UID 2)\r\nf OK FETCH completed\r\ng OK CLOSE completed\r\n\
         h BAD unknown command, or no mailbox is selected\r\n"
    );
}

#[tokio::test]
async fn rfc3501_6_3_2_examine_changes_nothing() {
    let said = run("l LOGIN demo demo\r\ns EXAMINE INBOX\r\na FETCH 1 BODY[TEXT]\r\nb STORE 1 FLAGS (\\Deleted)\r\n\
        c EXPUNGE\r\nd CLOSE\r\ne STATUS INBOX (MESSAGES UNSEEN)\r\n")
    .await;
    assert!(
        said.ends_with(
            "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)\r\na OK FETCH completed\r\n\
             b NO the mailbox is selected read-only\r\nc NO the mailbox is selected read-only\r\nd OK CLOSE completed\r\n\
             * STATUS INBOX (MESSAGES 2 UNSEEN 2)\r\ne OK STATUS completed\r\n"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_the_session_goes_on() {
    let cases = [
        ("a\r\n", "a BAD a space is missing\r\n"),
        ("\r\n", "* BAD a tag is missing\r\n"),
        ("a FOO\r\n", "a BAD unknown command\r\n"),
        ("a FETCH 0 FLAGS\r\n", "a BAD numbers begin at 1\r\n"),
        ("a FETCH 1\r\n", "a BAD a space is missing\r\n"),
        ("a UID COPY 1 x\r\n", "a BAD UID goes with FETCH, STORE and SEARCH\r\n"),
        ("a STORE 1 FOO \\Seen\r\n", "a BAD STORE takes FLAGS, +FLAGS or -FLAGS\r\n"),
        ("a EXPUNGE now\r\n", "a BAD too many arguments\r\n"),
        ("a SEARCH FOO\r\n", "a BAD this search key is not supported\r\n"),
        ("a NO\nOP\r\n", "* BAD a line ends in CRLF and holds no other CR or LF\r\nOP BAD a space is missing\r\n"),
    ];
    for (input, expected) in cases {
        let said = selected(&format!("{input}z ID NIL\r\n")).await;
        let id = "* ID (\"name\" \"Sealgate demo backend\")\r\nz OK ID completed\r\n";
        assert_eq!(said, format!("{expected}{id}"), "{input}");
    }
    let said = run(&"a FOO\r\n".repeat(30)).await;
    assert!(said.ends_with("a BAD unknown command, or not before login\r\n* BYE too many errors\r\n"), "{said}");
    assert_eq!(said.lines().count(), 21);
    let said = run(&"a\n".repeat(30)).await;
    assert!(said.ends_with("* BYE too many errors\r\n"), "{said}");
}

#[tokio::test]
async fn rfc2177_idle_tells_of_new_mail_at_once() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let (here, there) = tokio::io::duplex(1000);
    let mailbox = mailbox();
    let wire = Wire::new(there, Duration::from_secs(60));
    let session = tokio::spawn(serve(wire, client(), Arc::clone(&mailbox)));
    let (reader, mut writer) = tokio::io::split(here);
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc IDLE\r\n").await.unwrap();
    while lines.next_line().await.unwrap().unwrap() != "+ idling" {}

    mailbox.deliver(Bytes::from_static(b"third")).unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "* 3 EXISTS");
    mailbox.store(1, super::super::mailbox::Change::Add, Flags::DELETED).unwrap();
    mailbox.store(3, super::super::mailbox::Change::Add, Flags::DELETED).unwrap();
    mailbox.expunge();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "* 3 EXPUNGE");
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "* 1 EXPUNGE");

    writer.write_all(b"DONE\r\nd IDLE\r\nNOOP\r\ne LOGOUT\r\n").await.unwrap();
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push(line);
    }
    let expected =
        ["c OK IDLE completed", "+ idling", "d BAD IDLE ends with DONE", "* BYE logging out", "e OK LOGOUT completed"];
    assert_eq!(rest, expected);
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn rfc3501_7_4_1_no_expunge_while_numbers_count() {
    let mailbox = mailbox();
    let (here, there) = tokio::io::duplex(10_000);
    let wire = Wire::new(there, Duration::from_secs(60));
    tokio::spawn(serve(wire, client(), Arc::clone(&mailbox)));
    let (reader, mut writer) = tokio::io::split(here);
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(reader));
    let mut until = async |command: &str, end: &str| {
        tokio::io::AsyncWriteExt::write_all(&mut writer, command.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while heard.last().is_none_or(|line: &String| !line.starts_with(end)) {
            heard.push(lines.next_line().await.unwrap().unwrap());
        }
        heard
    };
    until("a LOGIN demo demo\r\nb SELECT INBOX\r\n", "b OK").await;
    mailbox.store(1, super::super::mailbox::Change::Add, Flags::DELETED).unwrap();
    mailbox.expunge();
    let fetched = until("c FETCH 1:2 UID\r\n", "c OK").await;
    assert_eq!(fetched, ["* 2 FETCH (UID 2)", "c OK FETCH completed"]);
    let news = until("d NOOP\r\n", "d OK").await;
    assert_eq!(news, ["* 1 EXPUNGE", "d OK NOOP completed"]);
    let fetched = until("e FETCH 1 UID\r\n", "e OK").await;
    assert_eq!(fetched, ["* 1 FETCH (UID 2)", "e OK FETCH completed"]);
}
