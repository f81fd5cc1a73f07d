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
    // A link-local address means nothing without its interface.
    let own = if_addrs::get_if_addrs().unwrap_or_default().into_iter().filter(|own| !own.is_loopback());
    let own = own.map(|own| own.ip()).filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    answering(own, address.port()).await
}

/// At which of the addresses the port takes connections.
async fn answering(addresses: impl Iterator<Item = IpAddr>, port: u16) -> Vec<SocketAddr> {
    let mut tried = JoinSet::new();
    for ip in addresses {
        let other = SocketAddr::new(ip, port);
        tried.spawn(async move {
            let connected = timeout(OWN_HOST, TcpStream::connect(other)).await;
            connected.is_ok_and(|connected| connected.is_ok()).then_some(other)
        });
    }
    let mut open: Vec<_> = tried.join_all().await.into_iter().flatten().collect();
    open.sort();
    open.dedup();
    open
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_backend_is_found_at_each_address_at_which_it_answers() {
        let [second, third, fourth] = [2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let here = TcpListener::bind((third, 0)).await.unwrap();
        let port = here.local_addr().unwrap().port();
        let addresses = [fourth, third, second, third].map(IpAddr::from);
        assert_eq!(answering(addresses.into_iter(), port).await, [here.local_addr().unwrap()]);
        // On loopback alone it is nowhere else.
        assert_eq!(elsewhere(&BackendAddr::Tcp((third, port).into())).await, []);
        assert_eq!(elsewhere(&BackendAddr::Unix("/nowhere".into())).await, []);
    }
}
