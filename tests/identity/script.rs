//! A backend that holds one scripted conversation and fails the test at the first octet that is not in the script.

use sealgate::config::BackendAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

/// One turn of the conversation.
#[derive(Clone)]
pub enum Turn {
    /// The backend says this. Of its last words the peer need not hear the end.
    Say(Vec<u8>),
    /// It must hear exactly this.
    Hear(Vec<u8>),
    /// It must hear nothing more than the end.
    HearEnd,
    /// It stays silent until the peer is gone, whatever the peer says.
    Sulk,
}

pub fn say(text: impl AsRef<[u8]>) -> Turn {
    Turn::Say(text.as_ref().to_vec())
}

pub fn hear(text: impl AsRef<[u8]>) -> Turn {
    Turn::Hear(text.as_ref().to_vec())
}

/// A scripted backend; [`Scripted::done`] must be awaited, or its failures stay unseen.
#[must_use = "a conversation that nobody waits for proves nothing"]
pub struct Scripted {
    pub address: BackendAddr,
    conversation: JoinHandle<()>,
}

impl Scripted {
    /// Listens on TCP; what the backend says leaves it in pieces of `piece` octets.
    pub async fn tcp(script: &[Turn], piece: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = BackendAddr::Tcp(listener.local_addr().unwrap());
        let script = script.to_vec();
        let conversation = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            hold(stream, script, piece).await;
        });
        Self { address, conversation }
    }

    /// Listens on a Unix-domain socket in `directory`.
    pub async fn unix(script: &[Turn], directory: &std::path::Path) -> Self {
        let path = directory.join("backend");
        let listener = UnixListener::bind(&path).unwrap();
        let script = script.to_vec();
        let conversation = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            hold(stream, script, usize::MAX).await;
        });
        Self { address: BackendAddr::Unix(path), conversation }
    }

    /// Waits for the end of the conversation.
    pub async fn done(self) {
        tokio::time::timeout(super::PATIENCE, self.conversation).await.expect("the script went on").unwrap();
    }
}

async fn hold<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: Vec<Turn>, piece: usize) {
    let mut turns = script.into_iter().peekable();
    while let Some(turn) = turns.next() {
        match turn {
            Turn::Say(text) => {
                for piece in text.chunks(piece) {
                    let said = stream.write_all(piece).await;
                    assert!(said.is_ok() || turns.peek().is_none(), "{said:?}");
                    tokio::task::yield_now().await;
                }
            }
            Turn::Hear(text) => {
                let mut heard = Vec::new();
                let mut limited = (&mut stream).take(text.len() as u64);
                limited.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard.escape_ascii().to_string(), text.escape_ascii().to_string());
            }
            Turn::HearEnd => {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard.escape_ascii().to_string(), "");
            }
            Turn::Sulk => {
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
            }
        }
    }
}
