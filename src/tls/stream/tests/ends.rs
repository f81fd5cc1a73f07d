//! How a connection ends: in order, in error, or in the middle.

use std::pin::pin;

use super::*;
use pair::{ALERT, DATA, HANDSHAKE, TLS12, TLS13};

const BROKEN_PIPE: Poll<Result<usize, io::ErrorKind>> = Poll::Ready(Err(io::ErrorKind::BrokenPipe));

#[test]
fn close_notify_ends_the_reads_and_nothing_behind_it_counts() {
    for suite in [TLS12, TLS13] {
        let (mut stream, mut theirs) = pair(suite);
        stream
            .0
            .stream
            .incoming
            .extend([theirs.data(b"QUIT"), theirs.seal(ALERT, &[1, 0]), theirs.data(b"x")].concat());
        assert_eq!(read(&mut stream), (b"QUIT".to_vec(), Poll::Ready(Ok(0))));
        stream.0.stream.incoming.extend(theirs.data(b"more"));
        assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Ok(0))));
        assert!(!stream.0.stream.incoming.is_empty(), "not even read");
        assert_eq!(kind(stream.write(b"BYE")), Poll::Ready(Ok(3)), "RFC 8446 §6.1: the other direction goes on");
        assert_eq!(got(&mut stream, &mut theirs), [(DATA, b"BYE".to_vec())]);
    }
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    for cut in [0, 1, 5, 20] {
        let (mut stream, mut theirs) = pair(TLS13);
        let rest = theirs.data(b"more");
        stream.0.stream.incoming.extend(&rest[..cut]);
        stream.0.stream.ended = true;
        for _ in 0..2 {
            assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Err(io::ErrorKind::UnexpectedEof))), "at {cut}");
        }
        assert_eq!(kind(stream.write(b"x")), Poll::Ready(Ok(1)), "whether it still reads is not known");
    }
}

#[test]
fn a_shutdown_says_close_notify_once_and_then_nothing() {
    for suite in [TLS12, TLS13] {
        let (mut stream, mut theirs) = pair(suite);
        assert!(stream.write(b"BYE").is_ready());
        for _ in 0..3 {
            assert_eq!(kind(stream.shutdown()), Poll::Ready(Ok(())));
        }
        assert_eq!(kind(stream.write(b"x")), BROKEN_PIPE);
        assert!(stream.flush().is_ready());
        assert_eq!(got(&mut stream, &mut theirs), [(DATA, b"BYE".to_vec()), (ALERT, vec![1, 0])]);
        stream.0.stream.incoming.extend(theirs.data(b"still here"));
        assert_eq!(read(&mut stream), (b"still here".to_vec(), Poll::Pending), "the other direction goes on");
    }
}

#[test]
fn close_notify_alone_leaves_the_socket_open() {
    for suite in [TLS12, TLS13] {
        let (mut stream, mut theirs) = pair(suite);
        for _ in 0..2 {
            assert_eq!(kind(idly(|cx| pin!(stream.close_notify()).poll(cx))), Poll::Ready(Ok(())));
        }
        assert_eq!(kind(stream.write(b"x")), BROKEN_PIPE);
        assert_eq!(got(&mut stream, &mut theirs), [(ALERT, vec![1, 0])]);
        assert_eq!(stream.0.stream.shutdowns, 0);
    }
}

#[test]
fn a_shutdown_waits_for_a_stalled_socket() {
    let (mut stream, mut theirs) = pair(TLS13);
    stream.0.stream.room = 10;
    assert!(stream.write(b"BYE").is_ready());
    let (writer, waker) = task();
    for _ in 0..2 {
        assert!(Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(stream.0.stream.shutdowns, 0);
    stream.0.stream.room = usize::MAX;
    stream.0.stream.writer.take().unwrap().wake();
    assert_eq!(writer.woken(), 1);
    assert!(stream.shutdown().is_ready());
    assert_eq!(stream.0.stream.shutdowns, 1);
    assert_eq!(got(&mut stream, &mut theirs), [(DATA, b"BYE".to_vec()), (ALERT, vec![1, 0])]);
}

#[test]
fn a_broken_record_is_answered_by_one_fatal_alert() {
    for suite in pair::SUITES {
        let (mut stream, mut theirs) = pair(suite);
        let mut wrong = theirs.data(b"changed");
        *wrong.last_mut().unwrap() ^= 1;
        stream.0.stream.incoming.extend(wrong);
        for _ in 0..2 {
            assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Err(io::ErrorKind::InvalidData))));
        }
        assert_eq!(kind(stream.write(b"x")), BROKEN_PIPE);
        assert!(stream.flush().is_ready());
        assert!(stream.shutdown().is_ready());
        assert_eq!(got(&mut stream, &mut theirs), [(ALERT, vec![2, 20])], "{suite:?}");
    }
}

#[test]
fn data_before_a_broken_record_is_given_out() {
    let (mut stream, mut theirs) = pair(TLS13);
    let wire = [theirs.data(b"NOOP"), theirs.seal(HANDSHAKE, b"wrong")].concat();
    stream.0.stream.incoming.extend(wire);
    assert_eq!(read(&mut stream), (b"NOOP".to_vec(), Poll::Ready(Err(io::ErrorKind::InvalidData))));
    assert_eq!(got(&mut stream, &mut theirs), [(ALERT, vec![2, 10])]);
}

#[test]
fn the_clients_fatal_alert_ends_both_directions_without_a_word() {
    for suite in [TLS12, TLS13] {
        let (mut stream, mut theirs) = pair(suite);
        stream.0.stream.incoming.extend(theirs.seal(ALERT, &[2, 20]));
        assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Err(io::ErrorKind::InvalidData))));
        assert_eq!(kind(stream.write(b"x")), BROKEN_PIPE);
        assert!(stream.shutdown().is_ready());
        assert_eq!(got(&mut stream, &mut theirs), []);
    }
}

#[test]
fn no_alert_follows_a_close_notify() {
    for wrong in [&[1][..], b"wrong"] {
        let (mut stream, mut theirs) = pair(TLS12);
        assert!(stream.shutdown().is_ready());
        // A renegotiation, and what is not even that.
        stream.0.stream.incoming.extend(theirs.seal(HANDSHAKE, wrong));
        assert!(read(&mut stream).0.is_empty());
        assert_eq!(got(&mut stream, &mut theirs), [(ALERT, vec![1, 0])]);
    }
}

#[test]
fn a_worn_out_key_of_tls12_ends_in_order() {
    let (mut stream, mut theirs) = pair(TLS12);
    stream.0.records.wear_out(); // 2^24 records
    theirs.received = 1 << 24;
    assert_eq!(kind(stream.write(b"too much")), BROKEN_PIPE);
    assert_eq!(got(&mut stream, &mut theirs), [(ALERT, vec![1, 0])]);
    assert_eq!(kind(stream.write(b"x")), BROKEN_PIPE);
    assert!(stream.shutdown().is_ready());
    assert_eq!(got(&mut stream, &mut theirs), [], "once");
}
