//! Sockets and names; what becomes of the sessions is tested with the server.

use socket2::SockRef;

use super::*;

#[test]
fn session_identifiers_differ() {
    let (one, two) = (next_session(), next_session());
    assert_ne!(one, two);
    assert!(one.as_str().len() >= 8 && !one.as_str().contains('?'), "{one}");
}

#[tokio::test]
async fn ipv6_and_ipv4_wildcards_stand_side_by_side() {
    let v6 = bind("[::]:0".parse().unwrap()).unwrap();
    let port = v6.local_addr().unwrap().as_socket().unwrap().port();
    let v4 = bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    let doors = [&v6, &v4].map(|socket| Door::open(socket).unwrap().address.port());
    assert_eq!(doors, [port, port]);
}

#[tokio::test]
async fn an_open_port_is_taken_for_another_gate_of_the_same_user() {
    let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // It may bind as long as nobody listens, but not listen beside those who do.
    let early = bind(address).unwrap();
    Door::open(&socket).unwrap();
    assert_eq!(Door::open(&early).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn connections_inherit_the_options_of_their_listener() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let door = Door::open(&bind(address.parse().unwrap()).unwrap()).unwrap();
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
