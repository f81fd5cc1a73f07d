//! What a log may see of a conversation.

use sealgate::protocol::Event;

use super::view::{Item, View};
use crate::driver::Driver;
use crate::fixtures::{CANARY, holds, printable, sasl_name};

/// The canary is a password: no event holds it, unless it was a name as well.
pub(super) fn are_kept(driver: &Driver, client: &View) {
    driver.seen.events.iter().for_each(printable);
    // What the backend's greeting announces is in no log, and was said before the client's first octet could reach it.
    let mut logged = driver.seen.events.iter().filter(|event| !matches!(event, Event::Learned(_)));
    let noted = logged.any(|event| holds(format!("{event:?}").as_bytes(), CANARY));
    assert!(!noted || has_a_name(&driver.client_said, client), "a password is in an event: {:?}", driver.seen.events);
}

/// Whether a login calls itself by it: LOGIN's first argument, AUTHENTICATE's mechanism or first response.
fn has_a_name(said: &[u8], client: &View) -> bool {
    client.commands.iter().any(|command| {
        let mut parts = command.items.iter().map(|item| (item, &said[item.at().clone()]));
        let Some((_, line)) = parts.next() else { return false };
        let words: Vec<&[u8]> = line.trim_ascii_end().splitn(3, |octet| *octet == b' ').collect();
        let arguments = words.get(2).copied().unwrap_or_default();
        match command.verb.as_str() {
            "LOGIN" if arguments.starts_with(b"{") => {
                parts.find(|(item, _)| matches!(item, Item::Literal(..))).is_some_and(|(_, name)| holds(name, CANARY))
            }
            "LOGIN" => holds(&first_argument(arguments.trim_ascii_start()), CANARY),
            "AUTHENTICATE" => {
                let mut words = arguments.split(|octet| *octet == b' ');
                let mechanism = words.next().unwrap_or_default();
                let first = words.next().map(<[u8]>::to_vec).or_else(|| {
                    let response = parts.find(|(item, _)| matches!(item, Item::Response(_)));
                    response.map(|(_, line)| line.trim_ascii_end().to_vec())
                });
                let name = first.map(|first| sasl_name(mechanism, &first)).unwrap_or_default();
                holds(&name, CANARY) || holds(&mechanism.to_ascii_uppercase(), &CANARY.to_ascii_uppercase())
            }
            _ => false,
        }
    })
}

/// An atom or a quoted string, as it is written; nothing where it stands alone, for then it may be the password.
fn first_argument(arguments: &[u8]) -> Vec<u8> {
    let mut octets = arguments.iter().copied();
    let mut value = Vec::new();
    if arguments.starts_with(b"\"") {
        octets.next();
        while let Some(octet) = octets.next() {
            match octet {
                b'"' => break,
                b'\\' => value.extend(octets.next()),
                plain => value.push(plain),
            }
        }
    } else {
        value.extend(octets.by_ref().take_while(|octet| *octet != b' '));
    }
    if octets.any(|octet| !octet.is_ascii_whitespace()) { value } else { Vec::new() }
}
