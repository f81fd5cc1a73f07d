//! Reads: in order, in place, and with as little copied as can be.

use super::*;
use pair::{TLS12, TLS13};

#[test]
fn a_socket_may_give_as_little_as_it_likes() {
    for (suite, at_once) in [TLS12, TLS13].into_iter().flat_map(|suite| [1, 7, 4096].map(|size| (suite, size))) {
        let (mut stream, mut theirs) = pair(suite);
        stream.0.stream.at_once = at_once;
        let data: Vec<u8> = (0..=250).cycle().take(40_000).collect();
        for fragment in data.chunks(FRAGMENT_LIMIT) {
            stream.0.stream.incoming.extend(theirs.data(fragment));
        }
        let (received, end) = read(&mut stream);
        assert!(received == data && end == Poll::Pending, "{suite:?}, {at_once} at once");
    }
}

#[test]
fn a_large_piece_changes_hands_where_it_lies_and_a_small_one_is_copied() {
    for suite in pair::SUITES {
        for length in [1, COPIED, COPIED + 1, FRAGMENT_LIMIT] {
            let (mut stream, mut theirs) = pair(suite);
            // The second record lies in the same buffer as the first.
            let wire = [theirs.data(b"first"), theirs.data(&vec![b'x'; length]), theirs.data(b"third")].concat();
            stream.0.stream.incoming.extend(wire);
            assert_eq!(kind(stream.fill(&mut BytesMut::new())), Poll::Ready(Ok(5)));
            let buffer = stream.0.wire.as_ptr_range();
            let mut into = BytesMut::new();
            assert_eq!(kind(stream.fill(&mut into)), Poll::Ready(Ok(length)));
            assert_eq!(into, vec![b'x'; length]);
            assert_eq!(buffer.contains(&into.as_ptr()), length > COPIED, "{suite:?}: {length} octets");
        }
    }
}

#[test]
fn what_is_read_goes_behind_what_is_there() {
    let (mut stream, mut theirs) = pair(TLS13);
    stream.0.stream.incoming.extend(theirs.data(&[b'x'; 5000]));
    let mut into = BytesMut::from("before");
    assert_eq!(kind(stream.fill(&mut into)), Poll::Ready(Ok(5000)));
    assert_eq!(into, [&b"before"[..], &[b'x'; 5000]].concat());
}

#[test]
fn both_ways_to_read_keep_the_order() {
    let (mut stream, mut theirs) = pair(TLS13);
    stream.0.stream.incoming.extend([theirs.data(b"abcdef"), theirs.data(b"ghi")].concat());
    let mut start = [0; 2];
    let mut start = ReadBuf::new(&mut start);
    assert!(idly(|cx| Pin::new(&mut stream).poll_read(cx, &mut start)).is_ready());
    assert_eq!(start.filled(), b"ab");
    let mut into = BytesMut::new();
    assert_eq!(kind(stream.fill(&mut into)), Poll::Ready(Ok(4)));
    let mut rest = [0; 10];
    let mut rest = ReadBuf::new(&mut rest);
    assert!(idly(|cx| Pin::new(&mut stream).poll_read(cx, &mut rest)).is_ready());
    assert_eq!((&into[..], rest.filled()), (&b"cdef"[..], &b"ghi"[..]));
}

#[test]
fn what_came_behind_the_handshake_is_read_first() {
    let (mut ours, mut theirs) = pair::forging(TLS13);
    ours.wire.extend(theirs.data(b"first"));
    let mut stream = Stream::new(Socket::new(), ours.records, ours.wire, ours.unsent.freeze());
    stream.0.stream.incoming.extend(theirs.data(b"second"));
    assert_eq!(read(&mut stream), (b"firstsecond".to_vec(), Poll::Pending));
}

#[test]
fn who_waits_to_read_is_woken_by_more() {
    let (mut stream, mut theirs) = pair(TLS13);
    let (reader, waker) = task();
    let mut cx = Context::from_waker(&waker);
    let record = theirs.data(b"NOOP");
    for cut in [0, 3, record.len() - 1] {
        stream.0.stream.incoming.extend(&record[stream.0.wire.len()..cut]);
        assert!(stream.poll_fill(&mut cx, &mut BytesMut::new()).is_pending());
        stream.0.stream.reader.take().expect("a reader who waits for the socket").wake();
    }
    assert_eq!(reader.woken(), 3);
}
