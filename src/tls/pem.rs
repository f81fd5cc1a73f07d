//! PEM as it stands in files (RFC 7468), and in words what is wrong with it.

use std::io::{self, ErrorKind};
use std::path::Path;

use memchr::memmem;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

/// How the first line of a section begins, and the last one.
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// What a certificate is called, and what else OpenSSL takes for one (PEM_read_bio_X509_AUX(3)); the parser does not.
const CERTIFICATE: &str = "CERTIFICATE";
const ALSO_CERTIFICATES: [&[u8]; 2] = [b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"];

/// What is wrong with a file. Nothing of the file is quoted: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error(
        "is cut off or damaged: the section that begins in line {0} has no END line of its own; copy the whole file \
         once more"
    )]
    NoEnd(usize),
    #[error(
        "is not valid PEM: line {0} does not end where its BEGIN mark does; give the BEGIN line, the content and the \
         END line lines of their own"
    )]
    Begin(usize),
    #[error(
        "is not valid PEM: in line {0} a section begins behind the end of another; put a line end between them, as is lost where \
         files are put together"
    )]
    Glued(usize),
    #[error(
        "is not valid PEM: line {0} ends a section that did not begin; let a BEGIN line stand before its content, with nothing \
         before it in its line, not even spaces or the invisible mark that some editors begin a file with"
    )]
    NoBegin(usize),
    #[error(
        "has a certificate in line {0} under another label than CERTIFICATE, as OpenSSL once wrote or marks what it trusts; write \
         it anew: openssl x509 -in OLD -out NEW"
    )]
    Label(usize),
    #[error("is not valid PEM: line {0} is no base64; copy the whole file once more")]
    NotBase64(usize),
    #[error("is damaged: a part of the section that begins in line {0} is missing; copy the whole file once more")]
    Gap(usize),
    #[error("is not valid PEM: a section has no end, or its content is no base64; copy the whole file once more")]
    Somewhere,
}

/// All certificates, in the order of the file; other sections are passed over.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Broken> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    match unseen(pem, CERTIFICATE) {
        Some(unseen) => Err(unseen),
        None => certificates.map_err(|_| broken(pem).unwrap_or(Broken::Somewhere)),
    }
}

/// What keeps the parser from seeing a section of this kind at all, which it then passes over without an error.
pub(super) fn unseen(pem: &[u8], kind: &str) -> Option<Broken> {
    first_broken(pem, kind).filter(|broken| matches!(broken, Broken::Glued(_) | Broken::NoBegin(_) | Broken::Label(_)))
}

/// Whether a certificate begins here, be it whole or not.
pub(super) fn holds_certificate(pem: &[u8]) -> bool {
    says(pem, "BEGIN CERTIFICATE-----")
}

/// Whether PEM holds a private key of any kind, be it whole and usable or not.
pub fn holds_private_key(pem: &[u8]) -> bool {
    pem.split(|octet| *octet == b'\n').any(|line| line.starts_with(BEGIN) && says(line, "PRIVATE KEY-----"))
}

/// Whether the octets hold this text.
pub(super) fn says(pem: &[u8], text: &str) -> bool {
    memmem::find(pem, text.as_bytes()).is_some()
}

/// What to do about a file that cannot be read; `setting` is where the configuration names it.
pub(super) fn make_readable(error: &io::Error, path: &Path, setting: &str) -> String {
    match error.kind() {
        // Landlock looks at directories themselves, whatever their names are now, and access(2) does not ask it.
        ErrorKind::PermissionDenied if accessat(CWD, path, Access::READ_OK, AtFlags::empty()).is_ok() => String::from(
            "its own rights would allow it: if its directory was made or renamed since the start, restart sealgate, which \
             as one process reads those alone that were there; otherwise see what AppArmor or SELinux forbid",
        ),
        ErrorKind::PermissionDenied => String::from("the user that starts sealgate needs read access"),
        _ => format!("check the path in {setting}"),
    }
}

/// Looks for what the parser could not read, whose errors quote the file and know no lines. Some of it the parser also
/// takes: two sections for one, where the end of the first is lost.
pub(super) fn broken(pem: &[u8]) -> Option<Broken> {
    first_broken(pem, "")
}

/// The same; of what the parser cannot see only labels that end so count.
fn first_broken(pem: &[u8], kind: &str) -> Option<Broken> {
    let counts = |label: &[u8]| label.ends_with(kind.as_bytes());
    let mut open: Option<Section<'_>> = None;
    for (number, line) in lines(pem) {
        if let Some(label) = line.strip_prefix(BEGIN) {
            if let Some(open) = open {
                return Some(Broken::NoEnd(open.begins));
            }
            if kind == CERTIFICATE && ALSO_CERTIFICATES.iter().any(|also| label.strip_suffix(DASHES) == Some(also)) {
                return Some(Broken::Label(number));
            }
            match label.strip_suffix(DASHES) {
                Some(label) if !label.ends_with(b"-") && memmem::find(label, DASHES).is_none() => {
                    open = Some(Section { begins: number, label, octets: 0 });
                }
                _ => return Some(Broken::Begin(number)),
            }
        } else if let Some(section) = &mut open {
            if let Some(behind) = section.ended_by(line) {
                if labelled(behind, BEGIN).is_some_and(counts) {
                    return Some(Broken::Glued(number));
                }
                // RFC 4648 §4: six bits make no octet. Two and three characters do, with or without their padding.
                if section.is_read() && section.octets % 4 == 1 {
                    return Some(Broken::Gap(section.begins));
                }
                open = None;
            } else if section.is_read() && !line.iter().all(|octet| is_base64(*octet)) {
                // The END line of another section, or of one whose BEGIN line was not right.
                let end = line.starts_with(END);
                return Some(if end { Broken::NoEnd(section.begins) } else { Broken::NotBase64(number) });
            } else {
                section.octets += line.len();
            }
        // Where all of a section is indented, its end is, too.
        } else if line.trim_ascii_start().starts_with(END)
            && labelled(line, END).is_some_and(|it| is_read(it) && counts(it))
        {
            return Some(Broken::NoBegin(number));
        }
    }
    open.map(|open| Broken::NoEnd(open.begins))
}

/// The lines with their numbers, as the parser cuts them: a lone CR ends one, too, and is counted where there is nothing else.
fn lines(pem: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let newline = if pem.contains(&b'\n') { b'\n' } else { b'\r' };
    let numbered = (1..).zip(pem.split(move |octet| *octet == newline));
    numbered.flat_map(|(number, line)| {
        line.trim_ascii_end().split(|octet| *octet == b'\r').map(move |part| (number, part.trim_ascii_end()))
    })
}

/// The label behind such a mark somewhere in a line.
fn labelled<'a>(line: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let label = line.get(memmem::find(line, mark)? + mark.len()..)?;
    label.get(..memmem::find(label, DASHES)?)
}

/// Whether the parser looks into such a section at all.
fn is_read(label: &[u8]) -> bool {
    SectionKind::try_from(label).is_ok()
}

/// A section that has begun.
struct Section<'a> {
    begins: usize,
    label: &'a [u8],
    octets: usize,
}

impl Section<'_> {
    /// What stands in `line` behind the section's end.
    fn ended_by<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        line.strip_prefix(END)?.strip_prefix(self.label)?.strip_prefix(DASHES)
    }

    fn is_read(&self) -> bool {
        is_read(self.label)
    }
}

/// RFC 4648 §4.
fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests;
