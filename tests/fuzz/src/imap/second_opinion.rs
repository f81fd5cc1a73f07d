//! Another parser's view of the commands: where they end, and what they are.

use imap_codec::CommandCodec;
use imap_codec::decode::{CommandDecodeError, Decoder};
use imap_codec::imap_types::command::CommandBody;

use super::view::{Command, Item};

/// A line that we take for a whole command without a literal, counted as `name`.
pub(super) fn line(line: &[u8], name: &str) {
    if let Ok((rest, command)) = CommandCodec::new().decode(line) {
        assert!(rest.is_empty(), "{line:?} is more than one command for another parser");
        let theirs = command.name().to_ascii_lowercase();
        assert!(name == "unknown" || theirs == name, "{line:?} is {theirs} for another parser");
    }
}

/// A whole command at its place in all that was said: wherever `imap-codec` understands it, it ends there and is the same.
pub(super) fn command(said: &[u8], command: &Command) {
    let (Some(first), Some(last)) =
        (command.items.first(), command.items.iter().rfind(|item| !matches!(item, Item::Response(_))))
    else {
        return;
    };
    let at = first.at().start..last.at().end;
    let shown = || String::from_utf8_lossy(&said[at.clone()]).into_owned();
    match CommandCodec::new().decode(&said[at.start..]) {
        Ok((rest, theirs)) => {
            assert_eq!(said.len() - rest.len(), at.end, "{:?} ends elsewhere for another parser", shown());
            assert_eq!(theirs.tag.inner().as_bytes(), command.tag, "{:?} has another tag for another parser", shown());
            assert_eq!(theirs.name().to_ascii_uppercase(), command.verb, "{:?} is another command", shown());
            if let CommandBody::Id { parameters: Some(fields) } = theirs.body {
                let private = fields.iter().find(|(field, _)| field.as_ref().to_ascii_lowercase().starts_with(b"x-"));
                assert!(private.is_none(), "{private:?} went on");
            }
        }
        Err(CommandDecodeError::LiteralFound { length, .. }) => {
            panic!("{:?}: another parser waits for {length} octets", shown());
        }
        Err(CommandDecodeError::Incomplete | CommandDecodeError::Failed) => {}
    }
}
