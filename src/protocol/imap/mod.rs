//! IMAP (RFC 3501, RFC 9051).

use bytes::Bytes;

use super::{Context, Dialogue, Farewell, Opening, Preamble, Protocol};

/// The protocol behind `imap` and `imaps`.
pub struct Imap;

impl Protocol for Imap {
    fn name(&self) -> &'static str {
        "imap"
    }

    fn preamble(&self, _context: &Context) -> Box<dyn Preamble> {
        unimplemented!()
    }

    fn dialogue(&self, _context: &Context, _opening: Option<Opening>) -> Box<dyn Dialogue> {
        unimplemented!()
    }

    fn farewell(&self, _hostname: &str, _why: Farewell) -> Bytes {
        unimplemented!()
    }
}
