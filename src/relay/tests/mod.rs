//! The contract between a dialogue and its driver, seen from the sockets.

mod deadlines;
mod early;
mod ends;
mod logins;
mod pace;
mod turns;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::ready;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::protocol::{INPUT_LIMIT, Out, Verdict, Violation};

type Receive = dyn FnMut(Side, &[u8], &mut Out) -> Result<Verdict, Violation> + Send;
type Told = dyn FnMut(Ended, &mut Out) -> Verdict + Send;

/// A dialogue made of two closures and a log of what it was told.
struct Scripted {
    receive: Box<Receive>,
    ended: Box<Told>,
    told: Arc<Mutex<Vec<Ended>>>,
    wait: Arc<Mutex<Wait>>,
}

impl Dialogue for Scripted {
    fn receive(&mut self, from: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        (self.receive)(from, input, out)
    }

    fn ended(&mut self, how: Ended, out: &mut Out) -> Verdict {
        self.told.lock().unwrap().push(how);
        (self.ended)(how, out)
    }

    fn waiting_for(&self) -> Wait {
        *self.wait.lock().unwrap()
    }
}

/// A stream that shows what comes of each read to a closure, which may make something else of it.
struct Watched<F>(DuplexStream, F);

impl<F> Fill for Watched<F>
where
    F: FnMut(Poll<io::Result<usize>>) -> Poll<io::Result<usize>> + Unpin,
{
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let read = self.0.poll_fill(cx, into);
        (self.1)(read)
    }
}

impl<F: Unpin> AsyncWrite for Watched<F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Bench {
    client: DuplexStream,
    backend: DuplexStream,
    told: Arc<Mutex<Vec<Ended>>>,
    wait: Arc<Mutex<Wait>>,
    stop: crate::stop::Stopper,
    relay: tokio::task::JoinHandle<End<DuplexStream>>,
}

/// For the answer to a failed login.
const PAUSE: Duration = Duration::from_secs(5);

const REASON: Reason = Reason::new(Outcome::Policy, "test");

fn pass_everything(_: Side, input: &[u8], _: &mut Out) -> Result<Verdict, Violation> {
    Ok(if input.is_empty() { Verdict::More } else { Verdict::Pass(input.len()) })
}

fn go_on(_: Ended, _: &mut Out) -> Verdict {
    Verdict::More
}

fn bench(
    receive: impl FnMut(Side, &[u8], &mut Out) -> Result<Verdict, Violation> + Send + 'static,
    ended: impl FnMut(Ended, &mut Out) -> Verdict + Send + 'static,
) -> Bench {
    bench_with(1024, Wait::Command, receive, ended)
}

fn bench_with(
    room: usize,
    wait: Wait,
    receive: impl FnMut(Side, &[u8], &mut Out) -> Result<Verdict, Violation> + Send + 'static,
    ended: impl FnMut(Ended, &mut Out) -> Verdict + Send + 'static,
) -> Bench {
    bench_at(0, room, wait, receive, ended)
}

/// With a least rate of a message, in octets a second; who fails to log in waits five seconds for the answer.
fn bench_at(
    rate: u32,
    room: usize,
    wait: Wait,
    receive: impl FnMut(Side, &[u8], &mut Out) -> Result<Verdict, Violation> + Send + 'static,
    ended: impl FnMut(Ended, &mut Out) -> Verdict + Send + 'static,
) -> Bench {
    let (client, ours) = duplex(room);
    let (backend, theirs) = duplex(room);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = crate::stop::channel();
    let wait = Arc::new(Mutex::new(wait));
    let dialogue =
        Scripted { receive: Box::new(receive), ended: Box::new(ended), told: told.clone(), wait: wait.clone() };
    let start = Start {
        client: ours,
        client_input: BytesMut::new(),
        backend: Some(theirs),
        backend_input: BytesMut::new(),
        dialogue: Box::new(dialogue),
        least_rate: NonZeroU32::new(rate),
    };
    let hear = |event| {
        let delay = if matches!(event, Event::Auth { ok: false, .. }) { PAUSE } else { Duration::ZERO };
        Setback { delay, ..Setback::default() }
    };
    let relay = tokio::spawn(run(start, |_| Duration::from_secs(60), stopped, hear));
    Bench { client, backend, told, wait, stop, relay }
}

async fn read(stream: &mut DuplexStream, n: usize) -> String {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn rest(stream: &mut DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn what_a_dialogue_adds_goes_before_what_it_passes() {
    let mut bench = bench(
        |side, input, out| {
            if side == Side::Client && input.len() >= 4 {
                out.to_backend.extend_from_slice(b"<");
                out.to_client.extend_from_slice(b"!");
                return Ok(Verdict::Pass(4));
            }
            Ok(Verdict::More)
        },
        go_on,
    );
    bench.client.write_all(b"abcdefgh").await.unwrap();
    assert_eq!(read(&mut bench.backend, 10).await, "<abcd<efgh");
    assert_eq!(read(&mut bench.client, 2).await, "!!");
}

#[tokio::test]
async fn held_bytes_are_offered_again_after_progress_across() {
    let mut open = false;
    let mut bench = bench(
        move |side, input, _| {
            match side {
                Side::Backend if !input.is_empty() => open = true,
                Side::Client if !open => return Ok(Verdict::Hold),
                _ => {}
            }
            pass_everything(side, input, &mut Out::default())
        },
        go_on,
    );
    bench.client.write_all(b"body").await.unwrap();
    bench.backend.write_all(b"354").await.unwrap();
    assert_eq!(read(&mut bench.client, 3).await, "354");
    assert_eq!(read(&mut bench.backend, 4).await, "body");
}

#[tokio::test]
async fn dropped_bytes_reach_nobody() {
    let mut bench = bench(
        |_, input, _| {
            Ok(match input.first() {
                None => Verdict::More,
                Some(b'x') => Verdict::Drop(1),
                Some(_) => Verdict::Pass(1),
            })
        },
        go_on,
    );
    bench.client.write_all(b"axbxxc").await.unwrap();
    assert_eq!(read(&mut bench.backend, 3).await, "abc");
}

#[tokio::test]
async fn a_violation_is_answered_and_the_backend_gets_nothing_more() {
    let mut bench = bench(
        |side, input, out| match side {
            Side::Client if input.starts_with(b"bad") => {
                Err(Violation { reason: REASON, reply: Bytes::from_static(b"554 no\r\n") })
            }
            _ => pass_everything(side, input, out),
        },
        go_on,
    );
    bench.client.write_all(b"bad").await.unwrap();
    assert_eq!(read(&mut bench.client, 8).await, "554 no\r\n");
    assert_eq!(rest(&mut bench.backend).await, "");
    let end = bench.relay.await.unwrap();
    assert_eq!(end.reason, REASON);
    assert!(end.client.is_some());
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend_from_being_read() {
    let mut bench = bench(pass_everything, go_on);
    let flood = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    // The backend writes until nobody takes it any more.
    while let Ok(written) = timeout_write(&mut bench.backend, &flood).await {
        taken += written;
        assert!(taken < 4 * (HIGH_WATER + INPUT_LIMIT), "nothing held the backend back");
    }
    assert!(taken >= HIGH_WATER, "{taken}");
    // Once it reads, all of it comes.
    let mut got = vec![0; taken];
    bench.client.read_exact(&mut got).await.unwrap();
}

/// Writes once; an error when the other side takes nothing although every task has had its turn.
async fn timeout_write(stream: &mut DuplexStream, bytes: &[u8]) -> Result<usize, ()> {
    for _ in 0..64 {
        let mut write = pin!(stream.write(bytes));
        if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
            return Ok(written.unwrap());
        }
        tokio::task::yield_now().await;
    }
    Err(())
}

#[tokio::test]
async fn a_client_that_ends_may_still_hear_its_replies() {
    let mut bench = bench(pass_everything, go_on);
    bench.client.write_all(b"QUIT").await.unwrap();
    bench.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut bench.backend).await, "QUIT", "the end of the client is passed on");
    bench.backend.write_all(b"221").await.unwrap();
    assert_eq!(read(&mut bench.client, 3).await, "221");
    assert_eq!(*bench.told.lock().unwrap(), [Ended::ClientEof { clean: true }]);
    drop(bench.backend);
    assert_eq!(bench.relay.await.unwrap().reason, CLOSED);
}

#[tokio::test]
async fn the_end_of_the_backend_is_told_after_its_last_bytes() {
    let mut bench = bench(pass_everything, |how, out| {
        assert_eq!(how, Ended::BackendEof);
        out.to_client.extend_from_slice(b"421");
        Verdict::Close
    });
    bench.backend.write_all(b"250").await.unwrap();
    drop(bench.backend);
    assert_eq!(read(&mut bench.client, 6).await, "250421");
    assert_eq!(bench.relay.await.unwrap().reason, BACKEND_GONE);
}

#[tokio::test]
async fn cut_backend_leaves_the_client_alone_with_us() {
    let mut cut = false;
    let mut bench = bench(
        move |side, input, out| {
            assert!(!(cut && side == Side::Backend && !input.is_empty()));
            match (side, input) {
                (Side::Client, b"reject") if !cut => {
                    cut = true;
                    Ok(Verdict::CutBackend)
                }
                (Side::Client, [_, ..]) if cut => {
                    out.to_client.extend_from_slice(b"550");
                    Ok(Verdict::Drop(input.len()))
                }
                _ => Ok(Verdict::More),
            }
        },
        go_on,
    );
    bench.client.write_all(b"reject").await.unwrap();
    assert_eq!(rest(&mut bench.backend).await, "");
    assert_eq!(read(&mut bench.client, 3).await, "550");
    assert!(bench.told.lock().unwrap().is_empty(), "a cut backend is no news");
}

#[tokio::test]
async fn splice_covers_what_is_there_and_what_follows_both_ways() {
    let mut bench = bench(
        |side, input, _| {
            Ok(match side {
                Side::Backend if input == b"OK" => Verdict::Splice,
                Side::Backend => Verdict::More,
                Side::Client => Verdict::Hold,
            })
        },
        go_on,
    );
    bench.client.write_all(b"early ").await.unwrap();
    bench.backend.write_all(b"OK").await.unwrap();
    assert_eq!(read(&mut bench.client, 2).await, "OK");
    bench.client.write_all(b"late").await.unwrap();
    assert_eq!(read(&mut bench.backend, 10).await, "early late");
    bench.backend.write_all(b"bye").await.unwrap();
    drop(bench.backend);
    assert_eq!(read(&mut bench.client, 3).await, "bye");
    let end = bench.relay.await.unwrap();
    assert_eq!((end.reason, end.bytes_in, end.bytes_out), (CLOSED, 10, 5));
}

#[tokio::test]
async fn without_a_backend_the_dialogue_hears_of_it_first() {
    let (mut client, ours) = duplex(64);
    let told = Arc::new(Mutex::new(Vec::new()));
    let dialogue = Scripted {
        receive: Box::new(|_, _, _| Ok(Verdict::More)),
        ended: Box::new(|_, out| {
            out.to_client.extend_from_slice(b"421");
            Verdict::Close
        }),
        told: told.clone(),
        wait: Arc::new(Mutex::new(Wait::Greeting)),
    };
    let start: Start<DuplexStream, DuplexStream> = Start {
        client: ours,
        client_input: BytesMut::from(&b"EHLO"[..]),
        backend: None,
        backend_input: BytesMut::new(),
        dialogue: Box::new(dialogue),
        least_rate: None,
    };
    let (_stop, stopped) = crate::stop::channel();
    let end = run(start, |_| Duration::from_secs(60), stopped, |_| Setback::default()).await;
    assert_eq!(read(&mut client, 3).await, "421");
    assert_eq!(*told.lock().unwrap(), [Ended::BackendEof]);
    assert_eq!(end.reason, BACKEND_GONE);
}

#[tokio::test]
async fn both_directions_carry_megabytes_through_small_pipes() {
    let bench = bench_with(100, Wait::Body, pass_everything, go_on);
    let payload: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let (mut client_read, mut client_write) = tokio::io::split(bench.client);
    let (mut backend_read, mut backend_write) = tokio::io::split(bench.backend);
    let (up, down) = (payload.clone(), payload.clone());
    let writers = tokio::spawn(async move {
        let (a, b) = tokio::join!(client_write.write_all(&up), backend_write.write_all(&down));
        a.and(b).unwrap();
        (client_write, backend_write)
    });
    let mut got = (vec![0; payload.len()], vec![0; payload.len()]);
    let (a, b) = tokio::join!(backend_read.read_exact(&mut got.0), client_read.read_exact(&mut got.1));
    a.and(b).unwrap();
    assert!(got.0 == payload && got.1 == payload, "bytes were lost or changed");
    drop(writers);
}
