//! The demo's one account, and how it is proved by SASL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Our name, and the backend's.
pub const HOSTNAME: &str = "mail.demo.example";
/// The domain that mail is taken for without a login.
pub const DOMAIN: &str = "demo.example";
/// The account's name.
pub const USER: &str = "demo";
/// The account's password: the demo listens on loopback only and holds what was sent to it since it started.
pub const PASSWORD: &str = "demo";

/// Whether this is the account, with or without the domain.
pub fn is_known(user: &[u8], password: &[u8]) -> bool {
    let local = user.strip_suffix(format!("@{DOMAIN}").as_bytes()).unwrap_or(user);
    local == USER.as_bytes() && password == PASSWORD.as_bytes()
}

/// Undoes base64 (RFC 4648 §4); `=` stands for nothing (RFC 4954 §4).
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" { Some(Vec::new()) } else { STANDARD.decode(text).ok() }
}

/// Base64.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Whether a PLAIN message (RFC 4616 §2) proves the account: `[authzid] NUL authcid NUL passwd`.
pub fn plain_is_known(message: &[u8]) -> bool {
    let mut parts = message.split(|octet| *octet == 0);
    let (Some(authorize), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    // Nobody may act for somebody else here.
    (authorize.is_empty() || authorize == user) && is_known(user, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4616_2_plain_proves_the_account_and_nothing_else() {
        let cases: &[(&[u8], bool)] = &[
            (b"\0demo\0demo", true),
            (b"demo\0demo\0demo", true),
            (b"\0demo@demo.example\0demo", true),
            (b"\0demo@elsewhere.example\0demo", false),
            (b"root\0demo\0demo", false),
            (b"\0demo\0wrong", false),
            (b"\0demo\0demo\0", false),
            (b"demo\0demo", false),
            (b"\0\0", false),
            (b"", false),
        ];
        for (message, expected) in cases {
            assert_eq!(plain_is_known(message), *expected, "{:?}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn rfc4954_4_an_empty_response_is_an_equals_sign() {
        assert_eq!(decode(b"="), Some(Vec::new()));
        assert_eq!(decode(b"AGRlbW8AZGVtbw=="), Some(b"\0demo\0demo".to_vec()));
        assert_eq!(decode(b"not base64!"), None);
    }
}
