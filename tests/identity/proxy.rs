//! `client_identity = "proxy-v1"`, `"proxy-v2"` and `"none"`: nothing is read before the dialogue.

use std::time::Duration;

use sealgate::config::{BackendAddr, ClientIdentity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::script::{Scripted, Turn, hear, say};
use super::{PATIENCE, client, dial, listener};

const V1: &[u8] = b"PROXY TCP4 203.0.113.5 192.0.2.10 40000 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x15\xcb\0\x71\x05\xc0\0\x02\x0a\x9c\x40\0\x19\x05\0\x063x7Kq9";

const CASES: [(ClientIdentity, &[u8]); 3] =
    [(ClientIdentity::ProxyV1, V1), (ClientIdentity::ProxyV2, V2), (ClientIdentity::None, b"")];

#[tokio::test]
async fn the_header_comes_first_over_tcp_and_unix_sockets() {
    for (identity, header) in CASES {
        let directory = tempfile::tempdir().unwrap();
        let script = [hear(header), say("220 ready\r\n"), hear("QUIT\r\n"), Turn::HearEnd];
        for backend in [Scripted::tcp(&script, 1_000).await, Scripted::unix(&script, directory.path()).await] {
            let listener = listener("smtp", backend.address.clone(), identity);
            let mut connected = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap();
            assert!(connected.input.is_empty());
            let mut greeting = [0; 11];
            connected.stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"220 ready\r\n");
            let pieces = [std::io::IoSlice::new(b"QU"), std::io::IoSlice::new(b"IT\r\n")];
            assert_eq!(connected.stream.write_vectored(&pieces).await.unwrap(), 6);
            connected.stream.shutdown().await.unwrap();
            backend.done().await;
        }
    }
}

#[tokio::test]
async fn the_header_leaves_in_one_segment_and_nothing_waits_for_more() {
    for (identity, header) in CASES.into_iter().filter(|(_, header)| !header.is_empty()) {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = BackendAddr::Tcp(backend.local_addr().unwrap());
        let listener = listener("smtp", address, identity);
        let connected = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap();
        let (mut stream, _) = backend.accept().await.unwrap();
        let mut seen = [0; 1_000];
        assert_eq!(stream.read(&mut seen).await.unwrap(), header.len());
        match connected.stream {
            sealgate::stream::Backend::Tcp(stream) => assert!(stream.nodelay().unwrap()),
            sealgate::stream::Backend::Unix(_) => panic!("dialled over TCP"),
        }
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let directory = tempfile::tempdir().unwrap();
    for address in [BackendAddr::Tcp(address), BackendAddr::Unix(directory.path().join("nobody"))] {
        let listener = listener("smtp", address.clone(), ClientIdentity::ProxyV2);
        let error = dial(&listener, &client("203.0.113.5:40000"), None, PATIENCE).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cannot connect to backend {address}: ")), "{error}");
        assert_eq!(error.reason().phrase, "backend unreachable");
    }
}

#[tokio::test]
async fn a_silent_backend_is_given_up_in_time() {
    let backend = Scripted::tcp(&[Turn::Sulk], 1).await;
    let limit = Duration::from_millis(50);
    let listener = listener("smtp", backend.address.clone(), ClientIdentity::Xclient);
    let error = dial(&listener, &client("203.0.113.5:40000"), None, limit).await.unwrap_err();
    assert!(error.to_string().contains("no greeting within 50ms"), "{error}");
    assert_eq!(error.reason().outcome.as_str(), "timeout");
    backend.done().await;
}
