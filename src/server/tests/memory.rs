//! What a session holds while nothing happens in it.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::buffers;

#[tokio::test]
async fn a_session_is_small() {
    let bench = bench("smtp", LogFormat::Text, "", "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let arrival = Arrival { stream, peer: address, local: address, listener: address, session: SessionId::new("TEST") };
    let session = session::run(bench.gate.listeners[0].shared.clone(), arrival, ());
    let size = size_of_val(&session);
    println!("a session's future: {size} octets");
    // This is what a session holds while it idles, with the memory of sockets, TLS and a record of some 400 octets: there
    // are thousands of them. What is done with before the relay begins belongs into `begin`, which is boxed.
    // A place takes 40 octets, tokio 104: 896 in all is as much as an allocator has a class for, and the next is 1,024.
    assert!(size <= 752, "{size} octets");
}

/// A client inside TLS.
async fn secured(bench: &Bench) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(bench.chain.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(bench.gate.addresses()[0].1).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("mail.example.com".try_into().unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn a_session_whose_backend_takes_its_time_holds_no_buffer() {
    for words in ["EHLO client.example.com\r\n".to_owned(), "NOOP\r\n".repeat(600)] {
        let mut bench = bench("submissions", LogFormat::Text, "", "drain = \"1ms\"").await;
        let mut client = secured(&bench).await;
        bench.silent.store(true, Ordering::Relaxed);
        while bench.dialled.try_recv().is_ok() {}
        client.write_all(words.as_bytes()).await.unwrap();
        client.flush().await.unwrap();
        bench.dialled.recv().await.unwrap();
        // The session runs on this thread: what it has borrowed is missing from this thread's pool.
        assert!(buffers::at_rest() > 0, "{} octets", words.len());
        bench.end().await;
    }
}
