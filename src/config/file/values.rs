//! The kinds of value that a key may have.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Place, kind, nearest};
use crate::config::{BackendAddr, ClientIdentity, LogFormat, LogProgram, LogTarget, Policy, User};
use crate::facts::canonical;
use crate::protocol::{BareNewline, SERVICES, Service};

/// Something that a key's value can be read as.
pub(super) trait Value: Sized {
    /// The value; `None` after its mistakes were noted.
    fn read(value: &Spanned<DeValue<'_>>, place: Place<'_>) -> Option<Self>;
}

/// Something that is written as a string.
pub(super) trait Text: Sized {
    /// What to write, for messages.
    fn advice() -> String;

    /// The value, or what is wrong with the text and, where it is more to the point than [`Text::advice`], what to do.
    fn parse(text: &str) -> Result<Self, Wrong>;
}

/// What is wrong with a string.
pub(super) struct Wrong {
    what: String,
    advice: Option<String>,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
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

/// A DNS name, as RFC 5321 §2.3.5 asks for in greetings.
pub(super) struct Hostname(pub(super) Arc<str>);

impl Text for Hostname {
    fn advice() -> String {
        "write the public name of this mail server, such as \"mail.example.com\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(Wrong::new(format!("\"{text}\" is an address, not a name")));
        }
        if !text.is_ascii() {
            return Err(Wrong::new(format!("\"{text}\" is not a DNS name"))
                .advise("write an internationalised name in its ASCII form, which begins with xn--"));
        }
        if let Some(stripped) = text.strip_suffix('.') {
            return Err(Wrong::new("mail names have no dot at the end").advise(format!("write \"{stripped}\"")));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(Wrong::new(format!("\"{text}\" is not a DNS name")));
        }
        Ok(Self(text.into()))
    }
}

impl Text for Duration {
    fn advice() -> String {
        "write a number and its unit: \"500ms\", \"30s\", \"5m\", \"1h\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        // Longer ones mean a slip, and could not be added to a clock without care.
        const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(unit_at).unwrap_or((text, ""));
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if !number.is_empty() => return Err(Wrong::new(format!("\"{text}\" has no unit"))),
            _ => return Err(Wrong::new(format!("\"{text}\" is not a duration"))),
        };
        if number.is_empty() {
            return Err(Wrong::new(format!("\"{text}\" is not a duration")));
        }
        let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
        match duration.map(Duration::from_millis) {
            Some(Duration::ZERO) => Err(Wrong::new("a duration of zero would end everything at once")),
            Some(duration) if duration <= LONGEST => Ok(duration),
            _ => Err(Wrong::new(format!("\"{text}\" is too long")).advise("write at most \"720h\", thirty days")),
        }
    }
}

impl Text for SocketAddr {
    fn advice() -> String {
        "write an IP address and a port: \"127.0.0.1:10025\", \"[::1]:10025\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(canonical(address));
        }
        Err(match (text.parse(), text.rsplit_once(':')) {
            (Ok(std::net::IpAddr::V4(_)), _) => Wrong::new(format!("\"{text}\" has no port")),
            (Ok(std::net::IpAddr::V6(_)), _) => Wrong::new(format!("\"{text}\" has no port, or lacks its brackets")),
            (Err(_), Some((host, port))) if port.parse::<u16>().is_ok() && !host.contains(['[', ':']) => {
                Wrong::new(format!("\"{host}\" is not an IP address"))
            }
            _ => Wrong::new(format!("\"{text}\" is not an address and port")),
        })
    }
}

impl Text for BackendAddr {
    fn advice() -> String {
        "write an IP address and a port, \"127.0.0.1:10025\", or a Unix socket, \"unix:/run/backend/smtp\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return match path.is_absolute() {
                true => Ok(Self::Unix(path.to_owned())),
                false => Err(Wrong::new(format!("\"{text}\" is not an absolute path"))),
            };
        }
        if Path::new(text).is_absolute() {
            return Err(Wrong::new("a path alone is not a backend").advise(format!("write \"unix:{text}\"")));
        }
        let address = SocketAddr::parse(text)?;
        if address.ip().is_unspecified() || address.port() == 0 {
            return Err(Wrong::new(format!("nothing can be reached at {address}")));
        }
        Ok(Self::Tcp(address))
    }
}

impl Text for IpNet {
    fn advice() -> String {
        "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or a single address".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(address.to_canonical().into());
        }
        text.parse::<IpNet>()
            .map(|network| network.trunc())
            .map_err(|_| Wrong::new(format!("\"{text}\" is not a network")))
    }
}

impl Text for PathBuf {
    fn advice() -> String {
        "write the file's path".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains('\0') { Err(Wrong::new("this is not a path")) } else { Ok(text.into()) }
    }
}

impl Text for LogTarget {
    fn advice() -> String {
        "write \"stderr\", \"journal\", or the absolute path of a file".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "stderr" => Ok(Self::Stderr),
            "journal" => Ok(Self::Journal),
            path if Path::new(path).is_absolute() && !path.contains('\0') => Ok(Self::File(path.into())),
            other => Err(Wrong::new(format!("the log cannot go to \"{other}\""))),
        }
    }
}

/// One of a few words.
trait Choice: Copy + 'static {
    fn choices() -> impl Iterator<Item = (&'static str, Self)> + Clone;
}

impl<T: Choice> Text for T {
    fn advice() -> String {
        let words: Vec<String> = T::choices().map(|(word, _)| format!("\"{word}\"")).collect();
        match words.split_last() {
            Some((last, [])) => format!("write {last}"),
            Some((last, others)) => format!("write {} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some((_, value)) = T::choices().find(|(word, _)| *word == text) {
            return Ok(value);
        }
        let wrong = Wrong::new(format!("\"{text}\" is not known"));
        Err(match nearest(text, T::choices().map(|(word, _)| word)) {
            Some(near) => wrong.advise(format!("did you mean \"{near}\"? Otherwise {}", T::advice())),
            None => wrong,
        })
    }
}

macro_rules! choice {
    ($type:ty, $($word:literal => $value:expr),+ $(,)?) => {
        impl Choice for $type {
            fn choices() -> impl Iterator<Item = (&'static str, Self)> + Clone {
                [$(($word, $value)),+].into_iter()
            }
        }
    };
}

choice!(Policy, "intermediate" => Self::Intermediate, "modern" => Self::Modern);
choice!(LogFormat, "text" => Self::Text, "json" => Self::Json, "postfix" => Self::Postfix);
choice!(LogProgram, "sealgate" => Self::Sealgate, "postfix" => Self::Postfix);
choice!(BareNewline, "normalize" => Self::Normalize, "reject" => Self::Reject);
choice!(AskClients, "none" => Self::None, "request" => Self::Request, "require" => Self::Require);

/// Whether clients are asked for a certificate, before the authority's file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskClients {
    None,
    Request,
    Require,
}

impl Choice for ClientIdentity {
    fn choices() -> impl Iterator<Item = (&'static str, Self)> + Clone {
        Self::ALL.iter().copied()
    }
}

impl Choice for &'static Service {
    fn choices() -> impl Iterator<Item = (&'static str, Self)> + Clone {
        SERVICES.iter().map(|service| (service.name, service))
    }
}
