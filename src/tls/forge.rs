//! ClientHellos made by hand, for offers that no client program here can make.

/// A ClientHello in parts.
#[derive(Clone)]
pub(super) struct Forged {
    pub(super) version: u16,
    pub(super) suites: Vec<u16>,
    pub(super) compressions: Vec<u8>,
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
}

pub(super) const SNI: u16 = 0;
pub(super) const GROUPS: u16 = 10;
pub(super) const SIGNATURES: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const VERSIONS: u16 = 43;

impl Forged {
    /// A hello of `version` at most, without extensions.
    pub(super) fn bare(version: u16, suites: &[u16]) -> Self {
        Self { version, suites: suites.to_vec(), compressions: vec![0], extensions: Vec::new() }
    }

    /// What a TLS 1.2 client of good sense sends.
    pub(super) fn tls12(suites: &[u16]) -> Self {
        Self::bare(0x0303, suites).with_list(GROUPS, &[0x001d, 0x0017]).with_list(SIGNATURES, &[0x0403, 0x0804, 0x0401])
    }

    pub(super) fn with(mut self, extension: u16, content: Vec<u8>) -> Self {
        self.extensions.retain(|(kind, _)| *kind != extension);
        self.extensions.push((extension, content));
        self
    }

    /// With a list of code points behind a length of two octets.
    pub(super) fn with_list(self, extension: u16, codes: &[u16]) -> Self {
        let codes: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
        self.with(extension, long(&codes))
    }

    pub(super) fn with_versions(self, versions: &[u16]) -> Self {
        let versions: Vec<u8> = versions.iter().flat_map(|code| code.to_be_bytes()).collect();
        self.with(VERSIONS, short(&versions))
    }

    pub(super) fn with_sni(self, name: &[u8]) -> Self {
        self.with(SNI, long(&[&[0][..], &long(name)].concat()))
    }

    pub(super) fn with_alpn(self, names: &[&str]) -> Self {
        let names: Vec<u8> = names.iter().flat_map(|name| short(name.as_bytes())).collect();
        self.with(ALPN, long(&names))
    }

    /// The handshake message.
    pub(super) fn message(&self) -> Vec<u8> {
        let suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(long(&suites));
        body.extend(short(&self.compressions));
        if !self.extensions.is_empty() {
            let extensions =
                self.extensions.iter().flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &long(content)].concat());
            body.extend(long(&extensions.collect::<Vec<u8>>()));
        }
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    /// In records of `size` octets each.
    pub(super) fn records(&self, size: usize) -> Vec<u8> {
        let version = self.version.clamp(0x0300, 0x0301);
        self.message().chunks(size).flat_map(|fragment| record(22, version, fragment)).collect()
    }

    /// In one record.
    pub(super) fn wire(&self) -> Vec<u8> {
        self.records(1 << 14)
    }
}

pub(super) fn record(content_type: u8, version: u16, fragment: &[u8]) -> Vec<u8> {
    [&[content_type], &version.to_be_bytes()[..], &long(fragment)].concat()
}

fn long(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn short(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}
