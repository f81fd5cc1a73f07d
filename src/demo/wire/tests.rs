use std::time::Duration;

use proxy_header::{ProxiedAddress, SslInfo, Tlv};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;

fn run<T>(capacity: usize, input: &[u8], read: impl AsyncFnOnce(&mut Wire<tokio::io::DuplexStream>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut here, there) = duplex(capacity);
        let send = async {
            let _ = here.write_all(input).await;
            let _ = here.shutdown().await;
        };
        // Who has read enough hangs up, so that the sender does not wait for ever.
        let receive = async move { read(&mut Wire::new(there, Duration::from_secs(60))).await };
        tokio::join!(send, receive).1
    })
}

/// Cut at every octet of the short inputs, and at a few larger steps for the long ones.
const CUTS: std::ops::Range<usize> = 1..40;

#[test]
fn rfc5321_4_5_2_data_ends_with_crlf_dot_crlf_and_nothing_else() {
    let cases: &[(&[u8], &[u8])] = &[
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n"),
        (b"a\n.\n\r\n.\r\n", b"a\n.\n\r\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
        (b"\r\r\n.\r\n", b"\r\r\n"),
    ];
    for (input, expected) in cases {
        for capacity in CUTS {
            let content = run(capacity, input, async |wire| wire.data(100).await.unwrap());
            assert_eq!(content.as_deref(), Some(*expected), "{:?} by {capacity}", String::from_utf8_lossy(input));
        }
    }
}

#[test]
fn content_is_bounded_also_within_one_line() {
    let (half, whole) = (vec![b'x'; CHUNK + 10], vec![b'x'; CHUNK * 3]);
    for (line, expected) in [(&half, true), (&whole, false)] {
        let input = [line, &b"\r\n.\r\nQUIT\r\n"[..]].concat();
        for capacity in [1000, CHUNK, CHUNK * 4] {
            let (content, next) = run(capacity, &input, async |wire| {
                (wire.data(CHUNK * 2).await.unwrap(), wire.line(100).await.unwrap())
            });
            assert_eq!(content.map(|content| content.len()), expected.then_some(line.len() + 2));
            assert_eq!(next, Heard::Line(BytesMut::from("QUIT")));
        }
    }
}

#[test]
fn a_dot_behind_a_long_line_is_content() {
    let line = vec![b'.'; CHUNK * 2 + 1];
    let input = [&line, &b"\r\n.\r\n"[..]].concat();
    let content = run(CHUNK * 4, &input, async |wire| wire.data(CHUNK * 4).await.unwrap()).unwrap();
    assert_eq!(content.len(), line.len() - 1 + 2);
}

#[test]
fn rfc3030_2_octets_are_counted() {
    for capacity in CUTS {
        let (first, second, third) = run(capacity, b"\r\n.\r\nabcNOOP\r\n", async |wire| {
            (wire.octets(5, 5).await.unwrap(), wire.octets(3, 2).await.unwrap(), wire.line(100).await.unwrap())
        });
        assert_eq!(first.as_deref(), Some(&b"\r\n.\r\n"[..]));
        assert_eq!(second, None, "more than its limit");
        assert_eq!(third, Heard::Line(BytesMut::from("NOOP")));
    }
    let cut_off = run(10, b"abc", async |wire| wire.octets(4, 10).await);
    assert_eq!(cut_off.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn lines_that_break_a_rule_are_skipped_and_those_without_an_end_are_not_waited_for() {
    let long = [&[b'x'; 200][..], b"\r\nNOOP\r\n"].concat();
    for (input, rule) in [(&long[..], "line too long"), (b"a\rb\r\nNOOP\r\n", "CRLF"), (b"a\nNOOP\r\n", "CRLF")] {
        for capacity in CUTS {
            let (first, second) =
                run(capacity, input, async |wire| (wire.line(100).await.unwrap(), wire.line(100).await.unwrap()));
            assert!(matches!(first, Heard::Malformed(why) if why.contains(rule)), "{first:?}");
            assert_eq!(second, Heard::Line(BytesMut::from("NOOP")));
        }
    }
    let endless = vec![b'x'; CHUNK * 3];
    assert!(run(1000, &endless, async |wire| wire.line(100).await).is_err());
}

#[test]
fn a_silent_client_is_not_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let error = runtime.block_on(async {
        let (_here, there) = duplex(10);
        Wire::new(there, Duration::from_secs(300)).line(100).await.unwrap_err()
    });
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_client_is_who_the_proxy_header_says() {
    let peer: SocketAddr = "127.0.0.1:1000".parse().unwrap();
    let header = |source: &str, destination: &str, tlvs: Vec<Tlv<'_>>| {
        let proxied = ProxiedAddress::stream(source.parse().unwrap(), destination.parse().unwrap());
        let mut octets = Vec::new();
        ProxyHeader::with_tlvs(Some(proxied), tlvs).encode_v2(&mut octets).unwrap();
        octets
    };
    let mut local = Vec::new();
    ProxyHeader::with_local().encode_v2(&mut local).unwrap();
    let secured = vec![Tlv::Ssl(SslInfo::new(true, false, false, 1))];
    let cases = [
        (header("192.0.2.1:25", "198.51.100.1:25", vec![]), "192.0.2.1:25", false),
        (header("192.0.2.1:25", "198.51.100.1:25", secured), "192.0.2.1:25", true),
        (header("[2001:db8::1]:25", "[2001:db8::2]:25", vec![]), "[2001:db8::1]:25", false),
        (header("[::ffff:192.0.2.1]:25", "[2001:db8::2]:25", vec![]), "192.0.2.1:25", false),
        (local, "127.0.0.1:1000", false),
    ];
    for (header, address, tls) in cases {
        for capacity in CUTS {
            let input = [&header[..], b"EHLO x\r\n"].concat();
            let (client, line) =
                run(capacity, &input, async |wire| (wire.proxy_header(peer).await, wire.line(100).await));
            assert_eq!(client.unwrap(), Client { address: address.parse().unwrap(), tls });
            assert_eq!(line.unwrap(), Heard::Line(BytesMut::from("EHLO x")));
        }
    }
}

#[test]
fn without_a_proxy_v2_header_there_is_no_session() {
    let endless = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 70_000]].concat();
    let cases: &[&[u8]] =
        &[b"EHLO x\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21", &endless];
    for input in cases {
        let client = run(1000, input, async |wire| wire.proxy_header("127.0.0.1:1000".parse().unwrap()).await);
        assert!(client.is_err(), "{:?}", input.get(..20));
    }
}
