//! Certificates are renewed while the gate runs: their files are looked at once a minute, and at once when asked to.
//!
//! The files are looked at by their names, not watched: ACME clients replace symbolic links, configuration managers whole
//! directories, and some rewrite a file in place; a look sees all of these alike, and needs nothing that a sandbox would
//! have to allow. A renewal writes two files, one after the other. So a change is taken only once it has stood still from
//! one look to the next, and chain and key belong together; until then the certificate from before serves on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::CertificateFiles;
use crate::tls::{Certificate, CertificateError, PemPair};

/// Between looks while nothing changes.
const PERIOD: Duration = Duration::from_secs(60);

/// Between looks while a change is not settled.
const SOON: Duration = Duration::from_secs(5);

/// After so many looks a change that cannot be taken is no half-written one any more: somebody has to know.
const LOOKS: u32 = 6;

/// Looks after the files of all certificates. [`Watch::changed`] may be dropped at any time and called again.
#[derive(Debug)]
pub struct Watch {
    pairs: Vec<Watched>,
    hostname: Arc<str>,
    asked: Arc<Notify>,
    /// The last look.
    looked: Instant,
}

/// Makes a [`Watch`] look at once: for SIGHUP.
#[derive(Debug, Clone)]
pub struct Look(Arc<Notify>);

/// What a look brought.
#[derive(Debug)]
pub struct Renewed {
    /// All certificates in the order of the config, for [`crate::tls::Server::renew`].
    pub certificates: Vec<Certificate>,
    /// Those that are new, by their place in that order, as they stand in their files.
    pub new: Vec<(usize, PemPair)>,
}

impl Watch {
    /// Reads every certificate for the first time. `hostname` is what one of them should be for.
    ///
    /// # Errors
    /// For the first that cannot be used: names the file, what is wrong with it, and what to do.
    pub fn open(files: &[CertificateFiles], hostname: &Arc<str>) -> Result<(Self, Renewed), CertificateError> {
        let mut pairs = Vec::new();
        let mut new = Vec::new();
        for files in files {
            // Stamped first: what changes while it is read is a change.
            let taken = Stamps::of(files);
            let (certificate, pem) = Certificate::read(files)?;
            new.push((pairs.len(), pem));
            pairs.push(Watched { files: files.clone(), taken, certificate, unsettled: None });
        }
        let watch = Self { pairs, hostname: hostname.clone(), asked: Arc::default(), looked: Instant::now() };
        let certificates = watch.certificates();
        Ok((watch, Renewed { certificates, new }))
    }

    /// Says at the start what clients will dislike. It keeps nobody from serving: most of the mail comes from clients that do
    /// not look (RFC 7435), and the clock may be what is wrong.
    pub fn warn(&self) {
        let now = SystemTime::now();
        for pair in &self.pairs {
            let (from, to) = (pair.certificate.not_before(), pair.certificate.not_after());
            let chain = pair.files.chain.display();
            if now < from {
                tracing::warn!(%chain, "the certificate is not valid before {}: see this host's clock", date(from));
            } else if now > to {
                tracing::warn!(%chain, "the certificate has expired on {}: renew it", date(to));
            }
        }
        self.warn_of_name();
    }

    fn warn_of_name(&self) {
        let hostname = &self.hostname;
        if !self.pairs.iter().any(|pair| pair.certificate.is_for(hostname)) {
            tracing::warn!("no certificate is for {hostname}, by which clients know this host: get one that names it");
        }
    }

    /// What makes it look at once.
    pub fn look(&self) -> Look {
        Look(Arc::clone(&self.asked))
    }

    /// Waits until there is a certificate to be renewed. What cannot be taken is logged, and tried again.
    ///
    /// The files are read on the thread that waits: it should be one that no session waits for.
    pub async fn changed(&mut self) -> Renewed {
        loop {
            let unsettled =
                self.pairs.iter().any(|pair| pair.unsettled.as_ref().is_some_and(|change| !change.is_told()));
            let due = self.looked + if unsettled { SOON } else { PERIOD };
            let why = tokio::select! {
                () = self.asked.notified() => Why::Asked,
                () = sleep_until(due) => Why::Time,
            };
            self.looked = Instant::now();
            let now = SystemTime::now();
            let looks = self.pairs.iter_mut().enumerate();
            let new: Vec<_> = looks.filter_map(|(place, pair)| Some((place, pair.look(why, now)?))).collect();
            if !new.is_empty() {
                self.warn_of_name();
                return Renewed { certificates: self.certificates(), new };
            }
        }
    }

    fn certificates(&self) -> Vec<Certificate> {
        self.pairs.iter().map(|pair| pair.certificate.clone()).collect()
    }
}

impl Look {
    /// Look now, and say at once what is wrong.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Time,
    Asked,
}

/// One chain and its key.
#[derive(Debug)]
struct Watched {
    files: CertificateFiles,
    /// What the files looked like when `certificate` was read from them.
    taken: Stamps,
    certificate: Certificate,
    unsettled: Option<Change>,
}

/// A change that has not been taken yet.
#[derive(Debug)]
struct Change {
    stamps: Stamps,
    looks: u32,
    /// What the log has been told of it, so that it is told once.
    told: Option<String>,
}

impl Change {
    fn is_told(&self) -> bool {
        self.told.is_some()
    }
}

impl Watched {
    /// Takes a change if there is one and it can be taken.
    fn look(&mut self, why: Why, now: SystemTime) -> Option<PemPair> {
        let stamps = Stamps::of(&self.files);
        if stamps == self.taken {
            self.unsettled = None;
            return None;
        }
        let change = self.unsettled.get_or_insert(Change { stamps: Stamps::default(), looks: 0, told: None });
        let moved = change.stamps != stamps;
        if moved && change.is_told() {
            change.looks = 0; // somebody is mending it
        }
        change.stamps = stamps;
        change.looks += 1;
        if moved && why == Why::Time && change.looks < LOOKS {
            return None; // somebody may be writing
        }
        match read(&self.files, stamps, &self.certificate, now) {
            Ok((certificate, pem)) => {
                self.taken = stamps;
                self.unsettled = None;
                if certificate.is_same_chain(&self.certificate) {
                    return None; // touched, or copied to where it was
                }
                tracing::info!(
                    chain = %self.files.chain.display(),
                    names = certificate.names().join(","),
                    key = %certificate.key_kind(),
                    not_after = date(certificate.not_after()),
                    "certificate renewed"
                );
                self.certificate = certificate;
                Some(pem)
            }
            Err(error) => {
                let error = error.to_string();
                if (why == Why::Asked || change.looks >= LOOKS) && change.told.as_ref() != Some(&error) {
                    tracing::error!(
                        chain = %self.files.chain.display(),
                        not_after = date(self.certificate.not_after()),
                        "the certificate was not renewed: {error}; going on with the one from before"
                    );
                    change.told = Some(error);
                }
                None
            }
        }
    }
}

/// Reads a pair that looked like `stamps` before, to take the place of `current`.
fn read(
    files: &CertificateFiles,
    stamps: Stamps,
    current: &Certificate,
    now: SystemTime,
) -> Result<(Certificate, PemPair), Unfit> {
    let (certificate, pem) = Certificate::read(files)?;
    if Stamps::of(files) != stamps {
        return Err(Unfit::Moving);
    }
    let (from, to) = (certificate.not_before(), certificate.not_after());
    let place = || files.chain.display().to_string();
    if certificate.is_same_chain(current) {
        Ok((certificate, pem)) // whatever its dates: it is what serves already
    } else if now < from {
        Err(Unfit::Early { place: place(), date: date(from) })
    } else if now > to {
        Err(Unfit::Late { place: place(), date: date(to) })
    } else {
        Ok((certificate, pem))
    }
}

/// Why a change is not taken.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("its files change while they are read")]
    Moving,
    #[error("{place} is not valid before {date}; check this host's clock, or wait: it is taken then")]
    Early { place: String, date: String },
    #[error("{place} has expired on {date}; put a valid one there")]
    Late { place: String, date: String },
}

/// A file that is read at the start alone: whoever asks to reload is told where that does not take it.
#[derive(Debug)]
pub struct ReadOnce {
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl ReadOnce {
    /// As it is now; call this before the file is read.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: Stamp::at(path) }
    }

    /// Says, once for each change, that the file has changed.
    pub fn warn_if_changed(&mut self) {
        let stamp = Stamp::at(&self.path);
        if std::mem::replace(&mut self.stamp, stamp) != stamp {
            let path = self.path.display();
            tracing::warn!("{path} has changed since the start: only a restart takes it, a reload does not");
        }
    }
}

/// What tells that a file is another one, or was written to, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamps {
    chain: Option<Stamp>,
    key: Option<Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Likewise; unlike the other it cannot be set, and moves with the rights to the file, too.
    changed: (i64, i64),
}

impl Stamps {
    /// Of the files that the names lead to now.
    fn of(files: &CertificateFiles) -> Self {
        Self { chain: Stamp::at(&files.chain), key: Stamp::at(&files.key) }
    }
}

impl Stamp {
    /// Of the file that the name leads to now; none for one that cannot be looked at.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// RFC 3339, in UTC.
fn date(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "an unknown date".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
