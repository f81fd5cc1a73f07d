//! The cleartext talk over a real socket, with a preamble of one command a line.

use tokio::net::TcpListener;

use super::*;

/// `S` asks for TLS, `P` stays plain and is left for the dialogue, `Q` closes, everything else is echoed.
struct Echo;

impl Preamble for Echo {
    fn greet(&mut self, to_client: &mut BytesMut) {
        to_client.extend_from_slice(b"hello\r\n");
    }

    fn receive(&mut self, input: &[u8], to_client: &mut BytesMut, _: &mut Vec<Event>) -> Result<Heard, Violation> {
        Ok(match input.first() {
            None => Heard { consumed: 0, next: Next::More },
            Some(b'P') => Heard { consumed: 0, next: Next::StayPlain(Opening { hello: None }) },
            Some(command) => {
                to_client.extend_from_slice(&[command.to_ascii_lowercase()]);
                let next = match command {
                    b'S' => Next::StartTls,
                    b'Q' => Next::Close,
                    _ => Next::More,
                };
                Heard { consumed: 1, next }
            }
        })
    }

    fn farewell(&mut self, why: Farewell, to_client: &mut BytesMut) {
        to_client.extend_from_slice(if why == Farewell::Timeout { b"slow" } else { b"stop" });
    }
}

const PATIENCE: Patience = Patience { command: Duration::from_secs(300), total: Duration::from_secs(60) };

/// Octets that came and went.
#[derive(Default)]
struct Counted(usize, usize);

impl Heed for Counted {
    fn event(&mut self, _: Event) {}

    fn came(&mut self, octets: usize) {
        self.0 += octets;
    }

    fn went(&mut self, octets: usize) {
        self.1 += octets;
    }
}

struct Talk {
    client: TcpStream,
    stop: crate::stop::Stopper,
    talk: tokio::task::JoinHandle<(Talked, Counted)>,
}

async fn talk() -> Talk {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (stop, stopped) = crate::stop::channel();
    let talk = tokio::spawn(async move {
        let mut heed = Counted::default();
        let talked = Cleartext::new(stream).talk(&mut Echo, b"injected\r\n", PATIENCE, stopped, &mut heed).await;
        (talked, heed)
    });
    Talk { client, stop, talk }
}

async fn hear(client: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
}

#[tokio::test]
async fn starttls_gives_the_bare_socket_back() {
    let mut bench = talk().await;
    bench.client.write_all(b"abS").await.unwrap();
    hear(&mut bench.client, b"hello\r\nabs").await;
    let (Talked::StartTls(mut stream), heed) = bench.talk.await.unwrap() else { panic!("no TLS") };
    assert_eq!((heed.0, heed.1), (3, 10));
    // What comes next is the first octet of the handshake.
    bench.client.write_all(b"\x16").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0x16);
}

#[tokio::test]
async fn cve_2011_0411_commands_behind_starttls_are_refused_not_kept() {
    let mut bench = talk().await;
    hear(&mut bench.client, b"hello\r\n").await;
    bench.client.write_all(b"aSinjected").await.unwrap();
    let mut heard = String::new();
    let (Talked::Over(Some(stream), reason), _) = bench.talk.await.unwrap() else { panic!("went on") };
    drop(stream);
    // Unread octets may turn the end into a reset; the reply comes first all the same.
    let _ = bench.client.read_to_string(&mut heard).await;
    assert!(!heard.contains("as"), "STARTTLS was answered: {heard}");
    assert_eq!(reason, INJECTION);
    assert!(heard.ends_with("injected\r\n"), "{heard}");
}

#[tokio::test]
async fn a_client_that_stays_plain_keeps_its_unread_commands() {
    let mut bench = talk().await;
    bench.client.write_all(b"aPx").await.unwrap();
    let (Talked::StayPlain(_, rest, _), _) = bench.talk.await.unwrap() else { panic!("not plain") };
    assert_eq!(&rest[..], b"Px");
}

#[tokio::test]
async fn a_client_that_leaves_is_no_error() {
    let mut bench = talk().await;
    bench.client.shutdown().await.unwrap();
    let (Talked::Over(_, reason), _) = bench.talk.await.unwrap() else { panic!("went on") };
    assert_eq!(reason, LEFT);
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let mut bench = talk().await;
    hear(&mut bench.client, b"hello\r\n").await;
    bench.stop.stop();
    hear(&mut bench.client, b"stop").await;
    let (Talked::Over(Some(_), reason), _) = bench.talk.await.unwrap() else { panic!("went on") };
    assert_eq!(reason, SHUTDOWN);
}

#[tokio::test(start_paused = true)]
async fn the_talk_as_a_whole_has_a_deadline() {
    let mut bench = talk().await;
    let began = Instant::now();
    while !bench.talk.is_finished() {
        assert!(began.elapsed() < PATIENCE.total + Duration::from_secs(10), "chatter kept the session open");
        if bench.client.write_all(b"a").await.is_err() {
            break;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    let (Talked::Over(_, reason), _) = bench.talk.await.unwrap() else { panic!("went on") };
    assert_eq!(reason, SILENT);
}
