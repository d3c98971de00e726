//! A stand-in for a collector that behaves badly.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::wait::{DEADLINE, eventually};

/// How the collector treats a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// Takes its time before it says 200.
    Slow(Duration),
    /// Reads, and never answers.
    Silent,
}

/// Something that listens where a collector should: it reads requests and decodes nothing. Stops with its program.
#[derive(Debug)]
pub struct Collector {
    url: String,
    requests: Arc<AtomicUsize>,
    /// Held requests are let go.
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn start(manner: Manner) -> Result<Self> {
        Self::start_at("127.0.0.1:0", manner)
    }

    /// Listens at an address, for a collector that comes late.
    ///
    /// # Errors
    ///
    /// When somebody else does.
    pub fn start_at(address: &str, manner: Manner) -> Result<Self> {
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
                        let wait = match manner {
                            Manner::Slow(wait) => wait,
                            Manner::Silent => DEADLINE,
                        };
                        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
                        drop(changed.wait_timeout_while(guard, wait, |released| !*released));
                        if manner == Manner::Silent {
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

    /// Where it listens: `http://ADDR`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until so many requests have come, answered or not.
    ///
    /// # Errors
    ///
    /// When they don't come in time.
    pub fn wait_for_requests(&self, count: usize) -> Result<()> {
        let asked = || (self.requests.load(Ordering::SeqCst) >= count).then_some(());
        eventually("the collector is asked", asked)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        *self.released.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.1.notify_all();
    }
}

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
