//! Clients that no specification foresees.

/// SplitMix64: the same streams everywhere and every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (sides as u64)).expect("smaller than sides")
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list.get(self.roll(list.len())).copied().expect("one of them")
    }
}

/// What makes and breaks commands.
const SCRAPS: &[&str] = &[
    "a NOOP\r\n",
    "b LOGIN good wrong\r\n",
    "c LOGIN \"good\" {4}\r\n",
    "d LOGIN {4+}\r\ngood wrong\r\n",
    "e LOGIN  good  {4+}\r\npast\r\n",
    "f LOGIN {0}\r\n",
    "g LOGIN {0+}\r\n {5+}\r\nwrong\r\n",
    "h LOGIN good pass\r\n",
    "i AUTHENTICATE PLAIN\r\n",
    "j AUTHENTICATE LOGIN\r\n",
    "k AUTHENTICATE PLAIN AGdvb2QAd3Jvbmc=\r\n",
    "l authenticate  plain\r\n",
    "m AUTHENTICATE \"PLAIN\" x\r\n",
    "n AUTHENTICATE X =\r\n",
    "AGdvb2QAd3Jvbmc=\r\n",
    "Z29vZA==\r\n",
    "*\r\n",
    "\r\n",
    "good",
    " pass\r\n",
    "o ID (\"name\" \"y\")\r\n",
    "p ID (\"x-originating-ip\" \"192.0.2.66\")\r\n",
    "q id ({16+}\r\nX-Originating-IP {10+}\r\n192.0.2.66)\r\n",
    "r ID ({4}\r\n",
    "s STARTTLS\r\n",
    "t COMPRESS DEFLATE\r\n",
    "u LOGOUT\r\n",
    "v CAPABILITY\r\n",
    "w/1 NOOP\r\n",
    "w/1 LOGIN {4}\r\n",
    "] NOOP\r\n",
    "x X (((a) \"b\" {3+}\r\n(\"x)\r\n",
    "x X ((a) {2}\r\n",
    "y \"{3}\" {2+}\r\nab\r\n",
    "y Y \"{3}\" {2+}\r\nab\r\n",
    "z Z \"\\\"{5+}\" \\ {1}\r\n",
    "z Z a\"b {3+}\r\nabc\r\n",
    "z Z ~{3+}\r\nabc\r\n",
    "z Z {003+}\r\nabc\r\n",
    "z Z {99999}\r\n",
    "z Z ) {3+}\r\nabc {2+}\r\nde\r\n",
    " {2+}\r\nab",
    " {18+}\r\n\r\nevil STARTTLS\r\n ",
    "{4294967300}\r\n",
    "{3-}\r\n",
    "{}",
    "\"",
    "\\",
    "(",
    ")",
    " ",
    "\t",
    "\r",
    "\n",
    "\0",
    "\u{e9}",
];

/// A client's octets.
pub fn stream(dice: &mut Dice) -> Vec<u8> {
    (0..1 + dice.roll(10)).flat_map(|_| dice.pick(SCRAPS).as_bytes().to_vec()).collect()
}
