//! Backends that misbehave on purpose.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::ports::{free_port, is_listening};
use super::wait::until;
use super::wire::Wire;

type Conversation = Arc<dyn Fn(Wire) + Send + Sync>;

/// A server on loopback that holds the same conversation with everybody, until it is told to hold another.
pub struct Fake {
    /// Its port.
    pub port: u16,
    conversation: Arc<Mutex<Conversation>>,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts it on a free port.
    pub fn start(conversation: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        Self::start_on(free_port(), conversation)
    }

    /// Starts it on a port.
    pub fn start_on(port: u16, conversation: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        let listener = bind(port);
        let fake = Self {
            port,
            conversation: Arc::new(Mutex::new(Arc::new(conversation))),
            connections: Arc::default(),
            over: Arc::default(),
        };
        let (conversation, connections, over) =
            (fake.conversation.clone(), fake.connections.clone(), fake.over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let conversation = conversation.lock().expect("no panic").clone();
                std::thread::spawn(move || conversation(Wire::over(stream)));
            }
        });
        fake
    }

    /// From now on, another conversation.
    pub fn instead(&self, conversation: impl Fn(Wire) + Send + Sync + 'static) {
        *self.conversation.lock().expect("no panic") = Arc::new(conversation);
    }

    /// How many came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Connections of an earlier fake on that port may still be closing.
fn bind(port: u16) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("a port");
    socket.listen(64).expect("a listener");
    socket.into()
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then closes the port.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        until("the fake's port is closed", || (!is_listening(self.port)).then_some(()));
    }
}

/// An SMTP server that takes mail for its own domain and relays for nobody; `special` may answer a line in its own way,
/// and ends the connection by giving false.
pub fn smtp(special: impl Fn(&str, &mut Wire) -> Option<bool> + Send + Sync + 'static) -> impl Fn(Wire) + Send + Sync {
    move |mut wire| {
        wire.send("220 old.example.net ESMTP\r\n");
        while let Some(line) = wire.line() {
            let verb = line.to_ascii_uppercase();
            match special(&verb, &mut wire) {
                Some(true) => continue,
                Some(false) => return,
                None => {}
            }
            let answer = match verb.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    "250-old.example.net\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250-CHUNKING\r\n250 8BITMIME"
                }
                "RCPT" if !verb.contains("@EXAMPLE.NET") => "554 5.7.1 Relay access denied",
                "AUTH" => "235 2.7.0 Authentication successful",
                "DATA" => "354 End data with <CR><LF>.<CR><LF>",
                "QUIT" => "221 2.0.0 Bye",
                _ => "250 2.0.0 Ok",
            };
            if wire.try_send(format!("{answer}\r\n").as_bytes()).is_err() || answer.starts_with("221") {
                return;
            }
            if answer.starts_with("354") {
                while wire.line().is_some_and(|line| line != ".") {}
                if wire.try_send(b"250 2.0.0 Ok: queued\r\n").is_err() {
                    return;
                }
            }
        }
    }
}
