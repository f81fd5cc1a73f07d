//! What a log may see of a conversation.

use sealgate::protocol::Event;

use super::view::{Item, View, split};
use crate::driver::Driver;
use crate::fixtures::{CANARY, holds, printable, sasl_name};

/// The canary is a password: no event holds it, unless it was a name as well.
pub(super) fn are_kept(driver: &Driver, client: &View) {
    driver.seen.events.iter().for_each(printable);
    let is_a_name = |event: &Event| matches!(event, Event::Helo(_)) && holds(&driver.client_said, CANARY);
    let noted = driver.seen.events.iter().filter(|event| !is_a_name(event)).any(|event| {
        let text = format!("{event:?}");
        holds(text.as_bytes(), CANARY)
    });
    assert!(!noted || names(&driver.client_said, client).any(|name| holds(&name, CANARY)), "a password is in an event");
}

/// What logins call themselves, as far as it could be: the first response, without the part that is the password.
fn names<'a>(said: &'a [u8], client: &'a View) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mut mechanism = Vec::new();
    let mut responded = false;
    client.items.iter().filter_map(move |item| {
        let Item::Line { at, sasl } = item else { return None };
        let line = &said[at.clone()];
        let (word, argument) = split(line);
        let response = if *sasl {
            line.trim_ascii().to_vec()
        } else if word == "AUTH" {
            let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
            responded = false;
            if holds(&mechanism, &CANARY.to_ascii_uppercase()) {
                return Some(CANARY.to_vec());
            }
            words.next()?.to_vec()
        } else {
            return None;
        };
        if std::mem::replace(&mut responded, true) {
            return None;
        }
        Some(sasl_name(&mechanism, &response))
    })
}
