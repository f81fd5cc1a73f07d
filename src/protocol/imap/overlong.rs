//! A line beyond its limit: thrown away as it comes, nothing of it kept.

use super::limits;

/// A line that is being thrown away.
#[derive(Debug, Default)]
pub(super) struct Overlong {
    seen: usize,
    /// Its last octets so far, enough to know `+}` before CRLF.
    last: [u8; 4],
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// The octets were part of it, and there is more to come.
    Some(usize),
    /// The octets were its rest; `octets_follow` when it ended in a non-synchronising literal's announcement.
    All { octets: usize, octets_follow: bool },
    /// It does not end within the limit.
    TooMuch,
}

impl Overlong {
    /// Takes what it can from `input`, which must not be empty.
    pub(super) fn skip(&mut self, input: &[u8]) -> Skipped {
        let end = memchr::memchr(b'\n', input).map(|lf| lf + 1);
        let octets = end.unwrap_or(input.len());
        self.seen = self.seen.saturating_add(octets);
        if self.seen > limits::DISCARD {
            return Skipped::TooMuch;
        }
        let tail = octets.saturating_sub(self.last.len());
        for octet in input.get(tail..octets).unwrap_or_default() {
            self.last.rotate_left(1);
            if let Some(newest) = self.last.last_mut() {
                *newest = *octet;
            }
        }
        match end {
            Some(_) => Skipped::All { octets, octets_follow: super::command::octets_follow(&self.last) },
            None => Skipped::Some(octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[u8], cut: usize) -> Skipped {
        let mut overlong = Overlong::default();
        let mut total = 0;
        for piece in line.chunks(cut) {
            match overlong.skip(piece) {
                Skipped::Some(octets) => total += octets,
                Skipped::All { octets, octets_follow } => {
                    return Skipped::All { octets: total + octets, octets_follow };
                }
                Skipped::TooMuch => return Skipped::TooMuch,
            }
        }
        Skipped::Some(total)
    }

    #[test]
    fn a_long_line_is_skipped_to_its_end_however_it_comes() {
        let cases: &[(&[u8], Skipped)] = &[
            (b"aaaaaaaaaa\r\nnext", Skipped::All { octets: 12, octets_follow: false }),
            (b"aaaa {12+}\r\nnext", Skipped::All { octets: 12, octets_follow: true }),
            (b"aaaa {12+}\nnext", Skipped::All { octets: 11, octets_follow: true }),
            (b"aaaa {123}\r\nnext", Skipped::All { octets: 12, octets_follow: false }),
            (b"aaaaaaaa", Skipped::Some(8)),
        ];
        for (line, expected) in cases {
            for cut in 1..=line.len() {
                assert_eq!(run(line, cut), *expected, "cut {cut}");
            }
        }
        let endless = vec![b'a'; limits::DISCARD + 1];
        for cut in [1, 4096, endless.len()] {
            assert_eq!(run(&endless, cut), Skipped::TooMuch);
        }
    }
}
