//! FETCH: what can be asked of a message (RFC 3501 §6.4.5), and how it is told (§7.4.2).

use jiff::Timestamp;

use super::envelope::envelope;
use super::parse::{Bad, Parser};
use crate::demo::mailbox::Message;
use crate::demo::message::{fields, split};

/// One thing asked of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `ENVELOPE`
    Envelope,
    /// `BODY[…]`, `BODY.PEEK[…]` and the three older names of it.
    Body {
        /// The name in the answer.
        label: String,
        /// Whether reading leaves `\Seen` alone.
        peek: bool,
        /// Which octets.
        section: Section,
        /// `<offset.length>`
        partial: Option<(u32, u32)>,
    },
}

/// A part of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// `[]`
    Whole,
    /// `[HEADER]`
    Header,
    /// `[TEXT]`
    Text,
    /// `[HEADER.FIELDS (…)]`, or all but these.
    Fields {
        /// The names.
        names: Vec<String>,
        /// `HEADER.FIELDS.NOT`
        not: bool,
    },
}

impl Item {
    /// The items of a FETCH command: one, a list, or a macro.
    pub fn parse_all(parser: &mut Parser<'_>) -> Result<Vec<Self>, Bad> {
        let fast = [Self::Flags, Self::InternalDate, Self::Size];
        let mut ahead = *parser;
        let found = match ahead.keyword().as_deref() {
            Ok("FAST") => Some(fast.to_vec()),
            Ok("ALL") => Some([&fast[..], &[Self::Envelope]].concat()),
            _ => None,
        };
        if let Some(items) = found {
            *parser = ahead;
            return Ok(items);
        }
        parser.list(true, Self::parse)
    }

    fn parse(parser: &mut Parser<'_>) -> Result<Self, Bad> {
        let body = |label: &str, peek, section| Self::Body { label: label.to_owned(), peek, section, partial: None };
        Ok(match parser.keyword()?.as_str() {
            "FLAGS" => Self::Flags,
            "UID" => Self::Uid,
            "INTERNALDATE" => Self::InternalDate,
            "RFC822.SIZE" => Self::Size,
            "ENVELOPE" => Self::Envelope,
            "RFC822" => body("RFC822", false, Section::Whole),
            "RFC822.HEADER" => body("RFC822.HEADER", true, Section::Header),
            "RFC822.TEXT" => body("RFC822.TEXT", false, Section::Text),
            "BODY" if parser.take(b'[') => Self::parse_body(parser, false)?,
            "BODY.PEEK" if parser.take(b'[') => Self::parse_body(parser, true)?,
            _ => return Err(Bad("this FETCH item is not supported")),
        })
    }

    fn parse_body(parser: &mut Parser<'_>, peek: bool) -> Result<Self, Bad> {
        let (section, name) = if parser.take(b']') {
            (Section::Whole, String::new())
        } else {
            let name = parser.keyword()?;
            let (section, name) = match name.as_str() {
                "HEADER" => (Section::Header, name),
                "TEXT" => (Section::Text, name),
                "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
                    parser.space()?;
                    let names = parser
                        .list(false, |parser| Ok(String::from_utf8_lossy(&parser.string(b"")?).to_ascii_uppercase()))?;
                    // The names go back into the answer: only what a field name may hold (RFC 5322 §2.2).
                    if names.iter().any(|name| !name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"')) {
                        return Err(Bad("not a header field name"));
                    }
                    let label = format!("{name} ({})", names.join(" "));
                    (Section::Fields { names, not: name.ends_with(".NOT") }, label)
                }
                _ => return Err(Bad("this section is not supported")),
            };
            if !parser.take(b']') {
                return Err(Bad("a section does not end"));
            }
            (section, name)
        };
        let partial = if parser.take(b'<') {
            let offset = parser.number()?;
            let length = if parser.take(b'.') { parser.number()? } else { 0 };
            if length == 0 || !parser.take(b'>') {
                return Err(Bad("a partial is <offset.length>"));
            }
            Some((offset, length))
        } else {
            None
        };
        let origin = partial.map_or_else(String::new, |(offset, _)| format!("<{offset}>"));
        Ok(Self::Body { label: format!("BODY[{name}]{origin}"), peek, section, partial })
    }

    /// Whether telling it sets `\Seen`.
    pub fn marks_seen(&self) -> bool {
        matches!(self, Self::Body { peek: false, .. })
    }

    /// Its name and value.
    pub fn write(&self, message: &Message, out: &mut Vec<u8>) {
        match self {
            Self::Flags => out.extend_from_slice(format!("FLAGS ({})", message.flags).as_bytes()),
            Self::Uid => out.extend_from_slice(format!("UID {}", message.uid).as_bytes()),
            Self::Size => out.extend_from_slice(format!("RFC822.SIZE {}", message.content.len()).as_bytes()),
            Self::InternalDate => {
                let time = Timestamp::try_from(message.received).unwrap_or_default();
                out.extend_from_slice(format!("INTERNALDATE \"{}\"", time.strftime("%e-%b-%Y %T +0000")).as_bytes());
            }
            Self::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                envelope(&message.content, out);
            }
            Self::Body { label, section, partial, .. } => {
                out.extend_from_slice(label.as_bytes());
                out.push(b' ');
                let (header, text) = split(&message.content);
                match section {
                    Section::Whole => literal(cut(&message.content, *partial), out),
                    Section::Header => literal(cut(header, *partial), out),
                    Section::Text => literal(cut(text, *partial), out),
                    Section::Fields { names, not } => {
                        let chosen = fields(&message.content)
                            .filter(|field| names.iter().any(|name| field.is(name)) != *not)
                            .flat_map(|field| field.raw)
                            .chain(b"\r\n");
                        literal(cut(&chosen.copied().collect::<Vec<u8>>(), *partial), out);
                    }
                }
            }
        }
    }
}

fn cut(octets: &[u8], partial: Option<(u32, u32)>) -> &[u8] {
    let Some((offset, length)) = partial else { return octets };
    let (offset, length) = (usize::try_from(offset), usize::try_from(length));
    let rest = octets.get(offset.unwrap_or(usize::MAX)..).unwrap_or_default();
    rest.get(..length.unwrap_or(usize::MAX)).unwrap_or(rest)
}

fn literal(octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
    out.extend_from_slice(octets);
}

/// A string of whatever octets, or `NIL`.
pub fn nstring(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        None => out.extend_from_slice(b"NIL"),
        Some(text) if text.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic()) => {
            out.extend_from_slice(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).as_bytes());
        }
        Some(text) => literal(text.as_bytes(), out),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::demo::mailbox::Flags;

    const CONTENT: &[u8] = b"Received: x\r\n\tby y\r\nSubject: hello\r\nTo: a@b\r\n\r\nbody\r\n";

    fn told(items: &str) -> Result<String, Bad> {
        let message = Message {
            uid: 7,
            flags: Flags::SEEN,
            received: UNIX_EPOCH + Duration::from_secs(86_400 * 3),
            content: Bytes::from_static(CONTENT),
        };
        let mut parser = Parser::new(items.as_bytes());
        let items = Item::parse_all(&mut parser)?;
        parser.end()?;
        let mut out = Vec::new();
        for item in items {
            item.write(&message, &mut out);
            out.push(b'|');
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn rfc3501_6_4_5_items_and_their_answers() {
        let cases = [
            ("FLAGS", "FLAGS (\\Seen)|"),
            ("(UID rfc822.size)", "UID 7|RFC822.SIZE 53|"),
            ("FAST", "FLAGS (\\Seen)|INTERNALDATE \" 4-Jan-1970 00:00:00 +0000\"|RFC822.SIZE 53|"),
            ("BODY[TEXT]", "BODY[TEXT] {6}\r\nbody\r\n|"),
            ("BODY.PEEK[TEXT]<1.3>", "BODY[TEXT]<1> {3}\r\nody|"),
            ("BODY[TEXT]<0.100>", "BODY[TEXT]<0> {6}\r\nbody\r\n|"),
            ("BODY[]<100.5>", "BODY[]<100> {0}\r\n|"),
            ("RFC822.TEXT", "RFC822.TEXT {6}\r\nbody\r\n|"),
            (
                "BODY[HEADER.FIELDS (subject \"X-TUID\")]",
                "BODY[HEADER.FIELDS (SUBJECT X-TUID)] {18}\r\nSubject: hello\r\n\r\n|",
            ),
            (
                "BODY[HEADER.FIELDS.NOT (Received Subject)]",
                "BODY[HEADER.FIELDS.NOT (RECEIVED SUBJECT)] {11}\r\nTo: a@b\r\n\r\n|",
            ),
        ];
        for (items, expected) in cases {
            assert_eq!(told(items).as_deref(), Ok(expected), "{items}");
        }
        let whole = std::str::from_utf8(CONTENT).unwrap();
        assert_eq!(told("RFC822"), Ok(format!("RFC822 {{53}}\r\n{whole}|")));
        assert_eq!(told("BODY[]"), Ok(format!("BODY[] {{53}}\r\n{whole}|")));
        assert_eq!(told("BODY[HEADER]"), Ok(format!("BODY[HEADER] {{47}}\r\n{}|", &whole[..47])));
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for items in
            ["BODYSTRUCTURE", "BODY", "BODY[1]", "BODY[HEADER", "BODY[]<5>", "BODY[]<0.0>", "(FLAGS", "FLAGS UID"]
        {
            assert!(told(items).is_err(), "{items}");
        }
        assert_eq!(told("BODY[HEADER.FIELDS (\"a\\\"b\")]"), Err(Bad("not a header field name")));
    }

    #[test]
    fn only_reading_marks_as_seen() {
        for (items, expected) in [("BODY[]", true), ("BODY.PEEK[]", false), ("RFC822.HEADER", false), ("FLAGS", false)]
        {
            let items = Item::parse_all(&mut Parser::new(items.as_bytes())).unwrap();
            assert_eq!(items.iter().any(Item::marks_seen), expected, "{items:?}");
        }
    }
}
