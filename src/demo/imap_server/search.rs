//! SEARCH (RFC 3501 §6.4.4), as far as flags, numbers and header fields go.

use super::parse::{Bad, Parser, Set};
use crate::demo::mailbox::{Flags, Message};
use crate::demo::message::fields;

/// How deep NOT may nest.
const DEPTH: u32 = 20;

/// What a message must be.
#[derive(Debug)]
pub enum Key {
    /// Anything.
    All,
    /// Never: `NEW` and `RECENT`, since nothing here is recent.
    Nothing,
    /// With or without a flag.
    Flag(Flags, bool),
    /// By unique identifier.
    Uid(Set),
    /// By message number.
    Number(Set),
    /// A header field that holds a text, case aside.
    Header(String, String),
    /// Not that.
    Not(Box<Self>),
}

impl Key {
    /// All keys to the end of the command; all of them must hold.
    pub fn parse_all(parser: &mut Parser<'_>) -> Result<Vec<Self>, Bad> {
        let mut keys = Vec::new();
        loop {
            keys.extend(Self::parse(parser, DEPTH)?);
            if parser.is_at_end() {
                return Ok(keys);
            }
            parser.space()?;
        }
    }

    /// One key; none for `CHARSET`, which says nothing about messages.
    fn parse(parser: &mut Parser<'_>, depth: u32) -> Result<Option<Self>, Bad> {
        let mut ahead = *parser;
        if let Ok(set) = ahead.set() {
            *parser = ahead;
            return Ok(Some(Self::Number(set)));
        }
        let argument = |parser: &mut Parser<'_>| {
            parser.space()?;
            Ok(String::from_utf8_lossy(&parser.string(b"")?).to_lowercase())
        };
        let word = parser.keyword()?;
        let flag = |name: &str| Flags::by_name(&format!("\\{name}"));
        Ok(Some(match word.as_str() {
            "ALL" | "OLD" => Self::All,
            "NEW" | "RECENT" => Self::Nothing,
            "UID" => {
                parser.space()?;
                Self::Uid(parser.set()?)
            }
            "SUBJECT" | "FROM" | "TO" | "CC" => Self::Header(word, argument(parser)?),
            "HEADER" => Self::Header(argument(parser)?, argument(parser)?),
            "NOT" if depth > 0 => {
                parser.space()?;
                let key = Self::parse(parser, depth - 1)?.ok_or(Bad("a search key is missing"))?;
                Self::Not(Box::new(key))
            }
            "CHARSET" => {
                // RFC 3501 §6.4.4; US-ASCII is a part of it.
                return match argument(parser)?.as_str() {
                    "utf-8" | "us-ascii" => Ok(None),
                    _ => Err(Bad("CHARSET is UTF-8 or US-ASCII")),
                };
            }
            other => match (flag(other), other.strip_prefix("UN").and_then(flag)) {
                (Some(flag), _) => Self::Flag(flag, true),
                (None, Some(flag)) => Self::Flag(flag, false),
                (None, None) => return Err(Bad("this search key is not supported")),
            },
        }))
    }

    /// Whether it holds for a message; `largest` are the largest message number and unique identifier.
    pub fn holds(&self, message: &Message, number: u32, largest: (u32, u32)) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Flag(flag, wanted) => message.flags.contains(*flag) == *wanted,
            Self::Uid(set) => set.contains(message.uid, largest.1),
            Self::Number(set) => set.contains(number, largest.0),
            Self::Header(name, text) => fields(&message.content)
                .any(|field| field.is(name) && field.value().to_lowercase().contains(text.as_str())),
            Self::Not(key) => !key.holds(message, number, largest),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn found(text: &str) -> Result<Vec<u32>, Bad> {
        let message = |uid, flags, content: &'static str| Message {
            uid,
            flags,
            received: UNIX_EPOCH,
            content: Bytes::from_static(content.as_bytes()),
        };
        let messages = [
            message(4, Flags::SEEN, "Subject: One\r\n\r\n"),
            message(7, Flags::default(), "Subject: Two\r\nX-Leg: smtp\r\n\r\n"),
            message(9, Flags::DELETED, "\r\nSubject: three\r\n"),
        ];
        let keys = Key::parse_all(&mut Parser::new(text.as_bytes()))?;
        let holds = |(number, message): &(u32, &Message)| keys.iter().all(|key| key.holds(message, *number, (3, 9)));
        Ok((1..).zip(&messages).filter(holds).map(|(number, _)| number).collect())
    }

    #[test]
    fn rfc3501_6_4_4_keys() {
        let cases: &[(&str, &[u32])] = &[
            ("ALL", &[1, 2, 3]),
            ("UNSEEN", &[2, 3]),
            ("seen", &[1]),
            ("UNSEEN UNDELETED", &[2]),
            ("2:*", &[2, 3]),
            ("UID 7:8", &[2]),
            ("NOT UID 7", &[1, 3]),
            ("SUBJECT one", &[1]),
            ("CHARSET UTF-8 SUBJECT \"TWO\"", &[2]),
            ("HEADER x-leg {4}\r\nsmtp", &[2]),
            ("SUBJECT three", &[]),
            ("RECENT", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let nested = "NOT ".repeat(1000) + "ALL";
        for text in
            ["", "BODY x", "OR SEEN UNSEEN", "ALL ", "CHARSET KOI8-R ALL", "NOT CHARSET UTF-8", "UID x", &nested]
        {
            assert!(found(text).is_err(), "{text}");
        }
    }
}
