//! The open connections, and which of them makes room for a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A connection waits at least so long before it makes room: in a rush of new ones, a client still has the
/// time to send a request.
const GRACE: Duration = Duration::from_millis(50);

/// All open connections of one server.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    open: Mutex<Open>,
    /// One has closed.
    closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// One connection: whether it waits for its client, and since when.
#[derive(Debug)]
pub(crate) struct Connection {
    opened: Instant,
    /// Microseconds since the first connection of all, plus one; 0 while a request is worked on.
    waiting_since: AtomicU64,
    origin: Instant,
    evicted: Notify,
}

impl Connection {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// A request is complete and worked on: the connection is not closed for another.
    pub(crate) fn work(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// The client is waited for.
    pub(crate) fn wait(&self) {
        self.waiting_since.store(self.now(), Ordering::Relaxed);
    }

    /// Completes when the connection must make room for another.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Completes if, `after` this time, the connection waits for its client; while it is worked on, never.
    pub(crate) async fn left_waiting(&self, after: Duration) {
        tokio::time::sleep(after).await;
        if self.waiting_since.load(Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }
}

/// Keeps the place of a connection; dropped, the place is free.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
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

    /// A place for one more. At the bound the connection that has waited the longest for its client is
    /// closed; if every one is being answered, or is too new, waits.
    pub(crate) async fn enter(self: &Arc<Self>, origin: Instant) -> Place {
        loop {
            let closed = self.closed.notified();
            if let Some(place) = self.try_enter(origin) {
                return place;
            }
            // Nothing tells when a connection begins to wait, nor when it is new no longer.
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
            // Its place is free once it is closed; until then it is not evicted again.
            connection.work();
            connection.evicted.notify_one();
            tracing::debug!(age = ?connection.age(), "closed a connection to make room for another");
            return None;
        }
        let number = open.next;
        open.next += 1;
        let connection =
            Connection { opened: Instant::now(), waiting_since: 0.into(), origin, evicted: Notify::new() };
        connection.wait();
        let connection = Arc::new(connection);
        open.connections.insert(number, Arc::clone(&connection));
        Some(Place { number, connections: Arc::clone(self), connection })
    }

    /// Waits until every connection has ended.
    pub(crate) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    /// Opens a connection that has waited longer than any that is opened later, and long enough.
    async fn waiting(connections: &Arc<Connections>) -> Place {
        let place = connections.enter(Instant::now()).await;
        place.connection.waiting_since.store(1, Ordering::Relaxed);
        place
    }

    /// The time at which what waits since the beginning has waited long enough.
    fn origin() -> Instant {
        Instant::now().checked_sub(2 * GRACE).unwrap()
    }

    #[tokio::test]
    async fn the_longest_waiting_makes_room_and_one_at_work_does_not() {
        let connections = Connections::new(2);
        let at_work = waiting(&connections).await;
        at_work.connection.work();
        let waiting = waiting(&connections).await;
        assert!(connections.enter(origin()).now_or_never().is_none(), "there is no room yet");
        assert!(waiting.connection.evicted().now_or_never().is_some());
        assert!(at_work.connection.evicted().now_or_never().is_none());
        drop(waiting);
        let newest = connections.enter(origin()).await;
        assert!(connections.enter(origin()).now_or_never().is_none(), "the newest has its time to send");
        newest.connection.work();
        assert!(connections.enter(origin()).now_or_never().is_none(), "all are at work: one more waits");
        drop(at_work);
        assert!(connections.enter(origin()).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_closed_connection_leaves_its_place() {
        let connections = Connections::new(1);
        let first = connections.enter(Instant::now()).await;
        first.connection.work();
        let second = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.enter(Instant::now()).await.number }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap(), 1);
        connections.all_closed().await;
    }
}
