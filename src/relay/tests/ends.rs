//! Ends of every kind: who is told, what still goes out, and the word in the log.

use super::*;

/// A stream that breaks as it is told.
struct Faulty {
    stream: DuplexStream,
    /// The next write fails; those after it would not.
    write_fails: Arc<Mutex<bool>>,
    /// What a read gives once the stream's own octets are read.
    end: Option<io::ErrorKind>,
}

impl Fill for Faulty {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        crate::buffers::fill(self, cx, into)
    }
}

impl tokio::io::AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        match self.end {
            Some(kind) if buf.filled().len() == before => Poll::Ready(Err(kind.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut *self.write_fails.lock().unwrap()) {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct FaultyBench {
    client: DuplexStream,
    backend: DuplexStream,
    write_fails: Arc<Mutex<bool>>,
    relay: tokio::task::JoinHandle<End<DuplexStream>>,
}

/// A relay to a backend that breaks, `client_input` read already.
fn faulty(
    end: Option<io::ErrorKind>,
    client_input: &[u8],
    receive: impl FnMut(Side, &[u8], &mut Out) -> Result<Verdict, Violation> + Send + 'static,
) -> FaultyBench {
    let (client, ours) = duplex(1024);
    let (backend, theirs) = duplex(1024);
    let write_fails = Arc::new(Mutex::new(false));
    let dialogue = Scripted {
        receive: Box::new(receive),
        ended: Box::new(|_, _| Verdict::Close),
        told: Arc::default(),
        wait: Arc::new(Mutex::new(Wait::Command)),
    };
    let start = Start {
        client: ours,
        client_input: BytesMut::from(client_input),
        backend: Some(Faulty { stream: theirs, write_fails: write_fails.clone(), end }),
        backend_input: BytesMut::new(),
        dialogue: Box::new(dialogue),
        least_rate: None,
    };
    let (_, stopped) = crate::stop::channel();
    let relay = tokio::spawn(run(start, |_| Duration::from_secs(60), stopped, |_| Setback::default()));
    FaultyBench { client, backend, write_fails, relay }
}

#[tokio::test]
async fn a_backend_gets_nothing_behind_octets_that_were_lost() {
    for splice in [false, true] {
        let mut bench = faulty(
            None,
            b"",
            move |side, input, out| {
                if splice { Ok(Verdict::Splice) } else { pass_everything(side, input, out) }
            },
        );
        bench.client.write_all(b"one ").await.unwrap();
        assert_eq!(read(&mut bench.backend, 4).await, "one ");
        *bench.write_fails.lock().unwrap() = true;
        for word in [b"two ", b"thr ", b"four"] {
            bench.client.write_all(word).await.unwrap();
            tokio::task::yield_now().await;
        }
        bench.backend.write_all(b"451").await.unwrap();
        assert_eq!(read(&mut bench.client, 3).await, "451", "what it said is still passed on");
        bench.backend.shutdown().await.unwrap();
        assert_eq!(rest(&mut bench.backend).await, "", "splice {splice}");
        let _ = bench.relay.await.unwrap();
    }
}

#[tokio::test]
async fn octets_that_come_in_the_same_turn_do_not_slip_in_behind_lost_ones() {
    for splice in [false, true] {
        let mut bench =
            faulty(
                None,
                b"two ",
                move |side, input, out| {
                    if splice { Ok(Verdict::Splice) } else { pass_everything(side, input, out) }
                },
            );
        // The relay has not run yet: it finds both, one after the other, before it can end the backend's input.
        *bench.write_fails.lock().unwrap() = true;
        bench.client.write_all(b"thr ").await.unwrap();
        assert_eq!(rest(&mut bench.backend).await, "", "splice {splice}");
    }
}

#[tokio::test]
async fn a_backend_that_is_reset_is_an_error_of_the_backend() {
    for splice in [false, true] {
        let mut bench = faulty(Some(io::ErrorKind::ConnectionReset), b"", move |side, input, out| {
            if splice { Ok(Verdict::Splice) } else { pass_everything(side, input, out) }
        });
        bench.backend.write_all(b"250").await.unwrap();
        drop(bench.backend);
        assert_eq!(read(&mut bench.client, 3).await, "250");
        assert_eq!(bench.relay.await.unwrap().reason.outcome, Outcome::BackendError, "splice {splice}");
    }
}

#[tokio::test]
async fn a_backend_that_goes_away_is_an_error_of_the_backend_whatever_the_dialogue_says_of_it() {
    let bench = bench(pass_everything, |_, _| Verdict::Close);
    drop(bench.backend);
    assert_eq!(bench.relay.await.unwrap().reason, BACKEND_GONE);
}

#[tokio::test]
async fn the_dialogue_knows_the_end_better() {
    let bench = bench(pass_everything, |_, out| {
        out.events.push(Event::Ending(REASON));
        Verdict::Close
    });
    drop(bench.backend);
    assert_eq!(bench.relay.await.unwrap().reason, REASON);
}

#[tokio::test]
async fn what_was_read_before_is_counted_by_who_read_it() {
    let mut bench = faulty(None, b"MAIL", pass_everything);
    bench.client.write_all(b" FROM").await.unwrap();
    assert_eq!(read(&mut bench.backend, 9).await, "MAIL FROM");
    drop(bench.backend);
    assert_eq!(bench.relay.await.unwrap().bytes_in, 5);
}

#[tokio::test(start_paused = true)]
async fn a_spliced_client_that_does_not_read_may_still_send() {
    let mut bench = bench(|_, _, _| Ok(Verdict::Splice), go_on);
    let chunk = vec![b'x'; 64 * 1024];
    while timeout_write(&mut bench.backend, &chunk).await.is_ok() {}
    bench.client.write_all(b"DONE").await.unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(5), read(&mut bench.backend, 4)).await;
    assert_eq!(sent.expect("the way there hangs on the way back"), "DONE");
}

#[tokio::test]
async fn a_backend_that_does_not_read_may_still_say_why() {
    let mut bench = bench_with(1024, Wait::Body, pass_everything, go_on);
    let chunk = vec![b'x'; 64 * 1024];
    while timeout_write(&mut bench.client, &chunk).await.is_ok() {}
    bench.backend.write_all(b"552 too much").await.unwrap();
    let mut got = [0; 12];
    let mut read = pin!(bench.client.read_exact(&mut got));
    for _ in 0..64 {
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
            done.unwrap();
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("its reply waits behind what it does not read");
}

#[tokio::test]
async fn a_verdict_on_nothing_ends_the_session_instead_of_the_worker() {
    for verdict in [Verdict::Pass(0), Verdict::Drop(0)] {
        let mut bench = bench(
            move |side, input, _| Ok(if side == Side::Client && !input.is_empty() { verdict } else { Verdict::More }),
            go_on,
        );
        bench.client.write_all(b"x").await.unwrap();
        assert_eq!(bench.relay.await.unwrap().reason, BROKEN_CONTRACT, "{verdict:?}");
    }
}

#[tokio::test]
async fn a_client_has_ended_once_its_end_was_read() {
    for splice in [false, true] {
        for ends in [false, true] {
            let mut bench = bench(
                move |side, input, out| {
                    if splice { Ok(Verdict::Splice) } else { pass_everything(side, input, out) }
                },
                |how, _| if how == Ended::BackendEof { Verdict::Close } else { Verdict::More },
            );
            if ends {
                bench.client.shutdown().await.unwrap();
                assert_eq!(rest(&mut bench.backend).await, "", "the backend is told");
            }
            drop(bench.backend);
            let end = bench.relay.await.unwrap();
            assert!(end.client.is_some());
            assert_eq!(end.client_ended, ends, "splice {splice}");
        }
    }
}
