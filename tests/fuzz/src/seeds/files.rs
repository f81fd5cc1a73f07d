//! PROXY headers. Configurations and logs are text, and stand in the corpus as they are.

use super::Seed;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const IPV4: [u8; 12] = [203, 0, 113, 5, 192, 0, 2, 10, 0x9c, 0x40, 0, 25];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

pub(super) fn add(seeds: &mut Vec<Seed>) {
    let mut ipv6 = vec![0; 36];
    ipv6[..2].copy_from_slice(&[0x20, 0x01]);
    ipv6[15] = 5;
    ipv6[32..].copy_from_slice(&[0x9c, 0x40, 0, 25]);
    let mut mapped = ipv6.clone();
    mapped[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 5]);
    let with_tlvs = [&IPV4[..], b"\x20\0\x05\x01\0\0\0\0\x05\0\x02id"].concat();
    let long_line = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200], b"\r\n".to_vec()].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("v1_ipv4", b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n".to_vec()),
        ("v1_ipv6", b"PROXY TCP6 2001:db8::5 2001:db8::10 1 2\r\n".to_vec()),
        ("v1_mapped", b"PROXY TCP6 ::ffff:203.0.113.5 ::ffff:192.0.2.10 1 2\r\n".to_vec()),
        ("v1_shortest", b"PROXY UNKNOWN\r\n".to_vec()),
        ("v1_unknown_with_addresses", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec()),
        ("v1_longest", format!("PROXY TCP6 {0} {0} 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").into()),
        ("v1_too_long", long_line),
        ("v1_by_bare_lf", b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\n".to_vec()),
        ("v1_port_too_large", b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 70000\r\n".to_vec()),
        ("v1_two_families", b"PROXY TCP4 2001:db8::5 192.0.2.10 40000 25\r\n".to_vec()),
        ("v1_udp", b"PROXY UDP4 203.0.113.5 192.0.2.10 40000 25\r\n".to_vec()),
        ("v1_half", b"PROXY TCP4 203.0.113.5\r\n".to_vec()),
        ("v1_with_leading_zeros", b"PROXY TCP4 203.000.113.5 192.0.2.10 040000 025\r\n".to_vec()),
        ("v1_cr_within", b"PROXY TCP4 203.0.113.5\r 192.0.2.10 40000 25\r\n".to_vec()),
        ("v1_twice", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nPROXY TCP4 3.3.3.3 4.4.4.4 3 4\r\n".to_vec()),
        ("v1_bare_lf_between_two_reads", b"PROXY UNKNOWN ffff::1 ffff::2 65535 6553\n\r\n".to_vec()),
        ("v1_one_octet_too_long", format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16)).into()),
        ("v2_ipv4", v2(0x21, 0x11, &IPV4)),
        ("v2_with_fields", v2(0x21, 0x11, &with_tlvs)),
        ("v2_ipv6", v2(0x21, 0x21, &ipv6)),
        ("v2_mapped", v2(0x21, 0x21, &mapped)),
        ("v2_local", v2(0x20, 0x00, b"")),
        ("v2_local_with_addresses", v2(0x20, 0x11, &IPV4)),
        ("v2_unspecified", v2(0x21, 0x00, b"")),
        ("v2_unix", v2(0x21, 0x31, &[0; 216])),
        ("v2_datagram", v2(0x21, 0x12, &IPV4)),
        ("v2_too_short_for_its_family", v2(0x21, 0x11, &IPV4[..4])),
        ("v2_version_3", v2(0x31, 0x11, &IPV4)),
        ("v2_unknown_command", v2(0x22, 0x11, &IPV4)),
        ("v2_longer_than_anybody_sends", v2(0x21, 0x11, &[0; 8180])),
        ("none_smtp", b"EHLO client.example\r\n".to_vec()),
        ("none_tls", b"\x16\x03\x01\x02\0".to_vec()),
        ("none_half_a_signature", SIGNATURE[..7].to_vec()),
    ];
    for (name, header) in cases {
        // Kind 0: as it is; and the client's first command behind it.
        let input = [&[0], &header[..], b"EHLO c\r\n"].concat();
        seeds.push(Seed { target: "proxy_header", name: name.to_owned(), input });
    }
    for (name, kind) in [("made_v1_ipv4", 1), ("made_v2_ipv4", 2), ("made_v1_ipv6", 4), ("made_v2_ipv6", 5)] {
        let input = [&[kind], &mapped[..], b"\r\nEHLO c\r\n"].concat();
        seeds.push(Seed { target: "proxy_header", name: name.to_owned(), input });
    }
}
