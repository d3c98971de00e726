//! File descriptors: each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not connections: the database and its readers, pipes, sinks' own connections.
const OTHERS: usize = 128;

/// Raises the process's own limit, as far as the system lets it, to what `connections` need; returns how
/// many connections there can be.
pub(crate) fn provide(connections: usize) -> usize {
    let needed = connections.saturating_add(OTHERS) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return connections;
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let outcome = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    let there = if outcome.is_ok() { raised } else { current.unwrap_or(raised) };
    let possible = usize::try_from(there).unwrap_or(usize::MAX).saturating_sub(OTHERS).max(1);
    if possible < connections {
        tracing::warn!(
            asked = connections,
            possible,
            "fewer connections than asked for: raise the limit of open files"
        );
    }
    possible.min(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_connections_than_asked_for() {
        assert_eq!(provide(1), 1);
        assert!((1..=usize::MAX).contains(&provide(usize::MAX)));
    }
}
