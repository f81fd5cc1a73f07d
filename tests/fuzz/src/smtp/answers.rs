//! Every question has its answer, in its place, and from whom it concerns.

use super::Story;
use super::view::{Item, Reply, split};
use crate::seen::End;

impl Story<'_> {
    /// `pairs` tells which of the client's items are the backend's to answer.
    pub(super) fn answers(&self, pairs: &[Option<usize>]) {
        let over = !matches!(self.driver.seen.end, End::Open(_));
        let (items, replies) = (&self.client.items, &self.client.replies);
        for (place, reply) in replies.iter().enumerate() {
            let octets = String::from_utf8_lossy(&reply.octets);
            let Some((item, pair)) = items.get(place).zip(pairs.get(place)) else {
                // The gate's last words, or the backend's, to what it was not asked.
                let bye = reply.code == 221 && self.driver.seen.cut;
                assert!(over && (reply.code >= 400 || bye), "{octets:?} answers nothing");
                assert!(place < items.len() + 2, "{octets:?} is one too many");
                continue;
            };
            match pair.map(|theirs| self.backend.replies.get(theirs)) {
                Some(Some(theirs)) => self.same_answer(item, reply, theirs),
                Some(None) => assert!(over && reply.code >= 400, "{octets:?} is not the backend's"),
                None => assert!(reply.code >= 400, "{octets:?} is for what never went on"),
            }
        }
        if let (false, Some(item), Some(pair)) = (over, items.get(replies.len()), pairs.get(replies.len())) {
            let theirs = pair.and_then(|theirs| self.backend.replies.get(theirs));
            assert!(pair.is_some() && theirs.is_none(), "{item:?} has no answer, and the backend said {theirs:?}");
        }
        let extra = self.backend.replies.len().saturating_sub(self.backend.items.len());
        assert!(extra == 0 || (extra == 1 && over), "{extra} replies were taken that nobody asked for");
    }

    fn same_answer(&self, item: &Item, ours: &Reply, theirs: &Reply) {
        let ehlo = matches!(item, Item::Line { at, sasl: false } if split(self.said(at)).0 == "EHLO");
        if !ehlo || theirs.code / 100 != 2 {
            assert_eq!(String::from_utf8_lossy(&ours.octets), String::from_utf8_lossy(&theirs.octets), "out of order");
            return;
        }
        // A list of extensions loses some; what is left is the backend's.
        let lines = |reply: &Reply| -> Vec<Vec<u8>> {
            let lines = reply.octets.split_inclusive(|octet| *octet == b'\n');
            lines.map(|line| line.get(4..).unwrap_or_default().trim_ascii_end().to_vec()).collect()
        };
        let announced = lines(theirs);
        for line in lines(ours).iter().skip(1) {
            let keyword = line.split(|octet| matches!(octet, b' ' | b'=')).next().unwrap_or_default();
            let keyword = String::from_utf8_lossy(keyword).to_ascii_uppercase();
            let hidden = ["STARTTLS", "XCLIENT", "XFORWARD", "BINARYMIME", "BURL", "TURN", "ATRN"];
            assert!(!hidden.contains(&keyword.as_str()), "{keyword} was announced");
            if keyword == "AUTH" {
                assert!(self.terms.auth, "AUTH was announced");
                let plus =
                    line.split(u8::is_ascii_whitespace).any(|name| name.to_ascii_uppercase().ends_with(b"-PLUS"));
                assert!(!plus, "a mechanism was announced that binds to the channel");
            } else {
                assert!(announced.contains(line), "{keyword} is not the backend's");
            }
        }
    }
}
