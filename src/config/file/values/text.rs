//! Values that are written as a string.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::file::reader::nearest;
use crate::config::{BackendAddr, ClientIdentity, LogFormat, LogProgram, LogTarget, Policy};
use crate::facts::canonical;
use crate::protocol::{BareNewline, SERVICES, Service};

/// Something that is written as a string.
pub(super) trait Text: Sized {
    /// What to write, for messages.
    fn advice() -> String;

    /// The value, or what is wrong with the text and, where it is more to the point than [`Text::advice`], what to do.
    fn parse(text: &str) -> Result<Self, Wrong>;
}

/// What is wrong with a string.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) advice: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// A DNS name, as RFC 5321 §2.3.5 asks for in greetings.
pub(in crate::config::file) struct Hostname(pub(in crate::config::file) Arc<str>);

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
pub(in crate::config::file) enum AskClients {
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
