//! How fast a message must come in, and how long the answer to a failed login may be held back.

use tokio::time::{Instant, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A message that comes in at `octets` every `every`, until the session ends; how long that took, and why.
async fn drip(mut bench: Bench, octets: usize, every: Duration) -> (Duration, Reason, Vec<Ended>) {
    let began = Instant::now();
    let piece = vec![b'x'; octets];
    let mut got = vec![0; octets];
    while !bench.relay.is_finished() && began.elapsed() < 7200 * SECOND {
        if bench.client.write_all(&piece).await.is_ok() {
            let _ = bench.backend.read_exact(&mut got).await;
        }
        sleep(every).await;
    }
    let took = began.elapsed();
    if !bench.relay.is_finished() {
        return (took, CLOSED, Vec::new());
    }
    (took, bench.relay.await.unwrap().reason, bench.told.lock().unwrap().clone())
}

fn message(rate: u32) -> Bench {
    bench_at(rate, 1 << 20, Wait::Body, pass_everything, |_, _| Verdict::Close)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_drips_in_is_given_up() {
    // Octets, seconds between them, and the longest that it may take.
    for (octets, every, longest) in [(10, 1, 70), (1, 20, 62), (50, 1, 120), (90, 1, 600), (1000, 20, 121)] {
        let (took, reason, told) = drip(message(100), octets, every * SECOND).await;
        assert_eq!((reason, told), (TOO_SLOW, vec![Ended::TooSlow]), "{octets} octets every {every} s");
        assert!(took >= 60 * SECOND, "{octets} every {every} s: a message has a minute in any case: {took:?}");
        assert!(took <= longest * SECOND + every * SECOND, "{octets} every {every} s: {took:?}");
    }
    // Octets that come just before each deadline.
    let (took, reason, _) = drip(message(100), 1, 59 * SECOND).await;
    assert_eq!(reason, TOO_SLOW);
    assert!(took <= 2 * 60 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_a_message_is_not_called_slow() {
    for pause in [0, 25] {
        let mut bench = message(100);
        let began = Instant::now();
        bench.client.write_all(b"x").await.unwrap();
        sleep(pause * SECOND).await;
        bench.client.write_all(b"x").await.unwrap();
        assert_eq!(bench.relay.await.unwrap().reason, TIMEOUT_CLIENT, "{pause}");
        assert!(began.elapsed() <= 61 * SECOND, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_steadily_may_take_hours() {
    for (rate, octets, every) in [(100, 110, SECOND), (100, 6000, 55 * SECOND), (0, 1, 59 * SECOND)] {
        let (took, reason, _) = drip(message(rate), octets, every).await;
        assert_eq!(reason, CLOSED, "{octets} octets every {every:?}: ended after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn between_messages_no_pace_is_asked_for() {
    let mut bench = message(100);
    let began = Instant::now();
    // A small message, its verdict, and a while until the next; three hundred of them.
    for _ in 0..300 {
        for (wait, seconds) in [(Wait::Body, 2), (Wait::Delivery, 20), (Wait::Command, 40)] {
            *bench.wait.lock().unwrap() = wait;
            bench.client.write_all(b"x").await.unwrap();
            assert_eq!(read(&mut bench.backend, 1).await, "x");
            bench.backend.write_all(b"y").await.unwrap();
            assert_eq!(read(&mut bench.client, 1).await, "y");
            sleep(seconds * SECOND).await;
        }
    }
    assert!(!bench.relay.is_finished(), "ended after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn chunks_of_one_message_have_one_allowance() {
    let mut bench = message(100);
    let began = Instant::now();
    // An octet, the answer to it, and the next; the message never ends.
    while !bench.relay.is_finished() {
        assert!(began.elapsed() < 300 * SECOND, "chunk by chunk for ever");
        for (wait, seconds) in [(Wait::Body, 10), (Wait::Reply, 5)] {
            *bench.wait.lock().unwrap() = wait;
            let _ = bench.client.write_all(b"x").await;
            let _ = bench.backend.write_all(b"y").await;
            sleep(seconds * SECOND).await;
        }
    }
    assert_eq!(bench.relay.await.unwrap().reason, TOO_SLOW);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_is_not_blamed_on_its_client() {
    // The client would send a megabyte a second and more; the backend takes what fills its pipe every 50 seconds.
    let mut bench = bench_at(1 << 20, 64 * 1024, Wait::Body, pass_everything, |_, _| Verdict::Close);
    let began = Instant::now();
    let flood = vec![b'x'; 64 * 1024];
    let mut taken = vec![0; 64 * 1024];
    while began.elapsed() < 1200 * SECOND {
        while timeout_write(&mut bench.client, &flood).await.is_ok() {}
        assert!(!bench.relay.is_finished(), "{:?}: {:?}", began.elapsed(), bench.relay.await.unwrap().reason);
        bench.backend.read_exact(&mut taken).await.unwrap();
        sleep(50 * SECOND).await;
    }
    // And one that takes nothing any more is what ends the session, in its time.
    while timeout_write(&mut bench.client, &flood).await.is_ok() {}
    let stuck = Instant::now();
    assert_eq!(bench.relay.await.unwrap().reason, BACKEND_STUCK);
    assert!(stuck.elapsed() <= 61 * SECOND, "{:?}", stuck.elapsed());
    assert_eq!(*bench.told.lock().unwrap(), [Ended::Deadline(Wait::Delivery)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_blamed_on_its_backend() {
    let mut bench = bench_with(1024, Wait::Reply, pass_everything, |_, _| Verdict::Close);
    let flood = vec![b'x'; 64 * 1024];
    while timeout_write(&mut bench.backend, &flood).await.is_ok() {}
    let end = bench.relay.await.unwrap();
    assert_eq!(end.reason, CLIENT_STUCK);
    assert!(end.client.is_none(), "there are no words for who does not read");
}

/// A backend that refuses every login.
fn refusing(side: Side, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
    if side == Side::Backend && !input.is_empty() {
        out.events.push(Event::Auth { method: "PLAIN".to_owned(), user: None, ok: false });
    }
    pass_everything(side, input, out)
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_failed_login_waits_and_so_does_the_next_command() {
    let mut bench = bench(refusing, go_on);
    bench.client.write_all(b"AUTH").await.unwrap();
    assert_eq!(read(&mut bench.backend, 4).await, "AUTH");
    let began = Instant::now();
    bench.backend.write_all(b"535").await.unwrap();
    // It does not wait for the answer.
    bench.client.write_all(b"AGAIN").await.unwrap();
    assert_eq!(read(&mut bench.client, 3).await, "535");
    assert!(began.elapsed() >= PAUSE, "{:?}", began.elapsed());
    assert_eq!(read(&mut bench.backend, 5).await, "AGAIN");
    assert!(began.elapsed() >= PAUSE && began.elapsed() < 2 * PAUSE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_gate_does_not_wait_for_a_held_answer() {
    let mut bench = bench(refusing, go_on);
    bench.client.write_all(b"AUTH").await.unwrap();
    assert_eq!(read(&mut bench.backend, 4).await, "AUTH");
    bench.backend.write_all(b"535").await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    bench.stop.stop();
    assert_eq!(read(&mut bench.client, 3).await, "535");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}
