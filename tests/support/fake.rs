//! Backends that misbehave on purpose.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::wire::Wire;

/// A server on loopback that holds the same conversation with everybody.
pub struct Fake {
    /// Its port.
    pub port: u16,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts it on a free port.
    pub fn start(conversation: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        Self::start_on(0, conversation)
    }

    /// Starts it on a port.
    pub fn start_on(port: u16, conversation: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (connections, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let conversation = Arc::new(conversation);
        let (counter, flag) = (connections.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    break;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                let conversation = conversation.clone();
                std::thread::spawn(move || conversation(Wire::over(stream)));
            }
        });
        Self { port, connections, over }
    }

    /// How many came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}
