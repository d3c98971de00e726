//! A stand-in for an OpenTelemetry Collector that is slow or never answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::wait::{DEADLINE, eventually};

/// How the collector answers a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Answers 200 after this time.
    Slow(Duration),
    /// Never answers.
    Silent,
}

/// Accepts connections and reads requests without decoding them. Its threads run until the test program exits.
#[derive(Debug)]
pub struct Collector {
    url: String,
    requests: Arc<AtomicUsize>,
    /// True once waiting requests shall end.
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn start(behaviour: Behaviour) -> Result<Self> {
        Self::start_at("127.0.0.1:0", behaviour)
    }

    /// Listens at a given address, for a collector that starts late.
    ///
    /// # Errors
    ///
    /// If the address is in use.
    pub fn start_at(address: &str, behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let url = format!("http://{}", listener.local_addr()?);
        let collector = Self { url, requests: Arc::default(), released: Arc::default() };
        let (requests, released) = (Arc::clone(&collector.requests), Arc::clone(&collector.released));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (requests, released) = (Arc::clone(&requests), Arc::clone(&released));
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while read_request(&mut stream).is_some() {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let (lock, changed) = &*released;
                        let wait = match behaviour {
                            Behaviour::Slow(wait) => wait,
                            Behaviour::Silent => DEADLINE,
                        };
                        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
                        drop(changed.wait_timeout_while(guard, wait, |released| !*released));
                        if behaviour == Behaviour::Silent {
                            return;
                        }
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if stream.get_mut().write_all(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(collector)
    }

    /// Returns the collector's address as `http://ADDR`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until `count` requests have arrived, answered or not.
    ///
    /// # Errors
    ///
    /// If they do not arrive in time.
    pub fn wait_for_requests(&self, count: usize) -> Result<()> {
        let arrived = || (self.requests.load(Ordering::SeqCst) >= count).then_some(());
        eventually("requests arrive at the collector", arrived)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        *self.released.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.1.notify_all();
    }
}

/// Reads one request. Returns `None` at the end of the connection.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    stream.read_exact(&mut vec![0; length]).ok()
}
