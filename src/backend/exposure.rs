//! What a backend leaves open to whoever reaches it past the gate.
//!
//! For `sealgate check`: nothing is logged in to and no message is sent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ConnectError;
use super::introduce;
use super::probe::see_smtp;
use super::stranger::Stranger;
use super::talk::Talk;
use crate::config::{BackendAddr, Deadlines, Listener};

/// An address of our own host answers at once or not at all.
const OWN_HOST: Duration = Duration::from_secs(1);

/// What is open; the default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// SMTP only: a lone LF ends a command line for it. Servers that are so lenient have been so with the end of a message, too
    /// (CVE-2023-51764).
    pub bare_newline: bool,
    /// SMTP only: it lets us say by XCLIENT who a client is, whether or not we do.
    pub xclient: bool,
    /// Where it answers besides the loopback address that it was asked for at.
    pub elsewhere: Vec<SocketAddr>,
}

/// Looks at one of a listener's backends.
///
/// # Errors
/// It cannot be reached, refuses the identity, or does not speak the protocol.
pub async fn exposure(
    listener: &Listener,
    backend: &BackendAddr,
    hostname: &str,
    deadlines: &Deadlines,
) -> Result<Exposure, ConnectError> {
    let mut found = Exposure { elsewhere: elsewhere(backend).await, ..Exposure::default() };
    if listener.service.takes_mail() {
        let mut talk = Talk::dial(backend, deadlines.connect + deadlines.greeting).await?;
        introduce(&mut talk, listener.identity, &Stranger::new(listener, hostname).caller()).await?;
        found.xclient = see_smtp(&mut talk, listener.identity, hostname).await?.xclient.is_some();
        found.bare_newline = takes_bare_newline(&mut talk).await?;
    }
    Ok(found)
}

/// Two commands to a lenient reader, one to a strict one: then comes the answer to QUIT.
async fn takes_bare_newline(talk: &mut Talk<'_>) -> Result<bool, ConnectError> {
    talk.send(b"NOOP\nNOOP\r\nQUIT\r\n", "answer to NOOP").await?;
    let first = talk.reply("answer to NOOP").await?;
    let second = talk.reply("answer to NOOP").await?;
    Ok([first.code, second.code] == [250, 250])
}

/// The other addresses of this host at which the same port takes connections.
async fn elsewhere(backend: &BackendAddr) -> Vec<SocketAddr> {
    let BackendAddr::Tcp(address) = backend else { return Vec::new() };
    if !address.ip().is_loopback() {
        return Vec::new(); // the administrator has said that it is not for this host alone
    }
    let mut tried = JoinSet::new();
    for own in if_addrs::get_if_addrs().unwrap_or_default() {
        // A link-local address means nothing without its interface.
        if !own.is_loopback() && !matches!(own.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            let other = SocketAddr::new(own.ip(), address.port());
            tried.spawn(async move {
                let connected = timeout(OWN_HOST, TcpStream::connect(other)).await;
                connected.is_ok_and(|connected| connected.is_ok()).then_some(other)
            });
        }
    }
    let mut open: Vec<_> = tried.join_all().await.into_iter().flatten().collect();
    open.sort();
    open.dedup();
    open
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_backend_on_every_address_is_found_at_each_of_them() {
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let mut expected: Vec<_> = (if_addrs::get_if_addrs().unwrap().iter())
            .filter(|own| !own.is_loopback() && own.ip().is_ipv4())
            .map(|own| SocketAddr::new(own.ip(), port))
            .collect();
        expected.sort();
        let backend = |port| BackendAddr::Tcp((Ipv4Addr::LOCALHOST, port).into());
        assert_eq!(elsewhere(&backend(port)).await, expected);
        // Of IMAP there is nothing else to ask, so this connects nowhere else.
        let text = format!(
            "hostname = \"mail.example.com\"\n[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n[[listener]]\n\
             service = \"imap\"\nlisten = [\"127.0.0.1:1\"]\nbackend = \"127.0.0.1:{port}\"\nclient_identity = \"none\"\n"
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        let found = exposure(&config.listeners[0], &backend(port), &config.hostname, &config.deadlines).await.unwrap();
        assert_eq!(found, Exposure { elsewhere: expected, ..Exposure::default() });
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert_eq!(elsewhere(&backend(here.local_addr().unwrap().port())).await, []);
        assert_eq!(elsewhere(&BackendAddr::Unix("/nowhere".into())).await, []);
    }
}
