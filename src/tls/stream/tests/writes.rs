//! Writes to a socket that does not take them at once.

use super::*;
use pair::{DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED, TLS12, TLS13};

#[test]
fn a_socket_may_take_as_little_as_it_likes() {
    for (suite, at_once) in [TLS12, TLS13].into_iter().flat_map(|suite| [1, 7, 4096].map(|size| (suite, size))) {
        let (mut stream, mut theirs) = pair(suite);
        stream.0.stream.at_once = at_once;
        let data: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        let mut written = 0;
        while let Poll::Ready(Ok(length @ 1..)) = stream.write(&data[written..]) {
            written += length;
        }
        assert!(stream.flush().is_ready());
        assert!(got(&mut stream, &mut theirs).concat_data() == data, "{suite:?}, {at_once} at once");
    }
}

trait ConcatData {
    fn concat_data(self) -> Vec<u8>;
}

impl ConcatData for Vec<(u8, Vec<u8>)> {
    fn concat_data(self) -> Vec<u8> {
        self.into_iter().flat_map(|(_, content)| content).collect()
    }
}

#[test]
fn a_stalled_socket_costs_one_lot_and_wakes_the_writer_when_it_goes_on() {
    let (mut stream, mut theirs) = pair(TLS13);
    stream.0.stream.room = 100;
    let data = vec![b'x'; 1 << 20];
    let (writer, waker) = task();
    let mut cx = Context::from_waker(&waker);
    let Poll::Ready(Ok(first)) = Pin::new(&mut stream).poll_write(&mut cx, &data) else { panic!("nothing was taken") };
    assert_eq!(first, SEALED_AT_ONCE);
    assert!(Pin::new(&mut stream).poll_write(&mut cx, &data).is_pending());
    assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
    let held: usize = stream.0.unsent.iter().map(Bytes::len).sum();
    assert!(held < SEALED_AT_ONCE + 256, "{held} octets");

    stream.0.stream.room = usize::MAX;
    stream.0.stream.writer.take().unwrap().wake();
    assert_eq!(writer.woken(), 1);
    assert!(stream.flush().is_ready());
    assert_eq!(got(&mut stream, &mut theirs).concat_data(), &data[..first]);
}

#[test]
fn a_vectored_write_takes_all_of_many_small_pieces() {
    let (mut stream, mut theirs) = pair(TLS13);
    let pieces: Vec<IoSlice<'_>> = [&b"* "[..], b"", b"OK", b"\r\n"].map(IoSlice::new).to_vec();
    let written = idly(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces));
    assert_eq!(kind(written), Poll::Ready(Ok(6)));
    assert_eq!(got(&mut stream, &mut theirs), [(DATA, b"* OK\r\n".to_vec())], "one record");

    let many = vec![IoSlice::new(b"x"); 2 * SLICES];
    let written = idly(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &many));
    assert_eq!(kind(written), Poll::Ready(Ok(SLICES)));
    assert!(stream.is_write_vectored());
}

#[test]
fn what_the_handshake_left_goes_before_the_first_data_or_with_a_flush() {
    for flush in [false, true] {
        let (ours, mut theirs) = pair::forging(TLS13);
        let mut stream = Stream::new(Socket::new(), ours.records, ours.wire, ours.unsent.freeze());
        assert!(stream.0.stream.outgoing.is_empty());
        if flush {
            assert!(stream.flush().is_ready());
            assert!(!stream.0.stream.outgoing.is_empty());
        }
        assert_eq!(kind(stream.write(b"* OK\r\n")), Poll::Ready(Ok(6)));
        let records = got(&mut stream, &mut theirs);
        assert_eq!((records[0].0, records[0].1[0]), (HANDSHAKE, 4), "tickets");
        assert_eq!(records[1..], [(DATA, b"* OK\r\n".to_vec())]);
    }
}

#[test]
fn a_write_of_nothing_sends_no_data() {
    let (mut stream, mut theirs) = pair(TLS13);
    assert_eq!(kind(stream.write(b"")), Poll::Ready(Ok(0)));
    assert_eq!(got(&mut stream, &mut theirs), []);
}

#[test]
fn an_answer_to_a_key_update_goes_with_the_next_data() {
    let (mut stream, mut theirs) = pair(TLS13);
    stream.0.stream.incoming.extend(theirs.update_key(KEY_UPDATE_REQUESTED));
    assert_eq!(read(&mut stream), (Vec::new(), Poll::Pending));
    assert!(stream.flush().is_ready());
    assert_eq!(got(&mut stream, &mut theirs), []);
    assert_eq!(kind(stream.write(b"OK")), Poll::Ready(Ok(2)));
    assert_eq!(got(&mut stream, &mut theirs), [(HANDSHAKE, KEY_UPDATE.to_vec()), (DATA, b"OK".to_vec())]);
}

#[test]
fn a_renegotiation_is_declined_at_once() {
    let (mut stream, mut theirs) = pair(TLS12);
    stream.0.stream.incoming.extend(theirs.seal(HANDSHAKE, &[1, 0, 0, 0]));
    assert_eq!(read(&mut stream), (Vec::new(), Poll::Pending));
    assert_eq!(got(&mut stream, &mut theirs), [(pair::ALERT, vec![1, 100])]);
}

#[test]
fn an_answer_that_a_read_could_not_send_goes_on_with_the_reads() {
    let (mut stream, mut theirs) = pair(TLS12);
    stream.0.stream.room = 3;
    stream.0.stream.incoming.extend(theirs.seal(HANDSHAKE, &[1, 0, 0, 0]));
    let (reader, waker) = task();
    let mut cx = Context::from_waker(&waker);
    assert!(stream.poll_fill(&mut cx, &mut BytesMut::new()).is_pending());
    stream.0.stream.room = usize::MAX;
    stream.0.stream.writer.take().unwrap().wake();
    assert_eq!(reader.woken(), 1);
    assert!(stream.poll_fill(&mut cx, &mut BytesMut::new()).is_pending());
    assert_eq!(got(&mut stream, &mut theirs), [(pair::ALERT, vec![1, 100])]);
}

#[test]
fn a_read_does_not_take_a_stalled_writers_place() {
    let (mut stream, mut theirs) = pair(TLS12);
    stream.0.stream.room = 3;
    let (writer, waker) = task();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut stream).poll_write(&mut cx, b"OK").is_ready());
    assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
    let wrong = [theirs.seal(HANDSHAKE, &[1, 0, 0, 0]), theirs.seal(HANDSHAKE, &[1, 0, 0, 0])].concat();
    stream.0.stream.incoming.extend(wrong); // an answer, then a fatal alert
    assert_eq!(read(&mut stream), (Vec::new(), Poll::Ready(Err(io::ErrorKind::InvalidData))));
    stream.0.stream.room = usize::MAX;
    stream.0.stream.writer.take().unwrap().wake();
    assert_eq!(writer.woken(), 1);
    assert!(stream.flush().is_ready());
    let records = got(&mut stream, &mut theirs);
    assert_eq!(records, [(DATA, b"OK".to_vec()), (pair::ALERT, vec![1, 100]), (pair::ALERT, vec![2, 10])]);
}
