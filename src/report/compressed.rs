//! Logs that were compressed when they were rotated.

/// How a compressed file begins, and what writes it out as text. None has a line end in it.
const TOOLS: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "zcat"),            // RFC 1952 §2.3.1
    (b"\xfd7zXZ\0", "xzcat"),         // the .xz file format, §2.1.1.1
    (b"\x28\xb5\x2f\xfd", "zstdcat"), // RFC 8878 §3.1.1
    (b"BZh", "bzcat"),
];

/// The tool for a file whose first line this is; none if it is text.
pub(super) fn tool(first_line: &[u8]) -> Option<&'static str> {
    TOOLS.iter().find(|(magic, _)| first_line.starts_with(magic)).map(|(_, tool)| *tool)
}
