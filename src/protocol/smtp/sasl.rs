//! The user name of a login, as far as its mechanism shows it. The password is never decoded.

use super::path;

/// The longest user name kept for the log.
const USER_LIMIT: usize = 256;

/// Follows one AUTH exchange.
#[derive(Debug)]
pub struct Exchange {
    /// Upper case, `?` for octets outside the grammar.
    pub method: String,
    /// Known once a response showed it.
    pub user: Option<String>,
    responses: u32,
}

impl Exchange {
    /// From the argument of AUTH: a mechanism and perhaps an initial response.
    pub fn new(argument: &[u8]) -> Self {
        let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default();
        // RFC 4422 §3.1: 1 to 20 letters, digits, hyphens and underscores.
        let name = name.get(..20).unwrap_or(name);
        let method = path::text(name, false, |octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
            .to_ascii_uppercase();
        let mut exchange = Self { method, user: None, responses: 0 };
        if let Some(initial) = words.next() {
            exchange.response(initial);
        }
        exchange
    }

    /// A response of the client, without its CRLF.
    pub fn response(&mut self, line: &[u8]) {
        self.responses = self.responses.saturating_add(1);
        if self.responses == 1 {
            self.user = user(&self.method, line);
        }
    }
}

/// The user in the first response. The decoder is lazy and stops behind the name, before any secret.
fn user(method: &str, response: &[u8]) -> Option<String> {
    let decoded = Base64::new(response);
    let name: Vec<u8> = match method {
        // RFC 4616 §2: authzid NUL authcid NUL passwd.
        "PLAIN" => field(decoded, |octet| octet == 0, 1)?,
        "LOGIN" => decoded.take(USER_LIMIT).collect(),
        // user=‹name›^Aauth=Bearer …^A^A
        "XOAUTH2" => field(decoded, |octet| octet == 1, 0)?.strip_prefix(b"user=")?.to_vec(),
        // RFC 7628 §3.1: n,a=‹name›,^A…
        "OAUTHBEARER" => gs2(field(decoded, |octet| octet == b',', 1)?.strip_prefix(b"a=")?),
        // RFC 5802 §7: n,[a=‹authzid›],n=‹name›,r=…
        _ if method.starts_with("SCRAM-") => gs2(field(decoded, |octet| octet == b',', 2)?.strip_prefix(b"n=")?),
        // RFC 2195 §2: ‹name› SP ‹digest›; a name may hold spaces, the digest does not.
        "CRAM-MD5" => {
            let all: Vec<u8> = decoded.take(USER_LIMIT).collect();
            let space = all.iter().rposition(|octet| *octet == b' ')?;
            all.get(..space)?.to_vec()
        }
        _ => return None,
    };
    (!name.is_empty()).then(|| path::text(&name, false, |octet| octet.is_ascii_graphic()))
}

/// The `n`th field, counted from 0; `None` if another one before it never ended.
fn field(mut octets: Base64<'_>, ends: impl Fn(u8) -> bool, n: usize) -> Option<Vec<u8>> {
    for _ in 0..n {
        octets.find(|octet| ends(*octet))?;
    }
    Some(octets.take_while(|octet| !ends(*octet)).take(USER_LIMIT).collect())
}

/// RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign.
fn gs2(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).replace("=2C", ",").replace("=3D", "=").into_bytes()
}

/// Base64 (RFC 4648 §4), octet by octet; ends where the input is no base64.
struct Base64<'a> {
    input: std::slice::Iter<'a, u8>,
    bits: u32,
    count: u32,
}

impl<'a> Base64<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { input: input.iter(), bits: 0, count: 0 }
    }
}

impl Iterator for Base64<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.count < 8 {
            let value = match *self.input.next()? {
                octet @ b'A'..=b'Z' => octet - b'A',
                octet @ b'a'..=b'z' => octet - b'a' + 26,
                octet @ b'0'..=b'9' => octet - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => {
                    self.input = [].iter();
                    return None;
                }
            };
            self.bits = (self.bits << 6) | u32::from(value);
            self.count += 6;
        }
        self.count -= 8;
        let [octet, ..] = (self.bits >> self.count).to_le_bytes();
        self.bits &= (1 << self.count) - 1;
        Some(octet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc4648() {
        let cases: &[(&str, &str)] = &[
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("=", ""),
            ("Zm9v!mFy", "foo"),
        ];
        for (encoded, plain) in cases {
            assert_eq!(Base64::new(encoded.as_bytes()).collect::<Vec<_>>(), plain.as_bytes(), "{encoded}");
        }
    }

    #[test]
    fn the_user_is_what_the_mechanism_shows() {
        // Mechanism, first response decoded, user.
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("PLAIN", "\0alice\0secret", Some("alice")),
            ("plain", "admin\0alice\0secret", Some("alice")),
            ("PLAIN", "\0a b\u{e9}\0secret", Some("a?b??")),
            ("PLAIN", "alice", None),
            ("PLAIN", "\0\0secret", None),
            ("LOGIN", "alice@example.com", Some("alice@example.com")),
            ("XOAUTH2", "user=alice\x01auth=Bearer t\x01\x01", Some("alice")),
            ("XOAUTH2", "nobody\x01", None),
            ("OAUTHBEARER", "n,a=al=2Cice=3D,\x01host=x\x01", Some("al,ice=")),
            ("OAUTHBEARER", "n,,\x01host=x\x01", None),
            ("SCRAM-SHA-256", "n,,n=alice,r=nonce", Some("alice")),
            ("SCRAM-SHA-1", "n,a=admin,n=alice,r=nonce", Some("alice")),
            ("SCRAM-SHA-1", "nonsense", None),
            ("CRAM-MD5", "al ice 0123456789abcdef", Some("al?ice")),
            ("GSSAPI", "alice", None),
        ];
        for (mechanism, response, expected) in cases {
            let encoded = encode(response.as_bytes());
            // As an initial response and as a response of its own.
            let initial = Exchange::new(format!("{mechanism} {encoded}").as_bytes());
            assert_eq!(initial.user.as_deref(), *expected, "{mechanism} {response:?}");
            assert_eq!(initial.method, mechanism.to_ascii_uppercase());
            let mut later = Exchange::new(mechanism.as_bytes());
            assert_eq!(later.user, None);
            later.response(encoded.as_bytes());
            later.response(encode(b"secret").as_bytes());
            assert_eq!(later.user.as_deref(), *expected, "{mechanism} {response:?}");
        }
    }

    #[test]
    fn nothing_long_or_strange_is_kept() {
        let long = Exchange::new(format!("LOGIN {}", encode(&b"a".repeat(5000))).as_bytes());
        assert_eq!(long.user.unwrap().len(), USER_LIMIT);
        assert_eq!(Exchange::new(b"PL(IN\xff \xff").method, "PL?IN?");
        assert_eq!(Exchange::new(&b"A".repeat(100)).method.len(), 20);
        assert_eq!(Exchange::new(b"").method, "");
    }

    fn encode(plain: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        plain
            .chunks(3)
            .flat_map(|chunk| {
                let bits =
                    chunk.iter().fold(0_u32, |bits, octet| (bits << 8) | u32::from(*octet)) << (8 * (3 - chunk.len()));
                (0..4).map(move |place| {
                    if place <= chunk.len() {
                        char::from(alphabet[(bits >> (18 - 6 * place)) as usize & 63])
                    } else {
                        '='
                    }
                })
            })
            .collect()
    }
}
