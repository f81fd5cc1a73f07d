use super::*;
use crate::facts::ClientNames;

fn found(name: &str) -> Lookup {
    Lookup::Found(name.into())
}

fn peer(client: &str, verified: Lookup, reverse: Lookup) -> Peer {
    Peer {
        client: client.parse().unwrap(),
        local: "192.0.2.10:25".parse().unwrap(),
        names: ClientNames { reverse, verified },
    }
}

fn announced(words: &str) -> Vec<String> {
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

const POSTFIX_2_6: &str = "NAME ADDR PROTO HELO REVERSE_NAME PORT";

#[test]
fn attributes_go_in_the_order_that_ends_with_addr_and_only_if_announced() {
    let v4 = peer("203.0.113.5:40000", found("mail.example.net"), found("mail.example.net"));
    let v6 = peer("[2001:db8::5]:40000", Lookup::Absent, found("forged.example.net"));
    let late = peer("203.0.113.5:40000", Lookup::Failed, Lookup::Failed);
    let unasked = peer("203.0.113.5:40000", Lookup::NotTried, Lookup::NotTried);
    let cases = [
        (
            &v4,
            POSTFIX_2_6,
            "XCLIENT PORT=40000 NAME=mail.example.net REVERSE_NAME=mail.example.net ADDR=203.0.113.5\r\n",
        ),
        (
            &v6,
            "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT",
            "XCLIENT PORT=40000 NAME=[UNAVAILABLE] REVERSE_NAME=forged.example.net ADDR=IPV6:2001:db8::5\r\n",
        ),
        (&late, POSTFIX_2_6, "XCLIENT PORT=40000 NAME=[TEMPUNAVAIL] REVERSE_NAME=[TEMPUNAVAIL] ADDR=203.0.113.5\r\n"),
        (
            &unasked,
            POSTFIX_2_6,
            "XCLIENT PORT=40000 NAME=[TEMPUNAVAIL] REVERSE_NAME=[TEMPUNAVAIL] ADDR=203.0.113.5\r\n",
        ),
        (&v4, "NAME ADDR PROTO HELO", "XCLIENT NAME=mail.example.net ADDR=203.0.113.5\r\n"),
        (&v4, "ADDR", "XCLIENT ADDR=203.0.113.5\r\n"),
    ];
    for (peer, words, expected) in cases {
        assert_eq!(commands(&announced(words), peer), [expected]);
    }
}

#[test]
fn rfc5321_4_5_3_1_4_no_command_is_longer_than_512_octets_and_addr_is_in_the_last() {
    let name = |len: usize| format!("{}.example", "a".repeat(len));
    let mut split = 0;
    for len in 200..=245 {
        let peer = peer("[2001:db8:1:2:3:4:5:6]:40000", found(&name(len)), found(&name(len)));
        let commands = commands(&announced(POSTFIX_2_6), &peer);
        assert!(commands.iter().all(|command| command.len() <= 512));
        let (last, earlier) = commands.split_last().unwrap();
        assert!(last.ends_with(" ADDR=IPV6:2001:db8:1:2:3:4:5:6\r\n"));
        assert!(earlier.iter().all(|command| !command.contains("ADDR=")));
        let whole: String = commands.iter().map(|c| c.trim_start_matches(VERB).trim_end_matches("\r\n")).collect();
        let expected =
            format!(" PORT=40000 NAME={} REVERSE_NAME={} ADDR=IPV6:2001:db8:1:2:3:4:5:6", name(len), name(len));
        assert_eq!(whole, expected);
        split += usize::from(commands.len() == 2);
    }
    assert!((1..46).contains(&split), "both kinds were seen, {split} split");
}

#[test]
fn rfc3461_4_xtext_leaves_nothing_that_could_end_a_value() {
    assert_eq!(xtext("mail-1.example_net:[]"), "mail-1.example_net:[]");
    assert_eq!(xtext("a+b=c d\r\n\u{e4}"), "a+2Bb+3Dc+20d+0D+0A+C3+A4");
}

#[test]
fn the_keyword_is_found_among_others_and_not_in_the_greeting() {
    let answer = b"250-XCLIENT greets you\r\n250-PIPELINING\r\n250-xclient NAME addr\r\n250 8BITMIME\r\n";
    assert_eq!(attributes(answer), Some(announced("NAME ADDR")));
    assert_eq!(attributes(b"250-mail.example.com\r\n250-XCLIENTS NAME ADDR\r\n250 DSN\r\n"), None);
    assert_eq!(attributes(b"250 XCLIENT NAME ADDR\r\n"), None, "the first line is the greeting");
}

#[test]
fn no_character_of_a_name_from_dns_ends_its_value_or_the_command() {
    for c in (0..0x300).filter_map(char::from_u32).chain("\u{2028}\u{202e}\u{feff}\u{1f600}".chars()) {
        let name = format!("a{c}b.example.net\r\nXCLIENT ADDR=192.0.2.66");
        let commands = commands(&announced(POSTFIX_2_6), &peer("203.0.113.5:40000", found(&name), found(&name)));
        let [command] = commands.as_slice() else { panic!("{c:?}: {commands:?}") };
        let attributes: Vec<&str> = command.strip_suffix("\r\n").unwrap().split(' ').collect();
        assert!(command.trim_end().bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{command:?}");
        let [VERB, "PORT=40000", first, second, "ADDR=203.0.113.5"] = attributes.as_slice() else {
            panic!("{command:?}")
        };
        assert!(first.starts_with("NAME=a") && second.starts_with("REVERSE_NAME=a"), "{command:?}");
        assert_eq!((first.matches('=').count(), second.matches('=').count()), (1, 1), "{command:?}");
    }
}
