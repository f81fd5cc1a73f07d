//! Messages, and a reader of them.

use sealgate::protocol::smtp::body::{Found, Scanner};

/// A line of most mail: base64 (RFC 2045 §6.8).
pub const LINE: &[u8] = b"TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz\r\n";

/// Kinds of content by one line of it.
pub const LINES: &[(&str, &[u8])] = &[
    ("lines of 76 octets", LINE),
    ("lines of 998 octets", &{
        let mut line = [b'a'; 1000];
        line[998] = b'\r';
        line[999] = b'\n';
        line
    }),
    ("lines with a stuffed dot", b"..Fu IGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGl\r\n"),
    ("stuffed dots alone", b"..\r\n"),
    ("empty lines", b"\r\n"),
    ("lines that end in a bare LF", b"TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz\n"),
    ("bare LFs alone", b"\n"),
    ("bare CRs alone", b"\r"),
];

/// So many octets of one line again and again, the last of them perhaps cut off.
pub fn repeated(line: &[u8], octets: usize) -> Vec<u8> {
    line.iter().copied().cycle().take(octets).collect()
}

/// Reads all of it and tells how many verdicts that took.
pub fn read(mut scanner: Scanner, input: &[u8]) -> usize {
    let mut rest = input;
    let mut verdicts = 0;
    loop {
        let octets = match scanner.scan(rest) {
            Found::Clean(octets) | Found::End(octets) => octets,
            Found::Mend(mend) => mend.swallow,
            Found::Undecided => return verdicts,
        };
        rest = rest.split_at(octets).1;
        verdicts += 1;
    }
}
