//! How long anybody is waited for, and what cannot push that on.

use tokio::time::Instant;

use super::*;
use crate::relay::clock::{DRAIN_GRACE, GRACE, LAST_WORDS_IN_ALL};

#[tokio::test(start_paused = true)]
async fn a_deadline_is_told_once_and_ends_the_session() {
    let mut bench = bench(pass_everything, |_, out| {
        out.to_client.extend_from_slice(b"421 slow\r\n");
        Verdict::Close
    });
    assert_eq!(read(&mut bench.client, 10).await, "421 slow\r\n");
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT);
    assert_eq!(*bench.told.lock().unwrap(), [Ended::Deadline(Wait::Command)]);
}

#[tokio::test(start_paused = true)]
async fn bytes_without_progress_do_not_move_a_deadline() {
    let mut bench = bench(|_, _, _| Ok(Verdict::More), |_, _| Verdict::Close);
    let began = Instant::now();
    for _ in 0..59 {
        bench.client.write_all(b"x").await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT);
    assert!(began.elapsed() < Duration::from_secs(62), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_login_has_one_deadline_however_busy_the_client_is() {
    let swallow = |_, input: &[u8], _: &mut Out| Ok(if input.is_empty() { Verdict::More } else { Verdict::Drop(4) });
    let mut bench = bench_with(1024, Wait::Login, swallow, |_, _| Verdict::Close);
    let began = Instant::now();
    while !bench.relay.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(62), "NOOP kept the login open");
        bench.client.write_all(b"NOOP").await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_last_words_is_left() {
    let mut bench = bench_with(
        4,
        Wait::Command,
        |_, _, _| Err(Violation { reason: REASON, reply: Bytes::from_static(b"554 more than fits\r\n") }),
        go_on,
    );
    bench.client.write_all(b"x").await.unwrap();
    let end = bench.relay.await.unwrap();
    assert_eq!(end.reason, REASON);
    assert!(end.client.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_spliced_session_may_idle_for_hours() {
    let mut bench = bench(|_, _, _| Ok(Verdict::Splice), go_on);
    bench.client.write_all(b"IDLE").await.unwrap();
    assert_eq!(read(&mut bench.backend, 4).await, "IDLE");
    tokio::time::advance(Duration::from_secs(5 * 3600)).await;
    bench.backend.write_all(b"EXISTS").await.unwrap();
    assert_eq!(read(&mut bench.client, 6).await, "EXISTS");
}

#[tokio::test]
async fn stop_lets_the_dialogue_say_goodbye() {
    let mut bench = bench(pass_everything, |how, out| {
        assert_eq!(how, Ended::Drain);
        out.to_client.extend_from_slice(b"421 stopping\r\n");
        Verdict::Close
    });
    bench.stop.stop();
    assert_eq!(read(&mut bench.client, 14).await, "421 stopping\r\n");
    assert_eq!(bench.relay.await.unwrap().reason, SHUTDOWN);
}

#[tokio::test(start_paused = true)]
async fn stop_gives_a_reply_that_is_owed_a_little_time() {
    let mut bench = bench(pass_everything, go_on);
    bench.stop.stop();
    tokio::time::sleep(DRAIN_GRACE - Duration::from_secs(1)).await;
    bench.backend.write_all(b"250 late").await.unwrap();
    assert_eq!(read(&mut bench.client, 8).await, "250 late");
    assert_eq!(bench.relay.await.unwrap().reason, SHUTDOWN);
}

/// Writes into a duplex stream until nobody takes more; returns how much was taken.
async fn flood(stream: &mut DuplexStream) -> usize {
    let chunk = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    while let Ok(written) = timeout_write(stream, &chunk).await {
        taken += written;
    }
    taken
}

/// Swallows everything, four octets at a time.
fn swallow(_: Side, input: &[u8], _: &mut Out) -> Result<Verdict, Violation> {
    Ok(if input.is_empty() { Verdict::More } else { Verdict::Drop(4) })
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_commands_does_not_hide_the_login_deadline() {
    let mut bench = bench_with(1024, Wait::Login, swallow, |_, _| Verdict::Close);
    // Whenever the driver looks, some reply is owed.
    *bench.wait.lock().unwrap() = Wait::Reply;
    let began = Instant::now();
    while !bench.relay.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(125), "the login is never due");
        let _ = tokio::join!(bench.client.write_all(b"NOOP"), bench.backend.write_all(b"250 "));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_done_leaves_no_deadline_behind() {
    let mut bench = bench_with(1024, Wait::Login, swallow, |_, _| Verdict::Close);
    let began = Instant::now();
    for wait in [Wait::Reply, Wait::Body, Wait::Reply, Wait::Command, Wait::Reply, Wait::Command] {
        *bench.wait.lock().unwrap() = wait;
        for _ in 0..50 {
            let _ = tokio::join!(bench.client.write_all(b"NOOP"), bench.backend.write_all(b"250 "));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
    assert!(!bench.relay.is_finished(), "ended after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_greeting_does_not_use_up_the_time_for_the_login() {
    let mut bench = bench_with(1024, Wait::Greeting, swallow, |_, _| Verdict::Close);
    tokio::time::advance(Duration::from_secs(50)).await;
    *bench.wait.lock().unwrap() = Wait::Login;
    bench.backend.write_all(b"220 ").await.unwrap();
    let began = Instant::now();
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT);
    assert!(began.elapsed() >= Duration::from_secs(59), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_s_commands_do_not_prolong_the_wait_for_the_backend() {
    let mut bench = bench_with(1024, Wait::Reply, swallow, |_, _| Verdict::Close);
    let began = Instant::now();
    while !bench.relay.is_finished() {
        assert!(
            began.elapsed() < Duration::from_secs(65),
            "a silent backend is waited for as long as the client talks"
        );
        let _ = bench.client.write_all(b"NOOP").await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_BACKEND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_all_of_its_last_words() {
    let words = vec![b'w'; 8 * 1024];
    let said = words.clone();
    let mut bench = bench_with(
        64,
        Wait::Command,
        move |side, _, _| match side {
            Side::Client => Err(Violation { reason: REASON, reply: said.clone().into() }),
            Side::Backend => Ok(Verdict::More),
        },
        go_on,
    );
    bench.client.write_all(b"x").await.unwrap();
    let mut got = Vec::new();
    let mut part = [0; 64];
    while got.len() < words.len() {
        tokio::time::advance(Duration::from_secs(2)).await;
        match bench.client.read(&mut part).await.unwrap() {
            0 => break,
            n => got.extend_from_slice(&part[..n]),
        }
    }
    assert_eq!(got.len(), words.len(), "cut off although it reads");
    assert_eq!(bench.relay.await.unwrap().reason, REASON);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sips_its_last_words_is_left_some_day() {
    let mut bench = bench_with(
        4,
        Wait::Command,
        |_, _, _| Err(Violation { reason: REASON, reply: vec![b'w'; 64 * 1024].into() }),
        go_on,
    );
    bench.client.write_all(b"x").await.unwrap();
    let began = Instant::now();
    while !bench.relay.is_finished() {
        assert!(began.elapsed() < LAST_WORDS_IN_ALL + 2 * GRACE, "an octet now and then keeps the session");
        tokio::time::advance(Duration::from_secs(5)).await;
        let _ = bench.client.read_u8().await;
    }
    assert!(bench.relay.await.unwrap().client.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_spliced_client_that_stops_reading_is_left() {
    let mut bench = bench(|_, _, _| Ok(Verdict::Splice), go_on);
    assert!(flood(&mut bench.backend).await >= HIGH_WATER);
    let end = bench.relay.await.unwrap();
    assert_eq!(end.reason, CLIENT_STUCK);
    assert!(end.client.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_spliced_backend_that_stops_reading_is_left() {
    let mut bench = bench(|_, _, _| Ok(Verdict::Splice), go_on);
    assert!(flood(&mut bench.client).await >= HIGH_WATER);
    assert_eq!(bench.relay.await.unwrap().reason, BACKEND_STUCK);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_spliced_client_s_end_may_take_its_time() {
    let mut bench = bench(|_, _, _| Ok(Verdict::Splice), go_on);
    bench.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut bench.backend).await, "");
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(30)).await;
        bench.backend.write_all(b"more").await.unwrap();
        assert_eq!(read(&mut bench.client, 4).await, "more");
    }
    let began = Instant::now();
    assert_eq!(bench.relay.await.unwrap().reason, CLOSED);
    assert!(
        began.elapsed() < Duration::from_secs(70),
        "the backend says no more and does not end: {:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_splice_after_the_client_s_end_has_a_deadline() {
    let mut bench = bench(
        |side, input, _| {
            Ok(match side {
                Side::Backend if input == b"OK" => Verdict::Splice,
                _ => Verdict::More,
            })
        },
        go_on,
    );
    bench.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut bench.backend).await, "");
    bench.backend.write_all(b"OK").await.unwrap();
    assert_eq!(read(&mut bench.client, 2).await, "OK");
    let began = Instant::now();
    assert_eq!(bench.relay.await.unwrap().reason, CLOSED);
    assert!(began.elapsed() < Duration::from_secs(70), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_gate_does_not_wait_for_a_client_that_does_not_read() {
    for owed in [true, false] {
        let bench = bench_with(4, Wait::Command, pass_everything, move |_, out| {
            out.to_client.extend_from_slice(b"421 more than fits\r\n");
            if owed { Verdict::More } else { Verdict::Close }
        });
        let began = Instant::now();
        bench.stop.stop();
        assert_eq!(bench.relay.await.unwrap().reason, SHUTDOWN);
        // The server gives its sessions 8 seconds.
        assert!(began.elapsed() < Duration::from_millis(7_500), "{:?}", began.elapsed());
    }
}
