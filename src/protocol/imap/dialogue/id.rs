//! The client's ID (RFC 2971). Answered by the gate until it is whole, since the backend sees it written anew.

use super::super::command::{Literal, LiteralKind};
use super::super::{Refusal, id, limits, reasons};
use super::client::further_line;
use super::{BeforeLogin, Pending, Turn};
use crate::protocol::{Event, Out, Verdict, Violation};

/// An ID command on its way to being whole.
pub(super) struct Id {
    tag: Box<[u8]>,
    arguments: Vec<u8>,
    /// Octets of a literal that come next, if one does.
    literal: Option<usize>,
}

impl Id {
    pub(super) fn new(tag: &[u8]) -> Self {
        Self { tag: tag.into(), arguments: Vec::new(), literal: None }
    }
}

impl BeforeLogin {
    /// More of the ID: a literal, or the line behind one.
    pub(super) fn id(&mut self, input: &[u8], out: &mut Out) -> Result<Verdict, Violation> {
        let Turn::Id(id) = &mut self.turn else { return Ok(Verdict::More) };
        if let Some(octets) = id.literal {
            let Some(value) = input.get(..octets) else { return Ok(Verdict::More) };
            id.arguments.extend_from_slice(value);
            id.literal = None;
            return Ok(Verdict::Drop(octets));
        }
        let Some((octets, text)) = further_line(input, limits::LINE)? else { return Ok(Verdict::More) };
        match self.scan.piece(text) {
            Ok(literal) => self.id_piece(octets, text, literal, out),
            Err(malformed) => self.refuse_id(octets, text, malformed.into(), out),
        }
    }

    /// A piece of it, up to a literal or to the end.
    pub(super) fn id_piece(
        &mut self,
        octets: usize,
        text: &[u8],
        literal: Option<Literal>,
        out: &mut Out,
    ) -> Result<Verdict, Violation> {
        let Turn::Id(id) = &mut self.turn else { return Ok(Verdict::More) };
        id.arguments.extend_from_slice(text);
        if let Some(literal) = literal {
            if id.arguments.len().saturating_add(literal.octets) > limits::LINE {
                return self.refuse_id(octets, text, reasons::LARGE_LITERAL, out);
            }
            id.arguments.extend_from_slice(b"\r\n");
            id.literal = (literal.octets > 0).then_some(literal.octets);
            if literal.kind == LiteralKind::Synchronising {
                out.to_client.extend_from_slice(b"+ Ready for the literal\r\n");
            }
            return Ok(Verdict::Drop(octets));
        }
        match id::without_private_fields(&id.arguments).filter(|safe| safe.len() < limits::LINE) {
            Some(safe) => {
                let tag = std::mem::take(&mut id.tag);
                for part in [&tag, &b" ID "[..], &safe, b"\r\n"] {
                    out.to_backend.extend_from_slice(part);
                }
                self.pending.push_back(Pending { tag, name: "id" });
                self.turn = Turn::Command;
                Ok(Verdict::Drop(octets))
            }
            None => self.refuse_id(octets, text, reasons::ID_LIST, out),
        }
    }

    fn refuse_id(&mut self, octets: usize, line: &[u8], refusal: Refusal, out: &mut Out) -> Result<Verdict, Violation> {
        out.events.push(Event::Command { name: "id", ok: false });
        let tag = if let Turn::Id(id) = &mut self.turn { Some(std::mem::take(&mut id.tag)) } else { None };
        self.refuse(octets, line, tag.as_deref(), refusal, out)
    }
}
