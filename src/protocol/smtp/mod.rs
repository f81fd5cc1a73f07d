//! SMTP (RFC 5321) and message submission (RFC 6409).

pub mod reply;

use bytes::Bytes;

use super::{Context, Dialogue, Farewell, Opening, Preamble, Protocol};

/// The protocol behind `smtp`, `submission` and `submissions`.
pub struct Smtp;

impl Protocol for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
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
