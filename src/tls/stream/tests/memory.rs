//! What a session costs while nothing flows.

use allocation_counter::measure;

use super::*;
use crate::tls::protection::{self, AesGcm};
use pair::{TLS12, TLS13};

/// A session that has seen everything, and rests.
fn rested(suite: rustls::SupportedCipherSuite) -> (Stream<Socket>, Forger) {
    let (mut stream, mut theirs) = pair(suite);
    for length in [1, 5000, FRAGMENT_LIMIT] {
        let data = vec![b'x'; length];
        stream.0.stream.incoming.extend(theirs.data(&data));
        assert!(read(&mut stream) == (data.clone(), Poll::Pending));
        assert!(stream.write(&data).is_ready());
        assert!(stream.flush().is_ready());
    }
    stream.0.stream = Socket::new();
    (stream, theirs)
}

/// The heap of a stream, without its socket's.
fn heap(mut stream: Stream<Socket>) -> i64 {
    stream.0.stream = Socket::new();
    -measure(|| drop(stream)).bytes_current
}

#[test]
fn a_session_at_rest_holds_its_keys_and_no_buffer() {
    for suite in pair::SUITES {
        let (stream, _) = rested(suite);
        let Inner { wire, opened, unsent, .. } = &*stream.0;
        assert_eq!((wire.capacity(), opened.capacity(), unsent.capacity()), (0, 0, 0), "{suite:?}");
        let (inner, heap) = (size_of::<Inner<Socket>>(), heap(stream));
        println!("{suite:?}: {heap} octets, of them {inner} the stream, {} its socket", size_of::<Socket>());
        // AWS-LC's two contexts are not among them: the system's allocator has them, not Rust's.
        let aes_gcm = suite.suite().as_str().is_some_and(|name| name.contains("GCM"));
        let contexts = if aes_gcm && protection::is_better() { 2 * size_of::<AesGcm>() as i64 } else { 0 };
        let most = contexts + if pair::is_tls13(suite) { 1300 } else { 450 };
        assert!((0..most).contains(&heap), "{suite:?}: {heap} octets");
    }
    println!("on TCP the stream is {} octets", size_of::<Inner<tokio::net::TcpStream>>());
}

#[test]
fn the_beginning_of_a_record_costs_what_it_is() {
    // The last has the record end where hardly more than its own length is left of the buffer.
    for before in [0, 1, 3000, 15_000, 32_697] {
        let (mut stream, mut theirs) = rested(TLS13);
        let keys = heap(rested(TLS13).0);
        // The records before it take the front of the buffer that all came in.
        let data = vec![b'x'; before];
        let front: Vec<u8> = data.chunks(FRAGMENT_LIMIT).flat_map(|fragment| theirs.data(fragment)).collect();
        let last = theirs.data(&[b'y'; FRAGMENT_LIMIT]);
        stream.0.stream.incoming.extend([&front, &last[..last.len() - 1]].concat());
        assert!(read(&mut stream) == (data, Poll::Pending));
        let octets = heap(stream) - keys;
        assert!((16_000..17_500).contains(&octets), "{octets} octets behind a record of {before}");
    }
}

#[test]
fn a_read_that_was_taken_out_bit_by_bit_leaves_nothing() {
    let (mut stream, mut theirs) = rested(TLS12);
    stream.0.stream.incoming.extend(theirs.data(&[b'x'; 4000]));
    let mut room = [0; 1000];
    for _ in 0..4 {
        assert!(idly(|cx| Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut room))).is_ready());
    }
    assert_eq!(read(&mut stream), (Vec::new(), Poll::Pending));
    assert_eq!(heap(stream), heap(rested(TLS12).0));
}

#[test]
fn an_end_leaves_nothing_to_read() {
    let (mut stream, mut theirs) = rested(TLS13);
    stream.0.stream.incoming.extend([theirs.seal(pair::ALERT, &[1, 0]), vec![0; 10_000]].concat());
    assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Ok(0))));
    assert_eq!(heap(stream), heap(rested(TLS13).0));
}
