//! The user name of a login, as far as its mechanism shows it. The password is never decoded.

use crate::protocol::sasl;

/// Follows one AUTH exchange (RFC 4954 §4).
#[derive(Debug)]
pub struct Exchange {
    /// Upper case, `?` for octets outside the grammar.
    pub method: String,
    /// Known once the first response showed it.
    pub user: Option<String>,
    responded: bool,
    /// The client's last line may be judged: it is more than a mechanism, a name or a cancel.
    offers: bool,
    /// A challenge has said that the credentials are no good.
    refused: bool,
}

impl Exchange {
    /// From the argument of AUTH: a mechanism and perhaps an initial response.
    pub fn new(argument: &[u8]) -> Self {
        let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let method = sasl::method(words.next().unwrap_or_default());
        let mut exchange = Self { method, user: None, responded: false, offers: false, refused: false };
        let initial = words.next();
        exchange.offers = initial.is_some();
        if let Some(initial) = initial.filter(|_| sasl::client_speaks_first(&exchange.method)) {
            exchange.response(initial);
        }
        exchange
    }

    /// A challenge; whether it is the first that says that the credentials are no good.
    pub fn challenge(&mut self, text: &[u8]) -> bool {
        let refusal = self.responded && sasl::challenge_is_refusal(&self.method, text);
        refusal && !std::mem::replace(&mut self.refused, true)
    }

    /// Whether that was said by a challenge, before the end of the exchange.
    pub fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether the backend may judge the login by what the client said last.
    pub fn offers(&self) -> bool {
        self.offers
    }

    /// A response of the client, without its CRLF. Only the first one may name the user; with LOGIN the second is the password.
    pub fn response(&mut self, line: &[u8]) {
        let is_first = !std::mem::replace(&mut self.responded, true);
        self.offers = line != b"*" && !(is_first && sasl::begins_with_a_name(&self.method));
        if is_first {
            self.user = sasl::user_name(&self.method, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4954_4_the_first_response_names_the_user_wherever_it_stands() {
        // "\0alice\0secret", and LOGIN's "alice" and "secret".
        let initial = Exchange::new(b"plain AGFsaWNlAHNlY3JldA==");
        assert_eq!((initial.method.as_str(), initial.user.as_deref()), ("PLAIN", Some("alice")));
        let mut later = Exchange::new(b"LOGIN");
        assert_eq!(later.user, None);
        later.response(b"YWxpY2U=");
        later.response(b"c2VjcmV0");
        assert_eq!(later.user.as_deref(), Some("alice"));
    }

    #[test]
    fn a_first_response_without_a_name_leaves_none_for_the_second() {
        let mut exchange = Exchange::new(b"LOGIN");
        exchange.response(b"=");
        exchange.response(b"c2VjcmV0");
        assert_eq!(exchange.user, None);
    }

    #[test]
    fn rfc2195_2_a_response_to_no_challenge_names_nobody() {
        // "victim 00", "alice 00".
        let mut exchange = Exchange::new(b"cram-md5 dmljdGltIDAw");
        assert_eq!(exchange.user, None);
        exchange.response(b"YWxpY2UgMDA=");
        assert_eq!(exchange.user.as_deref(), Some("alice"));
    }

    #[test]
    fn an_empty_argument_has_no_method() {
        assert_eq!(Exchange::new(b"").method, "");
    }
}
