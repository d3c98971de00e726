//! The open connections, and which one is closed to make room for a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;

/// Shortest time that a connection waits for its client before it is closed to make room. In a rush of new
/// connections, a client still has time to send a request.
const GRACE: Duration = Duration::from_millis(50);

/// All open connections of one server.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    open: Mutex<Open>,
    /// Notified when a connection has closed.
    closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// One connection, with the time since when it waits for its client.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// Microseconds from `origin`, plus one. 0 while a request is processed.
    waiting_since: AtomicU64,
    origin: Instant,
    evicted: Notify,
}

impl Connection {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Marks the connection as processing a request. It is not closed to make room.
    pub(super) fn start_request(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Marks the connection as waiting for its client.
    pub(super) fn start_waiting(&self) {
        self.waiting_since.store(self.now(), Ordering::Relaxed);
    }

    /// Completes when the connection has to make room for another.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Completes after the time `after` if the connection then waits for its client. Otherwise never completes.
    pub(super) async fn left_waiting(&self, after: Duration) {
        tokio::time::sleep(after).await;
        if self.waiting_since.load(Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
    }

    fn age(&self) -> Duration {
        self.opened.elapsed()
    }
}

/// The place of a connection. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    connections: Arc<Connections>,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().connections.remove(&self.number);
        self.connections.closed.notify_waiters();
    }
}

impl Connections {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default(), closed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    /// Waits for a place. If there is none, closes the connection that has waited the longest for its client,
    /// unless it is too new. Connections that process a request are never closed.
    pub(super) async fn enter(self: &Arc<Self>, origin: Instant) -> Place {
        loop {
            let closed = self.closed.notified();
            if let Some(place) = self.try_enter(origin) {
                return place;
            }
            // There is no notification for a connection that starts to wait, or that becomes old enough.
            let _ = tokio::time::timeout(GRACE / 4, closed).await;
        }
    }

    fn try_enter(self: &Arc<Self>, origin: Instant) -> Option<Place> {
        let mut open = self.lock();
        if open.connections.len() >= self.max {
            let waiting = open.connections.iter().filter_map(|(number, connection)| {
                let since = connection.waiting_since.load(Ordering::Relaxed);
                (since > 0).then_some((since, *number))
            });
            let (since, longest) = waiting.min()?;
            let grace = u64::try_from(GRACE.as_micros()).unwrap_or(u64::MAX);
            if u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX) < since.saturating_add(grace) {
                return None;
            }
            let connection = open.connections.get(&longest)?;
            // Its place is free once it is closed. Until then it must not be chosen again.
            connection.start_request();
            connection.evicted.notify_one();
            tracing::debug!(age = ?connection.age(), "http: closed a waiting connection to make room for a new one");
            return None;
        }
        let number = open.next;
        open.next += 1;
        let connection =
            Connection { opened: Instant::now(), waiting_since: 0.into(), origin, evicted: Notify::new() };
        connection.start_waiting();
        let connection = Arc::new(connection);
        open.connections.insert(number, Arc::clone(&connection));
        Some(Place { number, connections: Arc::clone(self), connection })
    }

    /// Waits until every connection has closed.
    pub(super) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// File descriptors for everything except connections: databases, pipes, connections of sinks.
const OTHER_DESCRIPTORS: usize = 128;

/// Raises the process's limit of open files for `connections`, as far as the system allows. Returns how many
/// connections are possible.
pub(crate) fn possible_connections(connections: usize) -> usize {
    let needed = connections.saturating_add(OTHER_DESCRIPTORS) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return connections;
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let outcome = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    let available = if outcome.is_ok() { raised } else { current.unwrap_or(raised) };
    let possible = usize::try_from(available).unwrap_or(usize::MAX).saturating_sub(OTHER_DESCRIPTORS).max(1);
    if possible < connections {
        tracing::warn!(
            max_connections = connections,
            possible,
            "http: the server accepts fewer connections than `max_connections`; raise the limit of open files"
        );
    }
    possible.min(connections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    /// Opens a connection that has waited longer than every one opened later, and long enough to be closed.
    async fn waiting(connections: &Arc<Connections>) -> Place {
        let place = connections.enter(Instant::now()).await;
        place.connection.waiting_since.store(1, Ordering::Relaxed);
        place
    }

    /// Returns an origin from which the grace period has passed already.
    fn origin() -> Instant {
        Instant::now().checked_sub(2 * GRACE).unwrap()
    }

    #[tokio::test]
    async fn the_longest_waiting_connection_is_closed_and_a_busy_one_is_not() {
        let connections = Connections::new(2);
        let busy = waiting(&connections).await;
        busy.connection.start_request();
        let waiting = waiting(&connections).await;
        assert!(connections.enter(origin()).now_or_never().is_none(), "there is no room yet");
        assert!(waiting.connection.evicted().now_or_never().is_some());
        assert!(busy.connection.evicted().now_or_never().is_none());
        drop(waiting);
        let newest = connections.enter(origin()).await;
        assert!(
            connections.enter(origin()).now_or_never().is_none(),
            "the newest has time to send a request"
        );
        newest.connection.start_request();
        assert!(connections.enter(origin()).now_or_never().is_none(), "all are busy: one more waits");
        drop(busy);
        assert!(connections.enter(origin()).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_closed_connection_frees_its_place() {
        let connections = Connections::new(1);
        let first = connections.enter(Instant::now()).await;
        first.connection.start_request();
        let second = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter(Instant::now()).await.number }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap(), 1);
        connections.all_closed().await;
    }

    #[test]
    fn there_are_never_more_connections_than_the_setting_allows() {
        assert_eq!(possible_connections(1), 1);
        assert!((1..=usize::MAX).contains(&possible_connections(usize::MAX)));
    }
}
