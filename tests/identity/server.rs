//! A backend that answers each command by rule and notes what it heard.

use std::sync::{Arc, Mutex};

use sealgate::backend::inbound::{Inbound, read_proxy_header};
use sealgate::config::BackendAddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it says to a line; nothing is the end.
pub type Answer = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What it is like.
pub struct Rules {
    /// Whether it waits for a PROXY header first; or else it takes one for commands.
    pub proxy: bool,
    /// What it says first.
    pub greeting: String,
    /// What it says to each line.
    pub answer: Answer,
}

/// A running server; it ends with the test.
pub struct Server {
    pub address: BackendAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = BackendAddr::Tcp(listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (rules, log) = (Arc::new(rules), heard.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that goes away in the middle is no failure of the server.
                tokio::spawn(serve(stream, rules.clone(), log.clone()));
            }
        });
        Self { address, heard }
    }

    /// The lines heard so far, and the clients of PROXY headers as `PROXY address`.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, rules: Arc<Rules>, heard: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    if rules.proxy {
        let Ok(Inbound::Proxied { client, .. }) = read_proxy_header(&mut stream).await else { return Ok(()) };
        heard.lock().unwrap().push(format!("PROXY {client}"));
    }
    stream.write_all(rules.greeting.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        heard.lock().unwrap().push(text.clone());
        match (rules.answer)(&text) {
            Some(answer) => stream.write_all(answer.as_bytes()).await?,
            None => break,
        }
    }
    Ok(())
}
