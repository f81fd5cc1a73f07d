//! Logins that the network may not try any more, and those whose client is gone, with the protocols' own dialogues.

use super::*;
use crate::facts::TlsFacts;
use crate::protocol::Protocol;
use crate::protocol::imap::Imap;
use crate::protocol::smtp::{Smtp, fixtures};

/// How long a reply may take,
const REPLY: Duration = Duration::from_secs(90);

/// and a login.
const LOGIN: Duration = Duration::from_secs(60);

struct Talk {
    client: DuplexStream,
    backend: DuplexStream,
    barred: Arc<Mutex<bool>>,
    /// There is no room for another login just now.
    full: Arc<Mutex<bool>>,
    stop: crate::stop::Stopper,
    events: Arc<Mutex<Vec<Event>>>,
    relay: tokio::task::JoinHandle<End<Torn>>,
}

/// A client's stream; its end is no end in order, as that of TLS without close_notify.
type Torn = Watched<fn(Poll<io::Result<usize>>) -> Poll<io::Result<usize>>>;

fn torn(stream: DuplexStream) -> Torn {
    Watched(stream, |read| match read {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        read => read,
    })
}

impl Talk {
    /// With a backend that has greeted, and been greeted.
    async fn new(protocol: &dyn Protocol) -> Self {
        let (client, ours) = duplex(1024);
        let (backend, theirs) = duplex(1024);
        let service = if protocol.name() == "smtp" { "submission" } else { "imaps" };
        let context = fixtures::context(service, "192.0.2.1:40000", Some(TlsFacts::example()));
        let start = Start {
            client: torn(ours),
            client_input: BytesMut::new(),
            backend: Some(theirs),
            backend_input: BytesMut::new(),
            dialogue: protocol.dialogue(&context, None),
            least_rate: None,
        };
        let (stop, stopped) = crate::stop::channel();
        let (barred, full) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(false)));
        let events = Arc::new(Mutex::new(Vec::new()));
        let (is_barred, is_full, heard) = (barred.clone(), full.clone(), events.clone());
        let hear = move |event| {
            let mut barred = is_barred.lock().unwrap();
            let (is_barred, is_last) =
                (matches!(event, Event::Attempt { .. }) && *barred, matches!(event, Event::Auth { ok: false, .. }));
            let must_wait = event == Event::Attempt { guess: true } && *is_full.lock().unwrap();
            *barred |= is_last;
            heard.lock().unwrap().push(event);
            let delay = if is_last || must_wait { PAUSE } else { Duration::ZERO };
            Setback { delay, is_last, is_barred, must_wait }
        };
        let allowed = |wait| if wait == Wait::Reply { REPLY } else { LOGIN };
        let relay = tokio::spawn(run(start, allowed, stopped, hear));
        let mut talk = Self { client, backend, barred, full, stop, events, relay };
        if service == "submission" {
            talk.backend.write_all(b"220 mx\r\n").await.unwrap();
            talk.asks("EHLO c\r\n").await;
            talk.backend.write_all(b"250 mx\r\n").await.unwrap();
            assert_eq!(read(&mut talk.client, 8).await, "250 mx\r\n");
        } else {
            talk.backend.write_all(b"* OK ready\r\n").await.unwrap();
        }
        talk
    }

    async fn asks(&mut self, words: &str) {
        self.client.write_all(words.as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.backend, words.len()).await, words);
    }
}

#[tokio::test]
async fn a_login_that_is_barred_reaches_no_backend_and_ends_the_session() {
    let plain = "AUTH PLAIN AGEAYg==\r\n";
    for (protocol, before, answer, attempt, farewell) in [
        (&Smtp as &dyn Protocol, "NOOP\r\n", "250 ok\r\n", plain, "421 4.7.0 "),
        (&Smtp, "AUTH LOGIN\r\n", "334 u\r\n", "YQ==\r\n", "421 4.7.0 "),
        (&Imap, "a NOOP\r\n", "a OK done\r\n", "b LOGIN x y\r\n", "* BYE [UNAVAILABLE] "),
        (&Imap, "a NOOP\r\n", "a OK done\r\n", "b LOGIN {1+}\r\nx y\r\n", "* BYE [UNAVAILABLE] "),
        (&Imap, "a LOGIN x {1}\r\n", "+ go\r\n", "y\r\n", "* BYE [UNAVAILABLE] "),
        (&Imap, "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "AGEAYg==\r\n", "* BYE [UNAVAILABLE] "),
    ] {
        let mut talk = Talk::new(protocol).await;
        talk.asks(before).await;
        talk.backend.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(read(&mut talk.client, answer.len()).await, answer);
        *talk.barred.lock().unwrap() = true;
        talk.client.write_all(attempt.as_bytes()).await.unwrap();
        let end = talk.relay.await.unwrap();
        assert_eq!(end.reason.phrase, TOO_MANY_LOGINS.phrase, "{attempt}");
        drop(end);
        let said = rest(&mut talk.client).await;
        assert!(said.starts_with(farewell) && said.contains("too many failures"), "{attempt}: {said}");
        assert_eq!(rest(&mut talk.backend).await, "", "{attempt}");
        let events = talk.events.lock().unwrap();
        assert!(matches!(events.last(), Some(Event::Attempt { .. })), "{attempt}: {events:?}");
    }
}

/// Logins in one piece and in the last of several: the protocol, what came before, its answer, what passes in any case, the guess.
const ATTEMPTS: [(&dyn Protocol, &str, &str, &str, &str); 5] = [
    (&Smtp, "NOOP\r\n", "250 ok\r\n", "", "AUTH PLAIN AGEAYg==\r\n"),
    (&Smtp, "AUTH PLAIN\r\n", "334 \r\n", "", "AGEAYg==\r\n"),
    (&Imap, "a NOOP\r\n", "a OK done\r\n", "", "b LOGIN x y\r\n"),
    (&Imap, "a LOGIN x {1}\r\n", "+ go\r\n", "y", "\r\n"),
    (&Imap, "a AUTHENTICATE PLAIN\r\n", "+ \r\n", "", "AGEAYg==\r\n"),
];

/// A talk in which an attempt waits for its turn, five pauses long by now.
async fn waiting((protocol, before, answer, begins, attempt): (&dyn Protocol, &str, &str, &str, &str)) -> Talk {
    let mut talk = Talk::new(protocol).await;
    talk.asks(before).await;
    talk.backend.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(read(&mut talk.client, answer.len()).await, answer);
    let guess = Event::Attempt { guess: true };
    let attempts = |talk: &Talk| talk.events.lock().unwrap().iter().filter(|&event| *event == guess).count();
    let tried = attempts(&talk);
    *talk.full.lock().unwrap() = true;
    talk.asks(begins).await;
    talk.client.write_all(attempt.as_bytes()).await.unwrap();
    assert!(
        tokio::time::timeout(5 * PAUSE + PAUSE / 2, talk.backend.read_u8()).await.is_err(),
        "{attempt}: it has heard of it"
    );
    assert_eq!(attempts(&talk) - tried, 6, "{attempt}: asked at once, and after each pause");
    talk
}

#[tokio::test(start_paused = true)]
async fn a_login_for_which_there_is_no_room_yet_waits_and_is_then_judged() {
    for case @ (protocol, .., attempt) in ATTEMPTS {
        let mut talk = waiting(case).await;
        // What comes meanwhile keeps its place.
        let behind = if protocol.name() == "smtp" { "" } else { "c NOOP\r\n" };
        talk.client.write_all(behind.as_bytes()).await.unwrap();
        *talk.full.lock().unwrap() = false;
        assert_eq!(read(&mut talk.backend, attempt.len()).await, attempt);
        let yes = match (protocol.name(), attempt.as_bytes().first()) {
            ("smtp", _) => "235 yes\r\n",
            (_, Some(b'b')) => "b OK yes\r\n",
            _ => "a OK yes\r\n",
        };
        talk.backend.write_all(yes.as_bytes()).await.unwrap();
        assert_eq!(read(&mut talk.client, yes.len()).await, yes, "{attempt}");
        assert!(talk.events.lock().unwrap().iter().any(|event| matches!(event, Event::Auth { ok: true, .. })));
        assert_eq!(read(&mut talk.backend, behind.len()).await, behind, "{attempt}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_does_not_wait_for_ever() {
    for case @ (protocol, .., attempt) in ATTEMPTS {
        let began = tokio::time::Instant::now();
        let mut talk = waiting(case).await;
        let end = talk.relay.await.unwrap();
        assert_eq!(end.reason.phrase, TOO_MANY_AT_ONCE.phrase, "{attempt}");
        let waited = began.elapsed();
        assert!((REPLY..REPLY + 2 * PAUSE).contains(&waited), "{attempt}: {waited:?}");
        drop(end);
        let farewell = if protocol.name() == "smtp" { "421 4.7.0 " } else { "* BYE [UNAVAILABLE] " };
        let said = rest(&mut talk.client).await;
        assert!(said.starts_with(farewell), "{attempt}: {said}");
        assert_eq!(rest(&mut talk.backend).await, "", "{attempt}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_does_not_keep_the_gate_from_stopping() {
    for case @ (.., attempt) in ATTEMPTS {
        let mut talk = waiting(case).await;
        let began = tokio::time::Instant::now();
        talk.stop.stop();
        let heard = rest(&mut talk.backend).await;
        assert_eq!(heard, "", "{attempt}: a guess that nobody counts");
        let end = talk.relay.await.unwrap();
        assert_eq!(end.reason.outcome, Outcome::Shutdown, "{attempt}");
        assert!(began.elapsed() <= clock::DRAIN_GRACE + clock::DRAIN_LAST_WORDS, "{attempt}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_judged_although_its_client_is_gone() {
    for (protocol, words, answers) in [
        (&Smtp as &dyn Protocol, "AUTH PLAIN AGEAYg==\r\n", "535 no\r\n"),
        (&Smtp, "AUTH PLAIN AGEAYg==\r\n", "235 yes\r\n"),
        (&Imap, "a LOGIN x y\r\n", "a NO no\r\n"),
        (&Imap, "a LOGIN x y\r\n", "a OK yes\r\n"),
    ] {
        let mut talk = Talk::new(protocol).await;
        talk.asks(words).await;
        // Without a close_notify; what the gate writes from now on comes to nothing, too.
        drop(talk.client);
        assert_eq!(rest(&mut talk.backend).await, "", "it hears of that");
        for answer in answers.split_inclusive('\n') {
            talk.backend.write_all(answer.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await; // the clock stands still until the relay has nothing to do
        }
        // The backend has not closed, and need not.
        let end = tokio::time::timeout(2 * PAUSE, talk.relay).await.unwrap().unwrap();
        assert_eq!(end.reason.outcome, Outcome::ClientError, "{words}: {}", end.reason.phrase);
        let good = answers.contains("yes");
        let judged = |event: &Event| matches!(event, Event::Auth { ok, .. } if *ok == good);
        assert!(talk.events.lock().unwrap().iter().any(judged), "{words}: a guess for nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_the_client_who_ended_a_session_that_its_backend_then_gives_up() {
    for (protocol, words) in [(&Smtp as &dyn Protocol, "AUTH PLAIN AGEAYg==\r\n"), (&Imap, "a LOGIN x y\r\n")] {
        for closes in [true, false] {
            let mut talk = Talk::new(protocol).await;
            talk.asks(words).await;
            drop(talk.client);
            assert_eq!(rest(&mut talk.backend).await, "");
            let _open = (!closes).then_some(talk.backend);
            let end = talk.relay.await.unwrap();
            assert_eq!(end.reason.outcome, Outcome::ClientError, "{words}: {}", end.reason.phrase);
            assert!(end.client.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_behind_the_last_that_may_fail_reaches_no_backend() {
    let mut talk = Talk::new(&Imap).await;
    talk.client.write_all(b"a LOGIN x y\r\nb LOGIN x z\r\n").await.unwrap();
    assert_eq!(read(&mut talk.backend, 13).await, "a LOGIN x y\r\n");
    let began = tokio::time::Instant::now();
    talk.backend.write_all(b"a NO no\r\n").await.unwrap();
    assert_eq!(read(&mut talk.client, 9).await, "a NO no\r\n");
    assert!(began.elapsed() >= PAUSE);
    let end = talk.relay.await.unwrap();
    assert_eq!(end.reason.phrase, TOO_MANY_LOGINS.phrase);
    drop(end);
    let said = rest(&mut talk.client).await;
    assert!(said.starts_with("* BYE [UNAVAILABLE] ") && said.matches("* BYE").count() == 1, "{said}");
    assert_eq!(rest(&mut talk.backend).await, "");
}
