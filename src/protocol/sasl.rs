//! Who is logging in, as far as a SASL mechanism shows it (RFC 4422). For the log alone: the backend decides.
//!
//! Responses are decoded lazily and no further than the end of the user name, so that a password
//! never exists in decoded form here. Where more names may follow, the rest goes by octet for octet, and none is kept.

/// The most octets of a user name that a log gets to see.
const NAME_LIMIT: usize = 255;

/// The user name in a client's first response: the initial one (RFC 4959, RFC 4954 §4) or, without one, the first line
/// after the server's first challenge. `response` is the base64 line without its CRLF; `=` stands for an empty one.
///
/// For LOGIN, whose first response is the user name and whose second is the password, this is the first.
/// Octets outside printable ASCII come back as `?`. None where the mechanism is unknown or shows no name,
/// or the response is not strict base64 (RFC 4648 §3.3, §3.5).
pub fn user_name(mechanism: &str, response: &[u8]) -> Option<String> {
    let mut octets = Base64::new(response)?;
    let name: Vec<u8> = match mechanism.to_ascii_uppercase().as_str() {
        // RFC 4616 §2: [authzid] NUL authcid NUL passwd. The password is authcid's.
        "PLAIN" => {
            octets.by_ref().find(|octet| *octet == 0)?;
            until(&mut octets, 0)?
        }
        // draft-murchison-sasl-login: the name alone. RFC 4422 appendix A: the authorization identity alone.
        "LOGIN" | "EXTERNAL" => octets.take(NAME_LIMIT).collect(),
        // RFC 2195 §2: the name, a space, the digest, which has no space.
        "CRAM-MD5" => {
            let all: Vec<u8> = octets.take(NAME_LIMIT + 64).collect();
            let space = memchr::memrchr(b' ', &all)?;
            all.get(..space)?.to_vec()
        }
        // Google's format: user=‹name› ^A auth=Bearer ‹token› ^A ^A. Of several names Dovecot takes the last.
        "XOAUTH2" => {
            expect(&mut octets, b"user=")?;
            let name = until(&mut octets, 1)?;
            (!has_field(&mut octets, b"user=")).then_some(name)?
        }
        // RFC 7628 §3.1: a GS2 header, then ^A and key-value pairs. Of several names in the header Dovecot takes the last.
        "OAUTHBEARER" => {
            let name = gs2_authzid(&mut octets)?;
            expect(&mut octets, b"\x01")?;
            name
        }
        // RFC 5802 §7: a GS2 header, then n=‹saslname›,r=‹nonce›.
        scram if scram.starts_with("SCRAM-") => {
            gs2_authzid(&mut octets)?;
            expect(&mut octets, b"n=")?;
            saslname(&until(&mut octets, b',')?)
        }
        _ => return None,
    };
    (!name.is_empty()).then(|| printable(&name))
}

/// Whether the client speaks first. In CRAM-MD5 the server does (RFC 2195 §2), so that a response right with the command is none:
/// Dovecot passes over it and challenges all the same, and the name that counts is in the answer to that.
pub fn client_speaks_first(mechanism: &str) -> bool {
    !mechanism.eq_ignore_ascii_case("CRAM-MD5")
}

/// Whether a client's first response says no more than who it is: LOGIN's is the name alone, SCRAM's has a nonce beside it
/// (RFC 5802 §3), and the password is asked for, or proved, by the next one.
pub fn begins_with_a_name(mechanism: &str) -> bool {
    let begins = mechanism.get(.."SCRAM-".len()).is_some_and(|begin| begin.eq_ignore_ascii_case("SCRAM-"));
    begins || mechanism.eq_ignore_ascii_case("LOGIN")
}

/// Whether a challenge behind the client's first response says that the credentials are no good, as with tokens: the client may
/// then cancel or go away, and would have guessed for nothing if only the end of the exchange counted (RFC 7628 §3.2.3).
pub fn challenge_is_refusal(mechanism: &str, challenge: &[u8]) -> bool {
    ["XOAUTH2", "OAUTHBEARER"].iter().any(|token| mechanism.eq_ignore_ascii_case(token))
        && !challenge.trim_ascii().is_empty()
}

/// A mechanism's name for the log: upper case, `?` for octets outside RFC 4422 §3.1's grammar, at most its 20 octets.
pub fn method(name: &[u8]) -> String {
    let known = |octet: &u8| match octet.to_ascii_uppercase() {
        upper @ (b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_') => char::from(upper),
        _ => '?',
    };
    name.iter().take(20).map(known).collect()
}

/// Text from the wire for the log: `?` for octets outside printable ASCII, cut at 255.
pub fn printable(text: &[u8]) -> String {
    let shown = |octet: &u8| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' };
    text.iter().take(NAME_LIMIT).map(shown).collect()
}

/// The octets before `end`, which must come; bounded, since a name is.
fn until(octets: &mut impl Iterator<Item = u8>, end: u8) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    for octet in octets {
        if octet == end {
            return Some(found);
        }
        // One more than is shown, then the rest of an absurd name is skipped.
        if found.len() <= NAME_LIMIT {
            found.push(octet);
        }
    }
    None
}

/// Whether `text` comes next.
fn expect(octets: &mut impl Iterator<Item = u8>, text: &[u8]) -> Option<()> {
    text.iter().all(|wanted| octets.next() == Some(*wanted)).then_some(())
}

/// Whether one of the fields that ^A parts begins like that.
fn has_field(octets: &mut impl Iterator<Item = u8>, begin: &[u8]) -> bool {
    let mut rest = Some(begin.iter());
    for octet in octets {
        rest = match rest {
            _ if octet == 1 => Some(begin.iter()),
            Some(mut rest) => rest.next().is_some_and(|wanted| *wanted == octet).then_some(rest),
            None => None,
        };
        if rest.as_ref().is_some_and(|rest| rest.len() == 0) {
            return true;
        }
    }
    false
}

/// RFC 5801 §4: `n`, `y` or `p=‹binding›`, a comma, an optional `a=‹authzid›`, a comma. The authzid, perhaps empty.
fn gs2_authzid(octets: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    until(octets, b',')?;
    let authzid = until(octets, b',')?;
    match authzid.strip_prefix(b"a=") {
        Some(name) => Some(saslname(name)),
        None if authzid.is_empty() => Some(authzid),
        None => None,
    }
}

/// RFC 5801 §4, RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign.
fn saslname(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        let (octet, left) = match rest {
            [b'=', b'2', b'C', left @ ..] => (b',', left),
            [b'=', b'3', b'D', left @ ..] => (b'=', left),
            _ => (*first, behind),
        };
        decoded.push(octet);
        rest = left;
    }
    decoded
}

/// Strict base64, decoded octet by octet as it is asked for.
struct Base64<'a> {
    digits: std::slice::Iter<'a, u8>,
    bits: u32,
    have: u32,
}

impl<'a> Base64<'a> {
    /// Checks alphabet, length and padding before anything is decoded.
    fn new(text: &'a [u8]) -> Option<Self> {
        let text = if text == b"=" { b"" } else { text };
        let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        if text.len() % 4 != 0 || !digits.iter().all(|digit| sextet(*digit).is_some()) {
            return None;
        }
        // RFC 4648 §3.5: the bits that padding leaves over are zero.
        let spare = match text.len() - digits.len() {
            0 => 0,
            1 => 0b11,
            _ => 0b1111,
        };
        let canonical = digits.last().and_then(|digit| sextet(*digit)).is_none_or(|last| last & spare == 0);
        canonical.then(|| Self { digits: digits.iter(), bits: 0, have: 0 })
    }
}

impl Iterator for Base64<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.have < 8 {
            self.bits = (self.bits << 6) | sextet(*self.digits.next()?)?;
            self.have += 6;
        }
        self.have -= 8;
        let octet = (self.bits >> self.have) & 0xff;
        self.bits &= (1 << self.have) - 1;
        u8::try_from(octet).ok()
    }
}

/// RFC 4648 §4: the value of one digit.
fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An encoder that owes nothing to the decoder, for readable cases.
    fn encode(octets: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = Vec::new();
        for chunk in octets.chunks(3) {
            let word =
                chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |word, octet| (word << 8) | usize::from(*octet));
            for place in 0..4 {
                let digit = DIGITS[(word >> (18 - 6 * place)) & 63];
                text.push(if place <= chunk.len() { digit } else { b'=' });
            }
        }
        text
    }

    #[test]
    fn names_come_out_of_each_mechanism() {
        let cases: &[(&str, &[u8], Option<&str>)] = &[
            ("PLAIN", b"\0alice\0secret", Some("alice")),
            ("plain", b"admin\0alice\0secret", Some("alice")),
            ("PLAIN", b"\0\0secret", None),
            ("PLAIN", b"\0alice", None),
            ("PLAIN", b"alice", None),
            ("PLAIN", b"\0al\nice\xff\0x", Some("al?ice?")),
            ("LOGIN", b"alice@example.com", Some("alice@example.com")),
            ("LOGIN", b"", None),
            ("EXTERNAL", b"alice", Some("alice")),
            ("CRAM-MD5", b"al ice b913a602c7eda7a495b4e6e7334d3890", Some("al ice")),
            ("CRAM-MD5", b"alice", None),
            ("XOAUTH2", b"user=alice@example.com\x01auth=Bearer token\x01\x01", Some("alice@example.com")),
            ("XOAUTH2", b"auth=Bearer token\x01\x01", None),
            ("XOAUTH2", b"user=alice\x01host=h\x01auth=Bearer user=\x01uservice=x\x01\x01", Some("alice")),
            ("XOAUTH2", b"user=victim\x01user=alice\x01auth=Bearer token\x01\x01", None),
            ("XOAUTH2", b"user=victim\x01auth=Bearer token\x01\x01user=alice\x01", None),
            ("OAUTHBEARER", b"n,a=victim,a=alice,\x01auth=Bearer t\x01\x01", None),
            ("OAUTHBEARER", b"n,a=alice@example.com,\x01host=h\x01auth=Bearer t\x01\x01", Some("alice@example.com")),
            ("OAUTHBEARER", b"n,,\x01auth=Bearer t\x01\x01", None),
            ("SCRAM-SHA-256", b"n,,n=alice,r=nonce", Some("alice")),
            ("SCRAM-SHA-1", b"y,a=admin,n=al=2Cice=3D,r=nonce", Some("al,ice=")),
            ("SCRAM-SHA-1", b"n,x,n=alice,r=nonce", None),
            ("SCRAM-SHA-1", b"n,,m=ext,n=alice,r=nonce", None),
            ("GSSAPI", b"\x60\x82", None),
            ("X-SCRAM", b"n,,n=alice,r=nonce", None),
        ];
        for (mechanism, response, expected) in cases {
            assert_eq!(user_name(mechanism, &encode(response)).as_deref(), *expected, "{mechanism} {response:?}");
        }
    }

    #[test]
    fn rfc4648_3_anything_but_strict_base64_shows_no_name() {
        assert_eq!(user_name("LOGIN", b"YWxpY2U=").as_deref(), Some("alice"));
        let cases: &[&[u8]] = &[
            b"YWxpY2U",
            b"YWxpY2U==",
            b"YWxpY2V=",
            b"YWxp\nY2U=",
            b"YW=xpY2U",
            b"YWxpY2U= ",
            b"====",
            b"Y===",
            b"A",
            b"YWxp-2U=",
        ];
        for case in cases {
            assert_eq!(user_name("LOGIN", case), None, "{:?}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn rfc4959_an_equals_sign_is_an_empty_initial_response() {
        assert_eq!(user_name("EXTERNAL", b"="), None);
        assert_eq!(user_name("PLAIN", b"="), None);
    }

    #[test]
    fn every_octet_survives_decoding() {
        let all: Vec<u8> = (0..=255).collect();
        for end in 0..=all.len() {
            let wanted = &all[..end];
            assert_eq!(Base64::new(&encode(wanted)).unwrap().collect::<Vec<u8>>(), wanted);
        }
    }

    #[test]
    fn long_names_are_cut_and_methods_kept_to_their_grammar() {
        let long = [b'a'; 4000];
        assert_eq!(user_name("LOGIN", &encode(&long)).unwrap().len(), NAME_LIMIT);
        let digest = b" b913a602c7eda7a495b4e6e7334d3890";
        let cram_md5 = |name: &[u8]| user_name("CRAM-MD5", &encode(&[name, digest].concat()));
        assert_eq!(cram_md5(&long[..NAME_LIMIT]).unwrap().len(), NAME_LIMIT);
        assert_eq!(cram_md5(&long), None, "where it ends is not looked for");
        let mut plain = vec![0];
        plain.extend_from_slice(&long);
        plain.extend_from_slice(b"\0secret");
        assert_eq!(user_name("PLAIN", &encode(&plain)).unwrap().len(), NAME_LIMIT);
        assert_eq!(method(b"scram-sha-256"), "SCRAM-SHA-256");
        assert_eq!(method(b"PL\r\nAIN\xff"), "PL??AIN?");
        assert_eq!(method(&[b'x'; 99]).len(), 20);
    }

    proptest::proptest! {
        #[test]
        fn no_response_panics_or_puts_controls_into_the_log(
            mechanism in "PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|SCRAM-SHA-1|CRAM-MD5|EXTERNAL",
            raw in proptest::collection::vec(0_u8..=255, 0..64),
        ) {
            for line in [raw.clone(), encode(&raw)] {
                if let Some(name) = user_name(&mechanism, &line) {
                    proptest::prop_assert!(name.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
                }
            }
        }
    }
}
