//! Mails to send, and what is left of them when the trace fields are gone.

/// The mails whose content has ever been damaged by somebody in the middle, by name.
pub fn difficult() -> Vec<(&'static str, Vec<u8>)> {
    let long_line = |octet: u8| [vec![octet; 998], b"\r\n".to_vec()].concat();
    vec![
        ("zero octets in the body", mail("")),
        ("one dot", mail(".\r\n")),
        ("dots", mail("..\r\n.x\r\n\r\n.\r\n..\r\n...\r\n")),
        ("lines of 998 octets", [mail(""), long_line(b'x'), long_line(b'.')].concat()),
        ("no final newline", mail("the end")),
        ("8-bit", [mail(""), b"Gr\xfc\xdfe \xff\xfe\x80\r\n".to_vec()].concat()),
        ("space and tab in front", mail(" one\r\n\ttwo\r\n")),
        ("blank lines", mail("\r\n\r\n\r\nthe end\r\n\r\n\r\n")),
    ]
}

/// 10 MiB in all, of lines.
pub fn ten_mebibytes() -> Vec<u8> {
    let mut content = mail("");
    let mut n = 0_u64;
    while content.len() < 10 * 1024 * 1024 {
        content.extend(format!("{n:064x}\r\n").as_bytes());
        n += 1;
    }
    content
}

/// A mail with that body.
pub fn mail(body: &str) -> Vec<u8> {
    format!(
        "From: Sender <sender@example.com>\r\nTo: Reader <reader@example.net>\r\nSubject: A test\r\n\
         Date: Sat, 21 Nov 2026 20:36:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The header's fields in order, folded ones with their line ends, and the rest behind the empty line. Line ends are LF
/// in the result, as in a Maildir.
pub fn split(mail: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mail = with_lf(mail);
    let mut fields: Vec<String> = Vec::new();
    let mut rest = mail.as_slice();
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let end = rest.iter().position(|octet| *octet == b'\n').map_or(rest.len(), |lf| lf + 1);
        let (line, behind) = rest.split_at(end);
        let line = String::from_utf8_lossy(line).into_owned();
        match fields.last_mut() {
            Some(field) if line.starts_with([' ', '\t']) => field.push_str(&line),
            _ => fields.push(line),
        }
        rest = behind;
    }
    (fields, rest.to_vec())
}

/// The mail without what is added on its way.
pub fn without_trace(mail: &[u8]) -> Vec<u8> {
    const TRACE: &[&str] = &["received:", "return-path:", "delivered-to:", "x-original-to:", "x-tuid:"];
    let (fields, body) = split(mail);
    let kept = fields.into_iter().filter(|field| {
        let field = field.to_ascii_lowercase();
        !TRACE.iter().any(|name| field.starts_with(name))
    });
    [kept.collect::<String>().into_bytes(), body].concat()
}

/// The Received fields, the latest first, unfolded nowhere.
pub fn received(mail: &[u8]) -> Vec<String> {
    split(mail).0.into_iter().filter(|field| field.starts_with("Received:")).collect()
}

/// CRLF replaced by LF.
pub fn with_lf(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len());
    for (n, octet) in mail.iter().enumerate() {
        if *octet != b'\r' || mail.get(n + 1) != Some(&b'\n') {
            out.push(*octet);
        }
    }
    out
}
