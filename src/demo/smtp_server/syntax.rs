//! Paths and ESMTP parameters (RFC 5321 §4.1.2).

/// What a client said about its message or recipient, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// RFC 1870.
    pub size: Option<u64>,
}

impl Parameters {
    /// Behind MAIL's path; the error is the parameter that is not known.
    pub fn of_mail(text: &str) -> Result<Self, &str> {
        let mut found = Self::default();
        for parameter in text.split_ascii_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let valid = match name.to_ascii_uppercase().as_str() {
                "SIZE" => {
                    found.size = value.parse().ok();
                    found.size.is_some()
                }
                "BODY" => ["7BIT", "8BITMIME"].iter().any(|body| value.eq_ignore_ascii_case(body)),
                "RET" => ["FULL", "HDRS"].iter().any(|ret| value.eq_ignore_ascii_case(ret)),
                "SMTPUTF8" => value.is_empty(),
                "ENVID" | "AUTH" => !value.is_empty(),
                _ => false,
            };
            if !valid {
                return Err(parameter);
            }
        }
        Ok(found)
    }

    /// Behind RCPT's path (RFC 3461); the error is the parameter that is not known.
    pub fn of_rcpt(text: &str) -> Result<Self, &str> {
        let known = |parameter: &&str| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                !value.is_empty() && ["NOTIFY", "ORCPT"].iter().any(|known| name.eq_ignore_ascii_case(known))
            })
        };
        text.split_ascii_whitespace().find(|parameter| !known(parameter)).map_or(Ok(Self::default()), Err)
    }
}

/// The address between `<` and `>` behind `keyword`, and what follows it.
pub fn path<'a>(keyword: &str, argument: &'a str) -> Option<(&'a str, &'a str)> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => {
                let (address, rest) = rest.split_at_checked(at)?;
                let rest = rest.strip_prefix('>')?;
                return (rest.is_empty() || rest.starts_with(' ')).then_some((address, rest));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5321_4_1_2_paths() {
        let cases = [
            ("FROM:<a@b>", Some(("a@b", ""))),
            ("from: <a@b> SIZE=3", Some(("a@b", " SIZE=3"))),
            ("FROM:<>", Some(("", ""))),
            ("FROM:<\"a>\\\"b\"@c> BODY=7BIT", Some(("\"a>\\\"b\"@c", " BODY=7BIT"))),
            ("FROM:<grün@b>", Some(("grün@b", ""))),
            ("FROM:<a@b>x", None),
            ("FROM:<a@b", None),
            ("FROM:a@b", None),
            ("TO:<a@b>", None),
            ("", None),
        ];
        for (argument, expected) in cases {
            assert_eq!(path("FROM:", argument), expected, "{argument}");
        }
    }

    #[test]
    fn parameters_that_ehlo_did_not_offer_are_named() {
        let mail = " SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x AUTH=<>";
        assert_eq!(Parameters::of_mail(mail), Ok(Parameters { size: Some(5) }));
        assert_eq!(Parameters::of_mail(" BODY=BINARYMIME"), Err("BODY=BINARYMIME"));
        assert_eq!(Parameters::of_mail(" SIZE=x"), Err("SIZE=x"));
        assert_eq!(Parameters::of_mail(" FOO"), Err("FOO"));
        assert!(Parameters::of_rcpt(" NOTIFY=NEVER ORCPT=rfc822;a@b").is_ok());
        assert_eq!(Parameters::of_rcpt(" FOO=1"), Err("FOO=1"));
    }
}
