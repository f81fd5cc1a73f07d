//! Octets that nobody may see: private keys as they stand in their files.
//!
//! What rustls and AWS-LC make of a key they wipe themselves: rustls the DER that it parsed, AWS-LC all memory that it
//! frees. docs/threat-model.md says what is wiped and what is not.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

/// Octets that are neither shown nor left behind: `Debug` says nothing of them, and they are wiped when they are dropped.
/// Whoever needs them says so by [`Secret::expose`].
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Reads a file.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        // `std` asks for the file's size first, so the octets do not move about while they are read.
        std::fs::read(path).map(Self::from)
    }

    /// The octets. They must not be copied to where they would not be wiped.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_nothing_of_a_secret_not_even_its_length() {
        let shown = |octets: &[u8]| format!("{:?} {:#?}", Secret::from(octets.to_vec()), Secret::from(octets.to_vec()));
        assert_eq!(shown(b"correct horse"), "Secret(..) Secret(..)");
        assert_eq!(shown(b""), shown(b"correct horse"));
        assert_eq!(Secret::from(b"correct horse".to_vec()).expose(), b"correct horse");
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped() {
        fn wipes<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wipes(&Secret::from(Vec::new()).0);
    }
}
