//! Sockets and names; what becomes of the sessions is tested with the server.

use socket2::SockRef;

use super::*;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Opens all sockets for the current runtime.
fn doors(bound: &Bound) -> Vec<Door> {
    bound.open().unwrap().into_iter().map(|socket| Door::new(socket).unwrap()).collect()
}

#[test]
fn session_identifiers_differ() {
    let (one, two) = (next_session(), next_session());
    assert_ne!(one, two);
    assert!(one.as_str().len() >= 8 && !one.as_str().contains('?'), "{one}");
}

#[test]
fn ipv6_and_ipv4_wildcards_stand_side_by_side() {
    let v6 = Bound::new("[::]:0".parse().unwrap(), 2).unwrap();
    let port = v6.address().unwrap().port();
    let v4 = Bound::new(SocketAddr::from(([0, 0, 0, 0], port)), 2).unwrap();
    assert_eq!((v6.open().unwrap().len(), v4.open().unwrap().len()), (2, 2));
}

#[test]
fn an_open_port_is_taken_for_another_gate_of_the_same_user() {
    let bound = Bound::new(loopback(), 2).unwrap();
    let address = bound.address().unwrap();
    // It may bind as long as nobody listens, but not listen beside those who do.
    let early = Bound::new(address, 2).unwrap();
    bound.open().unwrap();
    assert_eq!(early.open().unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(Bound::new(address, 2).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(bound.open().unwrap().len(), 2, "once more, as after an error, is no error");
}

#[tokio::test]
async fn every_socket_of_an_address_gets_connections() {
    let doors = doors(&Bound::new(loopback(), 2).unwrap());
    let (one, two) = (&doors[0], &doors[1]);
    assert_eq!(one.address, two.address);
    // The kernel chooses by a hash of the addresses: sooner or later both have had their turn.
    let (mut at_one, mut at_two) = (0, 0);
    while at_one == 0 || at_two == 0 {
        let _client = TcpStream::connect(one.address).await.unwrap();
        tokio::select! {
            accepted = one.socket.accept() => at_one += usize::from(accepted.is_ok()),
            accepted = two.socket.accept() => at_two += usize::from(accepted.is_ok()),
        }
    }
}

#[tokio::test]
async fn an_inherited_socket_serves_all_workers() {
    let mut bound = Bound::new(loopback(), 1).unwrap();
    bound = Bound::inherited(bound.first, 2).unwrap();
    for door in doors(&bound) {
        let client = TcpStream::connect(door.address).await.unwrap();
        let (_, peer) = door.socket.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn connections_inherit_the_options_of_their_listener() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        for door in doors(&Bound::new(address.parse().unwrap(), 1).unwrap()) {
            let port = door.address.port();
            let to = if door.address.is_ipv6() {
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))
            } else {
                ([127, 0, 0, 1], port).into()
            };
            let _client = TcpStream::connect(to).await.unwrap();
            let (stream, peer) = door.socket.accept().await.unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap(), "{address}");
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE, "{address}");
            // Whether or not it was asked for, our address is the right one.
            assert_eq!(door.local.is_none(), door.address.ip().is_unspecified(), "{address}");
            assert_eq!(arrival(stream, peer, &door).unwrap().local, to);
        }
    }
}
