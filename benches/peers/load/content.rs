//! The octets that mail is made of: lines of 76 octets, as base64 has them (RFC 2045 §6.8).

use std::io;
use std::sync::LazyLock;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::wire::{LARGE, Wire};

/// 76 octets and the line end.
const LINE: usize = 78;

static LINES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut letters = alphabet.iter().copied().cycle();
    let mut lines = Vec::with_capacity(LARGE);
    for _ in 0..LARGE / LINE {
        lines.extend(letters.by_ref().take(LINE - 2));
        lines.extend_from_slice(b"\r\n");
    }
    lines
});

/// Sends exactly so many octets of lines; the last line may be cut off.
pub async fn stream<S>(wire: &mut Wire<S>, size: usize) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut left = size;
    while left > 0 {
        let part = LINES.get(..left.min(LINES.len())).unwrap_or_default();
        wire.send(part).await?;
        left -= part.len();
    }
    Ok(())
}

/// The least number of octets from `size` on that is whole lines.
pub fn whole_lines(size: usize) -> usize {
    size.next_multiple_of(LINE)
}
