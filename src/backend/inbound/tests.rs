use super::*;

/// What is read of `input` when it arrives in pieces of `piece` octets, and what is left for the client.
async fn run(input: &[u8], piece: usize) -> (Result<Inbound, String>, Vec<u8>) {
    let (mut near, mut far) = tokio::io::duplex(piece);
    let reading = async {
        let read = read_proxy_header(&mut near).await.map_err(|error| error.to_string());
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        (read, rest)
    };
    let writing = async {
        tokio::io::AsyncWriteExt::write_all(&mut far, input).await.unwrap();
        drop(far);
    };
    tokio::join!(reading, writing).0
}

fn proxied(client: &str, local: &str) -> Result<Inbound, String> {
    Ok(Inbound::Proxied { client: client.parse().unwrap(), local: local.parse().unwrap() })
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_START, &[command, family], &len, rest].concat()
}

#[tokio::test]
async fn a_header_is_read_and_nothing_behind_it() {
    let v4 = [203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0, 25];
    let mut v6 = vec![0; 36];
    v6[..2].copy_from_slice(&[0x20, 0x01]);
    v6[15] = 5;
    v6[16..18].copy_from_slice(&[0x20, 0x01]);
    v6[31] = 0x10;
    v6[32..].copy_from_slice(&[0x9c, 0x40, 0, 25]);
    let mut mapped = vec![0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 203, 0, 113, 5]);
    mapped[26..32].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 10]);
    mapped[32..].copy_from_slice(&[0x9c, 0x40, 0, 25]);
    let with_tlvs = [&v4[..], b"\x20\0\x05\x01\0\0\0\0\x05\0\x02id"].concat();

    let cases: Vec<(Vec<u8>, Result<Inbound, String>)> = vec![
        (b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n".to_vec(), proxied("203.0.113.5:40000", "192.0.2.10:25")),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), proxied("1.1.1.1:1", "2.2.2.2:2")),
        (b"PROXY TCP6 2001:db8::5 2001:db8::10 1 2\r\n".to_vec(), proxied("[2001:db8::5]:1", "[2001:db8::10]:2")),
        (b"PROXY TCP6 ::ffff:203.0.113.5 ::ffff:192.0.2.10 1 2\r\n".to_vec(), proxied("203.0.113.5:1", "192.0.2.10:2")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Ok(Inbound::HealthCheck)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Ok(Inbound::HealthCheck)),
        (v2(0x21, 0x11, &v4), proxied("203.0.113.5:40000", "192.0.2.10:25")),
        (v2(0x21, 0x11, &with_tlvs), proxied("203.0.113.5:40000", "192.0.2.10:25")),
        (v2(0x21, 0x21, &v6), proxied("[2001::5]:40000", "[2001::10]:25")),
        (v2(0x21, 0x21, &mapped), proxied("203.0.113.5:40000", "192.0.2.10:25")),
        (v2(0x20, 0x00, b""), Ok(Inbound::HealthCheck)),
        (v2(0x20, 0x11, &v4), Ok(Inbound::HealthCheck)),
        (v2(0x21, 0x00, b""), Ok(Inbound::HealthCheck)),
        (v2(0x21, 0x31, &[0; 216]), Ok(Inbound::HealthCheck)),
    ];
    for (header, expected) in cases {
        for behind in [&b""[..], b"\r\n", b"EHLO client.example\r\n", b"\x16\x03\x01\x02\0"] {
            let input = [&header[..], behind].concat();
            for piece in 1..=input.len() {
                let seen = run(&input, piece).await;
                assert_eq!(seen, (expected.clone(), behind.to_vec()), "{:?} in pieces of {piece}", input.as_slice());
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused_at_its_first_wrong_octet() {
    for input in [&b"EHLO client.example\r\n"[..], b"\x16\x03\x01\x02\0", b"PROXX", b"\r\n\r\n\r\n", b"G"] {
        for piece in 1..=input.len() {
            // The peer stays: were more awaited, this would never end.
            let (mut near, mut far) = tokio::io::duplex(64);
            for octets in input.chunks(piece) {
                tokio::io::AsyncWriteExt::write_all(&mut far, octets).await.unwrap();
            }
            let error = read_proxy_header(&mut near).await.unwrap_err();
            assert!(matches!(error, InboundError::Missing), "{input:?}: {error}");
            assert_eq!(error.reason().phrase, "no PROXY header from a peer that must send one");
        }
    }
}

#[tokio::test]
async fn a_malformed_header_is_refused() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200], b"\r\n".to_vec()].concat();
    // One octet too many, and a bare LF that pairs of octets straddle: neither may hang on how the octets come in.
    let too_long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 108 - 16], b"\r\n".to_vec()].concat();
    let huge = [V2_START, &[0x21, 0x11, 0xff, 0xff]].concat();
    let cases: Vec<Vec<u8>> = vec![
        b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\n".to_vec(),
        b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 70000\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::5 192.0.2.10 40000 25\r\n".to_vec(),
        b"PROXY UDP4 203.0.113.5 192.0.2.10 40000 25\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.5\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 6553\n\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\n\r\n".to_vec(),
        too_long,
        long,
        huge,
        v2(0x21, 0x12, &[203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0, 25]),
        v2(0x21, 0x11, &[203, 0, 113, 5]),
        v2(0x31, 0x11, &[203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0, 25]),
        v2(0x22, 0x11, &[203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0, 25]),
        v2(0x21, 0x41, &[0; 12]),
    ];
    for input in cases {
        for piece in 1..=input.len() {
            let (seen, _) = run(&input, piece).await;
            let error = seen.unwrap_err();
            assert!(error.contains("malformed"), "{:?}: {error}", String::from_utf8_lossy(&input));
        }
    }
}

#[tokio::test]
async fn a_header_that_breaks_off_is_a_lost_connection() {
    for whole in [b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n".to_vec(), v2(0x21, 0x11, &[1; 12])] {
        for cut in 0..whole.len() {
            let (seen, _) = run(&whole[..cut], 64).await;
            assert!(seen.unwrap_err().contains("closed before the end"), "cut at {cut}");
        }
    }
}
