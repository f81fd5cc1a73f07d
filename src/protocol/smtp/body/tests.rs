use super::*;
use proptest::prelude::*;

/// Runs `content` through a scanner in pieces of `size`; what leaves it, and what is left behind the end, if it came.
fn run(content: &[u8], size: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut scanner, mut held, mut sent) = (Scanner::new(), Vec::new(), Vec::new());
    let mut pieces = content.chunks(size);
    loop {
        match scanner.scan(&held) {
            Found::Clean(n) => sent.extend(held.drain(..n)),
            Found::Mend(mend) => {
                held.drain(..mend.swallow);
                sent.extend_from_slice(mend.insert);
            }
            Found::End(n) => {
                sent.extend(held.drain(..n));
                held.extend(pieces.flatten());
                return (sent, Some(held));
            }
            Found::Undecided => match pieces.next() {
                Some(piece) => held.extend_from_slice(piece),
                None => return (sent, None),
            },
        }
    }
}

#[test]
fn rfc5321_4_1_1_4_only_crlf_dot_crlf_ends_content() {
    // What came, what goes, what is left behind the end of data.
    let cases: &[(&[u8], &[u8], Option<&[u8]>)] = &[
        (b".\r\n", b".\r\n", Some(b"")),
        (b"\r\n.\r\n", b"\r\n.\r\n", Some(b"")),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n.\r\n", Some(b"QUIT\r\n")),
        (b"a\r\n..\r\n.\r\n", b"a\r\n..\r\n.\r\n", Some(b"")),
        (b"a\r\n.b\r\n.\r\n", b"a\r\n.b\r\n.\r\n", Some(b"")),
        (b"a.\r\n.\r\n", b"a.\r\n.\r\n", Some(b"")),
        (b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n.\r\n", Some(b"")),
        // No end.
        (b"a\r\n.", b"a\r\n", None),
        (b"a\r\n.\r", b"a\r\n", None),
        (b"a\r", b"a", None),
        // Bare newlines, in all places.
        (b"a\nb\r\n.\r\n", b"a\r\nb\r\n.\r\n", Some(b"")),
        (b"a\rb\r\n.\r\n", b"a\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\r\n.\r\n", b"a\r\n\r\n.\r\n", Some(b"")),
        (b"\n\n\r\n.\r\n", b"\r\n\r\n\r\n.\r\n", Some(b"")),
        // Smuggling: none of these ends the content, here or behind us.
        (b"a\n.\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\n.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r.\rb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\n\r.\r\n\nb\r\n.\r\n", b"a\r\n\r\n..\r\n\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\n\r\nb\r\n.\r\n", Some(b"")),
        (b"a\n..\nb\r\n.\r\n", b"a\r\n...\r\nb\r\n.\r\n", Some(b"")),
        (b".\na\r\n.\r\n", b"\r\na\r\n.\r\n", Some(b"")),
        // NUL where it would hide a dot, and where it would not.
        (b"a\r\n\0.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\n.\0\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n.\r\n", Some(b"")),
        (b"a\r\n.\0.\r\nb\r\n.\r\n", b"a\r\n..\r\nb\r\n.\r\n", Some(b"")),
        (b"a\n\0\0.\0\nb\r\n.\r\n", b"a\r\n..\0\r\nb\r\n.\r\n", Some(b"")),
        (b"\0.\r\n\0\r\n.\r\n", b"..\r\n\r\n.\r\n", Some(b"")),
        (b"a\0.\r\n..\0\r\n.\r\n", b"a\0.\r\n..\0\r\n.\r\n", Some(b"")),
    ];
    for (content, sent, behind) in cases {
        for size in 1..=content.len() {
            let (got, left) = run(content, size);
            let name = format!("{:?} by {size}", String::from_utf8_lossy(content));
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(sent), "{name}");
            assert_eq!(left.as_deref(), *behind, "{name}");
        }
    }
}

#[test]
fn content_that_would_fold_is_known() {
    let cases: &[(&[u8], Option<bool>)] = &[
        (b"", None),
        (b".", None),
        (b" ", Some(true)),
        (b"\tx", Some(true)),
        (b". x", Some(true)),
        (b".\t", Some(true)),
        (b"..", Some(false)),
        (b".\r", Some(false)),
        (b"\r", Some(false)),
        (b"Subject", Some(false)),
    ];
    for (input, expected) in cases {
        assert_eq!(Scanner::new().begins_folded(input), *expected, "{input:?}");
    }
    // Behind NULs that went away a dot is no stuffing.
    let mut scanner = Scanner::new();
    assert_eq!(scanner.swallow_nul(b".\0. x"), Some(2));
    assert_eq!(scanner.swallow_nul(b". x"), None);
    assert_eq!(scanner.begins_folded(b". x"), Some(false));
    assert_eq!(scanner.begins_folded(b" x"), Some(true));
}

/// The rule by itself, without regard to speed: decode, mend the newlines, take NULs off the beginnings of lines, encode.
fn model(content: &[u8]) -> Option<Vec<u8>> {
    let end = if content.starts_with(b".\r\n") {
        0
    } else {
        content.windows(5).position(|window| window == b"\r\n.\r\n")? + 2
    };
    let mut content = content[..end].to_vec();
    // Undo the sender's stuffing, for which CRLF alone begins a line.
    let starts: Vec<usize> = (0..content.len())
        .filter(|at| content[*at] == b'.' && (*at == 0 || (*at >= 2 && &content[at - 2..*at] == b"\r\n")))
        .collect();
    for at in starts.into_iter().rev() {
        content.remove(at);
    }
    // All newlines are one.
    let mut lines = vec![Vec::new()];
    let mut octets = content.iter().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            octet => lines.last_mut().unwrap().push(*octet),
        }
    }
    let mut encoded = Vec::new();
    let count = lines.len();
    for (place, line) in lines.into_iter().enumerate() {
        let line: Vec<u8> = line.into_iter().skip_while(|octet| *octet == 0).collect();
        if line.first() == Some(&b'.') {
            encoded.push(b'.');
        }
        encoded.extend(line);
        if place + 1 < count {
            encoded.extend_from_slice(b"\r\n");
        }
    }
    encoded.extend_from_slice(b".\r\n");
    Some(encoded)
}

/// Decoded as a backend would: what two encodings must have in common.
fn decoded(encoded: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = encoded.split_inclusive(|octet| *octet == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b".\r\n"[..]));
    lines.iter().flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

/// The rule octet by octet, as [`run`] tells it.
fn reference(content: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut sent, mut place, mut at) = (Vec::new(), Place::LineStart, 0);
    while let Some((octet, behind)) = content[at..].split_first() {
        let (taken, becomes, then): (usize, &[u8], Place) = match (octet, behind, place) {
            (b'\r', [], _) | (b'.', [] | [b'\r'], Place::LineStart) => break,
            (b'\r', [b'\n', ..], _) => (2, b"\r\n", Place::LineStart),
            (b'\r' | b'\n', ..) => (1, b"\r\n", Place::MendedLineStart),
            (b'.', [b'\r', b'\n', left @ ..], Place::LineStart) => {
                sent.extend_from_slice(b".\r\n");
                return (sent, Some(left.to_vec()));
            }
            (b'.', [b'\r' | b'\n', ..], Place::LineStart) => (2, b"\r\n", Place::MendedLineStart),
            (b'.', [0, ..], Place::LineStart) => (2, b"", Place::MendedLineStart),
            (0, _, Place::LineStart | Place::MendedLineStart) => (1, b"", Place::MendedLineStart),
            (b'.', _, Place::MendedLineStart) => (1, b"..", Place::Middle),
            (octet, ..) => (1, std::slice::from_ref(octet), Place::Middle),
        };
        sent.extend_from_slice(becomes);
        (at, place) = (at + taken, then);
    }
    (sent, None)
}

#[test]
fn nothing_hides_in_a_block_or_between_two() {
    let others: &[&[u8]] = &[
        b"\r",
        b"\n",
        b".",
        b"\0",
        b"\r\n",
        b"\n\r",
        b"\r\r\n",
        b"\r\n.",
        b"\r\n\0",
        b"\n.",
        b"\r.",
        b"\n.\r\n",
        b"\r\n.\r\n",
    ];
    for line in [&b"abcd.\r\n"[..], b"\r\n", &b"a".repeat(BLOCK + 1)] {
        let clean: Vec<u8> = line.iter().copied().cycle().take(3 * BLOCK).collect();
        for (other, place) in others.iter().flat_map(|other| (0..2 * BLOCK).map(move |place| (other, place))) {
            let mut content = clean.clone();
            content[place..place + other.len()].copy_from_slice(other);
            let expected = reference(&content);
            for size in [BLOCK - 1, BLOCK + 1, BLOCK + 2, content.len()] {
                assert!(run(&content, size) == expected, "{other:?} at {place} by {size} in {line:?}");
            }
        }
    }
}

#[test]
fn repairs_cost_one_look_at_a_block_for_a_block_of_them() {
    let content = [b'\r'; 10 * BLOCK];
    let (mut scanner, mut rest, mut looks) = (Scanner::new(), &content[..], 0);
    loop {
        let due = scanner.careful == 0;
        match scanner.scan(rest) {
            Found::Mend(mend) => rest = &rest[mend.swallow..],
            Found::Undecided => break,
            other => panic!("{other:?}"),
        }
        looks += usize::from(due && scanner.careful > 0);
    }
    assert_eq!(rest.len(), 1);
    assert_eq!(looks, 10);
}

/// Proper lines of all lengths, and between them what is rich in all that has a meaning.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let proper = (0..2 * BLOCK).prop_map(|length| [b"a".repeat(length), b"\r\n".to_vec()].concat());
    let lines = prop::collection::vec(0..80_usize, 1..20).prop_map(|lengths| {
        lengths.into_iter().flat_map(|length| [b"a.".repeat(length), b"\r\n".to_vec()].concat()).collect()
    });
    let rich = prop::collection::vec(prop::sample::select(b"\r\r\n\n..a\0".to_vec()), 0..6);
    prop::collection::vec(prop_oneof![proper, lines, rich], 0..8).prop_map(|parts| parts.concat())
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_of_every_width_say_the_same() {
    use fearless_simd::Simd as _;

    let level = Level::new();
    let widths = |content: &[u8]| {
        [
            level.as_sse2().map(|vectors| vectors.vectorize(|| proper_octets(content))),
            level.as_sse4_2().map(|vectors| vectors.vectorize(|| proper_octets(content))),
            level.as_avx2().map(|vectors| vectors.vectorize(|| proper_octets(content))),
            level.as_avx512().map(|vectors| vectors.vectorize(|| proper_octets(content))),
        ]
    };
    let whole = [b"x".repeat(62).as_slice(), b"\r\n"].concat().repeat(10);
    for (flaw, at) in b"\r\n.\0".iter().flat_map(|flaw| (0..whole.len()).map(move |at| (*flaw, at))) {
        let mut content = whole.clone();
        content[at] = if content[at] == flaw { b'x' } else { flaw };
        let first = content.windows(3).position(|octets| {
            (octets[0] == b'\r') != (octets[1] == b'\n') || octets[1] == b'\n' && matches!(octets[2], b'.' | 0)
        });
        let expected = first.unwrap_or(usize::MAX).min(content.len() - 2) / BLOCK * BLOCK;
        let seen: Vec<usize> = widths(&content).into_iter().flatten().collect();
        assert!(!seen.is_empty() && seen.iter().all(|n| *n == expected), "{flaw} at {at}: {seen:?}, not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn blocks_say_what_octets_say(content in contents(), size in 1_usize..600) {
        let expected = reference(&content);
        prop_assert!(run(&content, size) == expected);
        prop_assert!(run(&content, content.len().max(1)) == expected);
    }

    #[test]
    fn what_leaves_is_the_content_with_whole_newlines(
        mut content in prop::collection::vec(prop::sample::select(b"\r\r\n\n..a \0".to_vec()), 0..40),
        size in 1_usize..12,
    ) {
        content.extend_from_slice(b"\r\n.\r\n");
        let (sent, behind) = run(&content, size);
        prop_assert!(behind.is_some());
        let expected = model(&content).unwrap();
        prop_assert_eq!(decoded(&sent), decoded(&expected));
        // No CR or LF but in CRLF, and one end of data, at the end.
        let mut without = String::from_utf8(sent.clone()).unwrap();
        without = without.replace("\r\n", "");
        prop_assert!(!without.contains(['\r', '\n']), "{:?}", without);
        let ends = sent.windows(5).filter(|window| *window == b"\r\n.\r\n").count()
            + usize::from(sent.starts_with(b".\r\n"));
        prop_assert_eq!(ends, 1);
        prop_assert!(sent.ends_with(b".\r\n"));
    }

    #[test]
    fn any_cutting_is_the_same(content in prop::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..60), size in 1_usize..20) {
        let whole = run(&content, content.len().max(1));
        prop_assert_eq!(run(&content, size), whole);
    }
}
