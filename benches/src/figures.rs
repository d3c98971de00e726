//! A line per figure: what was measured, the peer or limit beside it, and their ratio.

/// Prints a figure beside its anchor. `ratio` says how the promise compares them.
pub(crate) fn line(what: &str, figure: f64, unit: &str, anchor_name: &str, anchor: f64) {
    let ratio = figure / anchor;
    println!("{what:<58} {figure:>12.1} {unit:<9} {anchor_name:<22} {anchor:>12.1}  ratio {ratio:.2}");
}
