//! What is measured: every case, and who can take part in it.

use crate::floor;
use crate::identity::Key;
use crate::load::tls::{Settings, Version};
use crate::results::Unit;
use crate::subjects::{Door, SEALGATE, Skill, Subject};

/// What is done to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Handshake(Door),
    Resumed(Door),
    Mail { door: Door, mails: usize },
    Upload,
    Download,
    Ping,
    Idle(Door),
    Growth,
    Hybrid,
}

/// Some work under some conditions; it yields one or more cases.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Stable.
    pub id: String,
    pub work: Work,
    pub settings: Settings,
    /// If it is about their number.
    pub workers: Option<usize>,
}

/// What a case is called.
#[derive(Debug, Clone)]
pub struct Head {
    pub id: String,
    pub title: String,
    pub operation: &'static str,
    pub unit: Unit,
    pub target: Option<f64>,
}

/// All plans in the order of the report.
pub fn all() -> Vec<Plan> {
    let usual = Settings::USUAL;
    let rsa = Settings { key: Key::Rsa2048, ..usual };
    let older = Settings { version: Version::Tls12, ..usual };
    let older_rsa = Settings { version: Version::Tls12, ..rsa };
    let mut plans = Vec::new();
    let mut add = |id: &str, work, settings, workers| {
        plans.push(Plan { id: id.to_owned(), work, settings, workers });
    };
    for (name, settings) in
        [("tls13-ecdsa", usual), ("tls13-rsa", rsa), ("tls12-ecdsa", older), ("tls12-rsa", older_rsa)]
    {
        for door in [Door::Imaps, Door::Imap, Door::Smtp] {
            add(&format!("handshake-{}-{name}", door.well_known()), Work::Handshake(door), settings, None);
        }
    }
    add("resumed-993", Work::Resumed(Door::Imaps), usual, None);
    for door in [Door::Smtp, Door::Submissions] {
        add(&format!("mail-{}", door.well_known()), Work::Mail { door, mails: 1 }, usual, None);
    }
    add("mails50-465", Work::Mail { door: Door::Submissions, mails: 50 }, usual, None);
    add("upload-465", Work::Upload, usual, None);
    add("download-993", Work::Download, usual, None);
    add("ping-993", Work::Ping, usual, None);
    add("idle-993", Work::Idle(Door::Imaps), usual, None);
    add("idle-465", Work::Idle(Door::Submissions), usual, None);
    add("hybrid-993", Work::Hybrid, usual, None);
    add("growth-2cores", Work::Growth, usual, Some(2));
    add("growth-1core", Work::Growth, usual, Some(1));
    plans
}

impl Plan {
    /// Where the work is done.
    pub fn door(&self) -> Door {
        match self.work {
            Work::Handshake(door) | Work::Resumed(door) | Work::Mail { door, .. } | Work::Idle(door) => door,
            Work::Upload => Door::Submissions,
            Work::Download | Work::Ping | Work::Growth | Work::Hybrid => Door::Imaps,
        }
    }

    /// Whether a subject can take part.
    pub fn suits(&self, subject: &Subject) -> bool {
        let skill = match self.work {
            Work::Handshake(_) => None,
            Work::Resumed(_) => Some(Skill::Resume),
            Work::Ping => Some(Skill::Noop),
            Work::Hybrid => return subject.name == SEALGATE,
            _ => Some(Skill::Proxy),
        };
        let about_tls = matches!(self.work, Work::Resumed(_) | Work::Growth) || self.settings != Settings::USUAL;
        subject.program.doors().contains(&self.door())
            && skill.is_none_or(|skill| subject.program.skills().contains(&skill))
            && (subject.program.tls() || !about_tls)
    }

    /// The cryptography in it, if that is all that TLS must do.
    pub fn cryptography(&self) -> Option<floor::Work> {
        let signature = match self.settings.key {
            Key::EcdsaP256 => floor::Signature::EcdsaP256,
            Key::Rsa2048 => floor::Signature::Rsa2048,
        };
        match self.work {
            Work::Handshake(_) => Some(floor::Work::FullHandshake(signature, floor::Exchange::X25519)),
            Work::Hybrid => Some(floor::Work::FullHandshake(signature, floor::Exchange::X25519MlKem768)),
            Work::Resumed(_) => Some(floor::Work::ResumedHandshake(floor::Exchange::X25519)),
            Work::Upload => Some(floor::Work::Upload),
            Work::Download => Some(floor::Work::Download),
            Work::Mail { .. } | Work::Ping | Work::Idle(_) | Work::Growth => None,
        }
    }

    /// One of the cases that it yields.
    pub fn head(&self, suffix: &str, title: String, operation: &'static str, unit: Unit, target: Option<f64>) -> Head {
        Head { id: format!("{}{suffix}", self.id), title, operation, unit, target }
    }
}
