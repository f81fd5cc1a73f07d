//! Which sockets are bound, and to what.

use super::*;

/// The same descriptors twice: by a parent, and by the gate that is given them.
#[test]
fn sockets_that_were_bound_before_are_known_again_and_none_is_bound_twice() {
    let listener = |service: &str, listen: &str| {
        format!(
            "[[listener]]\nservice = \"{service}\"\nlisten = [{listen}]\nbackend = \"127.0.0.1:1\"\nclient_identity = \"proxy-v2\"\n"
        )
    };
    let any = "\"127.0.0.1:0\"";
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let fixed = format!("\"{}\"", local_address(&taken).unwrap());
    let text = "hostname = \"a.example\"\n[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n".to_owned()
        + &listener("smtp", &fixed)
        + &listener("imaps", &format!("{any}, {any}, {any}"));
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let spare = bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let addresses = |sockets: &[Socket]| sockets.iter().filter_map(local_address).collect::<Vec<_>>();

    let bound = bind_all(&config, vec![spare.try_clone().unwrap(), taken.try_clone().unwrap()]).unwrap();
    let first = addresses(&bound);
    assert_eq!((first.len(), first[0], first[4]), (5, addresses(&[taken])[0], addresses(&[spare])[0]), "{first:?}");
    assert!(!first[1..4].contains(&first[0]), "port 0 is no port of another listener's: {first:?}");
    assert_eq!(addresses(&bind_all(&config, bound).unwrap()), first);
}

#[test]
fn without_ipv6_only_the_wildcard_beside_another_address_is_left_out() {
    for (listen, left) in [
        (&["0.0.0.0:25", "[::]:25"][..], &["0.0.0.0:25"][..]),
        (&["[::]:25"], &["[::]:25"]),
        (&["127.0.0.1:25", "[2001:db8::1]:25"], &["127.0.0.1:25", "[2001:db8::1]:25"]),
    ] {
        let addresses =
            |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mut listen = addresses(listen);
        only_ipv4(&mut listen);
        assert_eq!(listen, addresses(left));
    }
}
