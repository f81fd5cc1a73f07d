//! What one turn moves, in what units, and what is left when it is over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::relay::turn::TURN;
use crate::stream;

const RECORD: usize = 16 * 1024;

/// A stream that came by in records, and takes all that is written to it.
#[derive(Default)]
struct Records {
    /// What one system call brought each.
    arrivals: VecDeque<Vec<BytesMut>>,
    /// What is left of the last one.
    at_hand: VecDeque<BytesMut>,
    system_calls: usize,
    /// The size of each write.
    writes: Vec<usize>,
    got: Vec<u8>,
}

impl Records {
    /// `n` records of one octet each repeated, different ones, that come by one system call.
    fn arrive(&mut self, n: usize) -> Vec<u8> {
        let records: Vec<_> =
            (0..n).map(|i| BytesMut::from(&vec![u8::try_from(i % 251).unwrap(); RECORD][..])).collect();
        let all = records.concat();
        self.arrivals.push_back(records);
        all
    }
}

impl Fill for Records {
    fn poll_fill(&mut self, _: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.at_hand.is_empty() {
            let Some(arrival) = self.arrivals.pop_front() else { return Poll::Pending };
            self.system_calls += 1;
            self.at_hand = arrival.into();
        }
        let record = self.at_hand.pop_front().unwrap();
        let n = record.len();
        if into.is_empty() {
            *into = record
        } else {
            into.unsplit(record)
        }
        Poll::Ready(Ok(n))
    }

    fn has_more(&self) -> bool {
        !self.at_hand.is_empty()
    }
}

impl AsyncWrite for Records {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = bufs.iter().map(|slice| slice.len()).sum();
        self.writes.push(n);
        bufs.iter().for_each(|slice| self.got.extend_from_slice(slice));
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn start<C, B>(client: C, backend: B, splice: bool) -> Start<C, B> {
    let dialogue = Scripted {
        receive: Box::new(
            move |side, input, out| {
                if splice { Ok(Verdict::Splice) } else { pass_everything(side, input, out) }
            },
        ),
        ended: Box::new(go_on),
        told: Arc::default(),
        wait: Arc::new(Mutex::new(Wait::Command)),
    };
    Start {
        client,
        client_input: BytesMut::new(),
        backend: Some(backend),
        backend_input: BytesMut::new(),
        dialogue: Box::new(dialogue),
        least_rate: None,
    }
}

fn relay<C, B>(client: C, backend: B, splice: bool) -> Relay<C, B>
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    Relay::new(start(client, backend, splice), &|_| Duration::from_secs(60))
}

/// Gives a relay one turn; how often it was woken meanwhile.
fn turn<C, B>(relay: &mut Relay<C, B>) -> usize
where
    C: Fill + AsyncWrite + Unpin,
    B: Fill + AsyncWrite + Unpin,
{
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let allowed = |_| Duration::from_secs(60);
    let mut hear = |_| Setback::default();
    let end = relay.poll(&mut Context::from_waker(&waker), &mut Turn::new(&allowed, &mut hear));
    assert!(end.is_none());
    woken.0.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_came_together_leaves_together() {
    for splice in [false, true] {
        let mut relay = relay(Records::default(), Records::default(), splice);
        let sent = relay.client.arrive(12);
        turn(&mut relay);
        let backend = relay.backend.unwrap();
        assert_eq!(backend.writes, [12 * RECORD], "splice {splice}");
        assert!(backend.got == sent, "splice {splice}");
    }
}

#[tokio::test]
async fn what_came_together_is_not_read_beyond_high_water() {
    for splice in [false, true] {
        let mut relay = relay(Records::default(), Records::default(), splice);
        let sent = relay.client.arrive(40);
        turn(&mut relay);
        let backend = relay.backend.unwrap();
        assert_eq!(backend.writes, [HIGH_WATER, HIGH_WATER, 8 * RECORD], "splice {splice}");
        assert!(backend.got == sent, "splice {splice}");
    }
}

#[tokio::test]
async fn a_fast_peer_leaves_the_others_their_turn() {
    for at_hand in [true, false] {
        let mut relay = relay(Records::default(), Records::default(), false);
        let backend = relay.backend.as_mut().unwrap();
        let sent = if at_hand { backend.arrive(500) } else { (0..500).flat_map(|_| backend.arrive(1)).collect() };
        let mut turns = 0;
        loop {
            let before = relay.client.got.len();
            let woken = turn(&mut relay);
            assert!(relay.client.got.len() - before <= TURN, "at hand {at_hand}");
            turns += 1;
            if woken == 0 {
                break;
            }
        }
        assert!(turns > 500 * RECORD / TURN, "{turns}");
        assert!(relay.client.got == sent, "at hand {at_hand}");
    }
}

#[tokio::test]
async fn a_side_that_has_nothing_is_asked_once_a_turn() {
    let asked = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let counting = |stream, asked: &Arc<AtomicUsize>| {
        let asked = asked.clone();
        Watched(stream, move |read| {
            asked.fetch_add(1, Ordering::Relaxed);
            read
        })
    };
    let ((mut client, ours), (mut backend, theirs)) = (duplex(1024), duplex(1024));
    let mut relay = relay(counting(ours, &asked[0]), counting(theirs, &asked[1]), false);
    turn(&mut relay);
    client.write_all(b"NOOP\r\n").await.unwrap();
    turn(&mut relay);
    assert_eq!(read(&mut backend, 6).await, "NOOP\r\n");
    // Once for the octets, once to be woken by the next ones; and once for nothing, in either turn.
    assert_eq!(asked.map(|asked| asked.load(Ordering::Relaxed)), [3, 2]);
}

#[tokio::test]
async fn a_session_that_waits_holds_no_memory() {
    for splice in [false, true] {
        let ((mut client, ours), (mut backend, theirs)) = (duplex(1 << 20), duplex(1 << 20));
        let mut relay = relay(ours, theirs, splice);
        // Small, in bulk, and small again, both ways; the pipes take all of it.
        for size in [6, 600 * 1024, 100 * 1024, 14] {
            let octets = vec![b'x'; size];
            client.write_all(&octets).await.unwrap();
            backend.write_all(&octets).await.unwrap();
            while turn(&mut relay) > 0 {}
            let mut got = vec![0; size];
            client.read_exact(&mut got).await.unwrap();
            backend.read_exact(&mut got).await.unwrap();
            turn(&mut relay);
            assert_eq!((relay.from_client.inbox.held(), relay.from_backend.inbox.held()), (0, 0), "{size} {splice}");
            assert!(relay.to_client.is_done() && relay.to_backend.is_done(), "{size} {splice}");
        }
        assert_eq!(relay.dialogue.is_none(), splice, "what judged is gone with the last judgement");
        assert_eq!(relay.clock.due().is_none(), splice, "a splice that waits for nothing is never due");
    }
}

#[tokio::test]
async fn a_relay_is_small() {
    // Every session holds one for as long as it lives, and most of them wait: at 500 octets, ten thousand are 5 MB. What is
    // needed only while bytes move belongs into `Turn`, an inbox or an outbox.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = stream::Client::Plain(tokio::net::TcpStream::connect(address).await.unwrap());
    let backend = stream::Backend::Tcp(tokio::net::TcpStream::connect(address).await.unwrap());
    let (_stop, stopped) = crate::stop::channel();
    let relay = run(start(client, backend, false), |_| Duration::from_secs(60), stopped, |_| Setback::default());
    let size = size_of_val(&relay);
    println!(
        "relay::run {size}: Relay {}, two Source of {} each, two Outbox of {} each, Clock {}; boxed while due: Sleep {}; on the stack: Turn {}",
        size_of::<Relay<stream::Client, stream::Backend>>(),
        size_of::<Source>(),
        size_of::<Outbox>(),
        size_of::<Clock>(),
        size_of::<tokio::time::Sleep>(),
        size_of::<Turn<'_>>(),
    );
    assert!(size <= 520, "{size} octets");
}
