//! What the backend got is what the client said, unit for unit.

use super::view::{self, Item};
use super::{Story, content};

/// What the gate may not let pass to a backend, whoever says it.
const NEVER: [&str; 10] =
    ["XCLIENT", "XFORWARD", "PROXY", "BURL", "TURN", "ATRN", "XEXCH50", "X-EXPS", "X-ANONYMOUSTLS", "STARTTLS"];

/// Where an old Postfix cuts a line and takes the rest for the next command.
const CUT_BY_POSTFIX: usize = 2048;

impl Story<'_> {
    /// For each of the client's items the one of the backend's that it became, if any.
    pub(super) fn pairs(&self) -> Vec<Option<usize>> {
        let mut next = usize::from(self.terms.replayed && !self.backend.items.is_empty());
        let mut pairs = Vec::new();
        for item in &self.client.items {
            let theirs = self.backend.items.get(next);
            let went_on = match item {
                Item::Content { .. } => {
                    // Cut off in the middle: `answers` sees to it that the client was told so.
                    let rejected = theirs.is_none() && self.terms.rejects && self.driver.seen.cut;
                    !rejected
                }
                Item::Line { .. } | Item::Chunk { .. } => {
                    self.forwarded.iter().any(|range| range.contains(&item.start()))
                }
            };
            if !went_on {
                pairs.push(None);
                continue;
            }
            let theirs = theirs.unwrap_or_else(|| panic!("{:?} never arrived", self.shown(item)));
            self.same(item, theirs);
            pairs.push(Some(next));
            next += 1;
        }
        if let Some(item) = self.backend.items.get(next) {
            panic!("the backend reads {:?}, which the client never said", self.received(item));
        }
        let unread = &self.driver.seen.to_backend[self.backend.at..];
        assert!(!self.backend.waits() || unread.is_empty(), "{unread:?} before the answer");
        assert!(self.backend.is_inside() || unread.is_empty(), "half a line: {unread:?}");
        if self.backend.is_inside() && !self.client.is_inside() {
            assert!(
                self.terms.rejects && self.driver.seen.cut,
                "the backend waits for more content than the client has"
            );
        }
        pairs
    }

    fn shown(&self, item: &Item) -> String {
        let (Item::Line { at, .. } | Item::Chunk { line: at, .. } | Item::Content { at }) = item;
        String::from_utf8_lossy(self.said(at)).into_owned()
    }

    fn received(&self, item: &Item) -> String {
        let (Item::Line { at, .. } | Item::Chunk { line: at, .. } | Item::Content { at }) = item;
        String::from_utf8_lossy(self.got(at)).into_owned()
    }

    fn same(&self, ours: &Item, theirs: &Item) {
        match (ours, theirs) {
            (Item::Line { at: said, sasl }, Item::Line { at: got, sasl: theirs }) => {
                let (said, got) = (self.said(said), self.got(got));
                assert_eq!(sasl, theirs, "{got:?} is read as something else");
                // RFC 4954 §4: what was no response is cancelled for the client.
                let controls = said.iter().filter(|octet| octet.is_ascii_control()).count() > 2;
                let strange = controls || said.len() > CUT_BY_POSTFIX || !self.is_plain(said);
                let cancelled = *sasl && got == b"*\r\n" && strange;
                assert!(said == got || cancelled, "{said:?} became {got:?}");
                self.line(got, *sasl);
            }
            (Item::Chunk { octets, size, last, .. }, Item::Chunk { octets: got, size: larger, last: theirs, .. }) => {
                assert_eq!(last, theirs, "another last chunk");
                let field = larger.checked_sub(*size).unwrap_or_else(|| panic!("a chunk of {size} became {larger}"));
                let (said, got) = (self.said(octets), self.got(got));
                let (field, chunk) = got.split_at(usize::try_from(field).map_or(got.len(), |len| len.min(got.len())));
                let folds = said.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
                assert!(field.is_empty() || content::is_field(field, folds), "{field:?} was added to a chunk");
                assert_eq!(chunk, said, "another chunk");
            }
            (Item::Content { at: said }, Item::Content { at: got }) => {
                content::same(self.said(said), self.got(got), self.terms.rejects);
            }
            (ours, theirs) => panic!("{:?} is read as {:?}", self.shown(ours), self.received(theirs)),
        }
    }

    /// CRLF at its end, and neither elsewhere; in one piece also for a backend that cuts long lines.
    fn is_plain(&self, line: &[u8]) -> bool {
        let text = line.strip_suffix(b"\r\n");
        text.is_some_and(|text| {
            let behind = text.get(CUT_BY_POSTFIX..).unwrap_or_default();
            !text.contains(&b'\r')
                && behind.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'='))
        })
    }

    /// A line that went to the backend.
    fn line(&self, line: &[u8], sasl: bool) {
        assert!(self.is_plain(line), "{line:?} went on");
        if sasl {
            return;
        }
        let text = &line[..line.len() - 2];
        assert!(!text.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t'), "{line:?} went on");
        let (word, argument) = view::split(line);
        assert!(text.first().is_some_and(|octet| !octet.is_ascii_whitespace()), "{line:?} went on");
        assert!(!NEVER.contains(&word.as_str()), "{line:?} went on");
        assert!(word != "AUTH" || self.terms.auth, "{line:?} went on");
        let parameters = || argument.rsplit(|octet| *octet == b'>').next().unwrap_or_default();
        let binary = || parameters().split(u8::is_ascii_whitespace).any(|p| p.eq_ignore_ascii_case(b"BODY=BINARYMIME"));
        assert!(word != "MAIL" || !binary(), "{line:?} went on");
    }
}
