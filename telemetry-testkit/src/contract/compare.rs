//! Compares what should have arrived at a destination with what did.

use std::collections::{BTreeMap, HashSet};

use super::verdict::Verdict;
use crate::{Delivered, Harness};

/// What a comparison demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// What arrived of the expected things is in the expected order.
    InOrder,
    /// Everything arrived as often as expected.
    Exactly,
    /// Everything arrived at least as often as expected.
    AtLeastOnce,
    /// Nothing arrived more often than expected.
    AtMostOnce,
    /// Everything arrived at least as often as expected, except for this many.
    AllBut(u64),
}

/// Compares the destination of a harness with `expected`.
pub(super) async fn compare<H: Harness>(harness: &H, mut expected: Delivered, how: Compare) -> Verdict {
    let mut delivered = harness.delivered().await;
    // The events in a span's list were signals of their own. Destinations may repeat them or not.
    for span in expected.spans.iter_mut().chain(&mut delivered.spans) {
        span.events.clear();
    }
    harness.normalize(&mut expected);
    harness.normalize(&mut delivered);
    let (expected, delivered) = (expected.lines(), delivered.lines());
    match how {
        Compare::InOrder => same_order(&expected, &delivered),
        Compare::Exactly => {
            few_missing(&expected, &delivered, 0).and_then(|()| none_extra(&expected, &delivered))
        }
        Compare::AtLeastOnce => few_missing(&expected, &delivered, 0),
        Compare::AtMostOnce => none_extra(&expected, &delivered),
        Compare::AllBut(rejected) => few_missing(&expected, &delivered, rejected),
    }
}

/// Fails if the lines that both sides have are in different orders. Missing and repeated lines belong to other clauses.
fn same_order(expected: &[String], delivered: &[String]) -> Verdict {
    let common = |lines: &[String], others: &[String]| -> Vec<String> {
        let others: HashSet<&String> = others.iter().collect();
        lines.iter().filter(|line| others.contains(line)).cloned().collect()
    };
    let (expected, delivered) = (common(expected, delivered), common(delivered, expected));
    if delivered.is_empty() {
        return Err("nothing arrived, so the order can't be checked".to_owned());
    }
    match expected.iter().zip(&delivered).find(|(expected, delivered)| expected != delivered) {
        Some((expected, delivered)) => {
            Err(format!("out of order: expected {}, found {}", clip(expected), clip(delivered)))
        }
        None => Ok(()),
    }
}

/// Fails if more than `allowed` lines are missing.
fn few_missing(expected: &[String], delivered: &[String], mut allowed: u64) -> Verdict {
    let arrived = counts(delivered);
    for (line, count) in counts(expected) {
        let arrived = arrived.get(line).copied().unwrap_or(0);
        let Some(left) = allowed.checked_sub(count.saturating_sub(arrived)) else {
            return Err(format!("{arrived} of {count} arrived: {}", beside_nearest(line, delivered)));
        };
        allowed = left;
    }
    Ok(())
}

/// Fails if a line arrived more often than expected.
fn none_extra(expected: &[String], delivered: &[String]) -> Verdict {
    let expected = counts(expected);
    for (line, count) in counts(delivered) {
        let written = expected.get(line).copied().unwrap_or(0);
        if count > written {
            return Err(format!("written {written} times, arrived {count} times: {}", clip(line)));
        }
    }
    Ok(())
}

fn counts(lines: &[String]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.as_str()).or_default() += 1;
    }
    counts
}

/// Formats a missing line together with the most similar delivered line, both from shortly before they differ.
fn beside_nearest(missing: &str, delivered: &[String]) -> String {
    let common_prefix =
        |line: &String| line.bytes().zip(missing.bytes()).take_while(|(left, right)| left == right).count();
    let Some(nearest) = delivered.iter().max_by_key(|line| common_prefix(line)) else { return clip(missing) };
    let start = missing.floor_char_boundary(common_prefix(nearest).saturating_sub(40));
    let from = |line: &str| clip(line.get(start..).unwrap_or(line));
    format!("{} … expected {}, nearest {}", clip(missing), from(missing), from(nearest))
}

fn clip(line: &str) -> String {
    const LONGEST: usize = 300;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
