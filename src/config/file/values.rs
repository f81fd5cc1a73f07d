//! The kinds of value that a key may have.

mod text;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use toml::Spanned;
use toml::de::DeValue;

use self::text::Text;
pub(super) use self::text::{AskClients, Hostname};
use super::reader::{Place, kind};
use crate::config::{BackendAddr, User};

/// Something that a key's value can be read as.
pub(super) trait Value: Sized {
    /// The value; `None` after its mistakes were noted.
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self>;
}

impl<T: Text> Value for T {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return expected("a string", value, place, &T::advice());
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(wrong) => place.wrong(value.span(), &wrong.what, &wrong.advice.unwrap_or_else(T::advice)),
        }
    }
}

fn expected<T>(what: &str, found: &Spanned<DeValue<'_>>, place: Place<'_>, advice: &str) -> Option<T> {
    place.wrong(found.span(), &format!("expected {what}, found {}", kind(found.get_ref())), advice)
}

impl<T: Value> Value for Spanned<T> {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        Some(Self::new(value.span(), T::read(value, place)?))
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        let Some(items) = value.get_ref().as_array() else {
            return expected("a list", value, place, "put it in brackets, [\"…\", \"…\"]");
        };
        // Every element is read, so that every mistake is noted.
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, place)).collect();
        read.into_iter().collect()
    }
}

impl Value for bool {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| expected("true or false", value, place, "write it without quotes"))
    }
}

impl Value for NonZeroU32 {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        let Some(number) = value.get_ref().as_integer() else {
            return expected("a number", value, place, "write a whole number of at least 1, without quotes");
        };
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok().and_then(Self::new);
        parsed.or_else(|| {
            let what = format!("{number} is out of range");
            place.wrong(value.span(), &what, &format!("write a whole number from 1 to {}", u32::MAX))
        })
    }
}

/// A number of which 0 means that there is no limit.
pub(super) struct Most(pub(super) Option<NonZeroU32>);

impl Most {
    pub(super) const fn new(number: u32) -> Self {
        Self(NonZeroU32::new(number))
    }
}

impl Value for Most {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        const ADVICE: &str = "write a whole number without quotes, 0 for no limit";
        let Some(number) = value.get_ref().as_integer() else {
            return expected("a number", value, place, ADVICE);
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(Self::new(number)),
            Err(_) => place.wrong(value.span(), &format!("{number} is out of range"), ADVICE),
        }
    }
}

impl Value for NonZeroUsize {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        let number = NonZeroU32::read(value, place)?;
        Self::try_from(number).ok()
    }
}

/// How many threads serve sessions.
pub(super) struct Workers(pub(super) Option<NonZeroUsize>);

impl Value for Workers {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        const ADVICE: &str = "write a number from 1 to 1024, or \"cores\" for one thread a core";
        match value.get_ref() {
            DeValue::String(text) if text == "cores" => Some(Self(None)),
            DeValue::Integer(_) => {
                let number = NonZeroUsize::read(value, place)?;
                let most = NonZeroUsize::MIN.saturating_add(1023);
                if number > most {
                    place.wrong(value.span(), "too many threads", ADVICE)
                } else {
                    Some(Self(Some(number)))
                }
            }
            _ => place.wrong(value.span(), "expected a number or \"cores\"", ADVICE),
        }
    }
}

/// The longest name of an account (useradd(8)).
const LONGEST_NAME: usize = 32;

impl Value for User {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        const ADVICE: &str = "write the name of an account without rights of its own, such as \"sealgate\"";
        let user = match value.get_ref() {
            DeValue::Integer(_) => Self::Id(NonZeroU32::read(value, place)?.get()),
            DeValue::String(text) => match text.parse() {
                Ok(uid) => Self::Id(uid),
                Err(_) => Self::Name(text.to_string()),
            },
            _ => return expected("the name of an account", value, place, ADVICE),
        };
        match &user {
            Self::Id(0) => place.wrong(value.span(), "0 is root", ADVICE),
            Self::Name(name) if name == "root" => place.wrong(value.span(), "root has all rights there are", ADVICE),
            // What useradd(8) takes, and directories of other kinds.
            Self::Name(name)
                if !(1..=LONGEST_NAME).contains(&name.len())
                    || name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/')) =>
            {
                place.wrong(value.span(), &format!("\"{name}\" is not the name of an account"), ADVICE)
            }
            _ => Some(user),
        }
    }
}

/// Whom to ask for names; empty for the system's own resolvers.
pub(super) struct Resolvers(pub(super) Vec<SocketAddr>);

impl Value for Resolvers {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        const ADVICE: &str = "write \"system\", or a list of servers such as [\"127.0.0.1:53\"]";
        match value.get_ref() {
            DeValue::String(text) if text == "system" => Some(Self(Vec::new())),
            DeValue::Array(items) if !items.is_empty() => Vec::read(value, place).map(Self),
            _ => place.wrong(value.span(), "expected \"system\" or a list of addresses", ADVICE),
        }
    }
}

/// Where the plaintext goes: one place, or several in the order in which they are tried.
pub(super) struct Backends(pub(super) Vec<Spanned<BackendAddr>>);

impl Value for Backends {
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(_) => Vec::read(value, place).map(Self),
            _ => Spanned::read(value, place).map(|only| Self(vec![only])),
        }
    }
}
