//! Another parser's view of the commands: where they end, and what they are.

use smtp_proto::Request;

use super::view::{Item, View, is_proper, split};

/// Wherever `smtp-proto` understands a command, it must end where ours does and be the same.
///
/// Known and judged differences: `smtp-proto` ends a line at a bare LF, skips white space in front of a command, and looks for the
/// path of MAIL and RCPT beyond the end of the line. The gate refuses the first two, and the third ends where RFC 5321 §4.1.1
/// has it; so only proper lines are compared that begin with a word and have a path where one is due.
pub(super) fn agrees(said: &[u8], client: &View) {
    for item in &client.items {
        let (at, chunk) = match item {
            Item::Line { at, sasl: false } => (at, None),
            Item::Chunk { line, size, last, .. } => (line, Some((*size, *last))),
            _ => continue,
        };
        let line = &said[at.clone()];
        if let Some(theirs) = is_proper(line).then(|| compare(line, &said[at.start..])).flatten() {
            assert_eq!(chunk, theirs, "{:?}", String::from_utf8_lossy(line));
        }
    }
}

/// `line` is what we take for a command, `rest` begins with it. If the other parser understands it: the chunk that it announces.
pub(super) fn compare(line: &[u8], rest: &[u8]) -> Option<Option<(u64, bool)>> {
    let needs_a_path = matches!(split(line).0.as_str(), "MAIL" | "RCPT");
    if line.first().is_none_or(u8::is_ascii_whitespace) || (needs_a_path && !line.contains(&b'>')) {
        return None;
    }
    let mut octets = rest.iter();
    let request = Request::parse(&mut octets).ok()?;
    let used = rest.len() - octets.as_slice().len();
    let shown = String::from_utf8_lossy(line);
    assert_eq!(used, line.len(), "{shown:?} ends elsewhere for another parser");
    assert_eq!(request.name(), split(line).0, "{shown:?} is another command for another parser");
    match request {
        Request::Bdat { chunk_size, is_last } => Some(Some((chunk_size as u64, is_last))),
        _ => Some(None),
    }
}
