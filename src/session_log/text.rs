//! `key=value`, quoted where a value would otherwise end early.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::fields::Value;

/// The record without its time.
pub(super) fn record(fields: &[(&'static str, Value<'_>)]) -> String {
    let mut line = String::with_capacity(512);
    append(fields, &mut line);
    line
}

/// Appends the record without its time.
pub(super) fn append(fields: &[(&'static str, Value<'_>)], line: &mut String) {
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        // Writing to a String cannot fail.
        match value {
            Value::Word(word) => line.push_str(word),
            Value::Text(text) => quote(text, line),
            Value::Number(number) => decimal(*number, line),
            Value::Address(SocketAddr::V4(address)) => {
                ipv4(*address.ip(), line);
                line.push(':');
                decimal(address.port(), line);
            }
            Value::Ip(IpAddr::V4(ip)) => ipv4(*ip, line),
            Value::Address(address) => _ = write!(line, "{address}"),
            Value::Ip(ip) => _ = write!(line, "{ip}"),
            Value::Flag(flag) => line.push_str(self::flag(*flag)),
            Value::List(list) => quote(&list.join(","), line),
        }
    }
}

/// The formatter's way takes ten times as long, and a line has a dozen numbers.
fn decimal(number: impl itoa::Integer, line: &mut String) {
    line.push_str(itoa::Buffer::new().format(number));
}

fn ipv4(ip: Ipv4Addr, line: &mut String) {
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            line.push('.');
        }
        decimal(octet, line);
    }
}

/// A yes or no in words.
pub(super) fn flag(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// Appends `value`, in quotation marks if it is empty or holds a space, `"`, `=` or `\`.
fn quote(value: &str, line: &mut String) {
    if !value.is_empty() && !value.bytes().any(|octet| matches!(octet, b' ' | b'"' | b'=' | b'\\')) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('"');
}
