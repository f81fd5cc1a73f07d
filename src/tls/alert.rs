//! The alerts that the gate sends or knows by itself (RFC 8446 §6, RFC 5246 §7.2).

/// Those there is a use for here; `rustls` sends those of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    HandshakeFailure = 40,
    CertificateExpired = 45,
    IllegalParameter = 47,
    DecodeError = 50,
    ProtocolVersion = 70,
    InternalError = 80,
    InappropriateFallback = 86,
    UserCanceled = 90,
    NoRenegotiation = 100,
}

/// How grave an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Warning = 1,
    Fatal = 2,
}

impl Alert {
    /// The alert as the content of a record.
    pub(super) fn content(self, level: Level) -> [u8; 2] {
        [level as u8, self as u8]
    }

    /// The alert as a record of its own: fatal, in plaintext.
    pub(super) fn record(self, version: u16) -> [u8; 7] {
        // Versions that do not exist are not repeated; RFC 8446 §5.1 has receivers ignore the field anyway.
        let [major, minor] = version.clamp(0x0300, 0x0303).to_be_bytes();
        let [level, description] = self.content(Level::Fatal);
        [21, major, minor, 0, 2, level, description]
    }
}
