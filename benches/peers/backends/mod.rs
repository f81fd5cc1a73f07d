//! The servers behind every subject: as little work as a mail server can do, in the harness's own process.

mod auth;
mod imap;
mod smtp;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};

use crate::wire::do_not_pace;

/// What the backends listen on. They live as long as the runtime.
#[derive(Debug, Clone)]
pub struct Backends {
    pub imap: SocketAddr,
    pub smtp: SocketAddr,
    /// The HTTP responder that nginx's mail module asks where to go.
    pub auth: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Backends {
    pub async fn start() -> std::io::Result<Self> {
        let open = Arc::new(AtomicUsize::new(0));
        let imap = serve(&open, imap::session).await?;
        let smtp = serve(&open, smtp::session).await?;
        let auth = serve(&open, move |stream| auth::answer(stream, imap.port(), smtp.port())).await?;
        Ok(Self { imap, smtp, auth, open })
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

async fn serve<F, A>(open: &Arc<AtomicUsize>, answer: A) -> std::io::Result<SocketAddr>
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    do_not_pace(&listener)?; // what it accepts takes after it
    let address = listener.local_addr()?;
    let open = open.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let session = answer(stream);
            let place = Place::take(&open);
            tokio::spawn(async move {
                let _place = place;
                // How a session ended is judged by the load: a subject may cut one off that it no longer needs.
                let _ = session.await;
            });
        }
    });
    Ok(address)
}

/// Counts a connection as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
