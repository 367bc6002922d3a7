//! A layered drawing of a graph: what is made from something stands to the right of it.
//!
//! Layers are longest paths. Within a layer nodes stand in the order of the middle of their neighbours
//! (the barycentre heuristic of Sugiyama, Tagawa and Toda, 1981), by time where that says nothing. Edges
//! that would close a circle, which only dishonest posts draw, are left out of the ordering.

use std::collections::VecDeque;

/// Sweeps over all layers, forth and back by turns.
const SWEEPS: usize = 6;

/// A node's place: column and row, both from 0. Rows need not be whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spot {
    pub(crate) column: usize,
    pub(crate) row: f64,
}

/// Places for nodes with these times. Edges are pairs of indices, from cause to effect; pairs that name
/// no node are ignored.
pub(crate) fn layout(times: &[u64], edges: &[(usize, usize)]) -> Vec<Spot> {
    let count = times.len();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, to) in edges.iter().copied().filter(|(from, to)| from != to) {
        if from < count && to < count {
            after[from].push(to);
            before[to].push(from);
        }
    }
    let columns = columns(&before, &after);
    let mut layers: Vec<Vec<usize>> = Vec::new();
    for (node, column) in columns.iter().enumerate() {
        layers.resize(layers.len().max(column + 1), Vec::new());
        layers[*column].push(node);
    }
    for layer in &mut layers {
        layer.sort_by_key(|node| (times[*node], *node));
    }
    let mut rows = vec![0.0; count];
    for layer in &layers {
        place(layer, &vec![None; count], &mut rows);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let order: Vec<usize> =
            if forth { (0..layers.len()).collect() } else { (0..layers.len()).rev().collect() };
        for index in order {
            let near = if forth { &before } else { &after };
            let middles: Vec<Option<f64>> =
                (0..count).map(|node| middle(&near[node], &rows)).collect();
            let layer = &mut layers[index];
            layer.sort_by(|a, b| {
                let at = |node: usize| middles[node].unwrap_or(rows[node]);
                at(*a).total_cmp(&at(*b)).then((times[*a], *a).cmp(&(times[*b], *b)))
            });
            place(layer, &middles, &mut rows);
        }
    }
    let top = rows.iter().copied().fold(f64::INFINITY, f64::min);
    let spot = |(column, row): (usize, f64)| Spot { column, row: row - top };
    columns.into_iter().zip(rows).map(spot).collect()
}

/// The longest path to every node; nodes without a cause stand right before what they lead to.
fn columns(before: &[Vec<usize>], after: &[Vec<usize>]) -> Vec<usize> {
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut ready: VecDeque<usize> = (0..waits.len()).filter(|node| waits[*node] == 0).collect();
    let mut columns = vec![0_usize; waits.len()];
    let mut order = Vec::new();
    while order.len() < waits.len() {
        // What is left when nothing is ready stands in a circle; its first node breaks it.
        let next = ready.pop_front().or_else(|| (0..waits.len()).find(|node| waits[*node] > 0));
        let Some(node) = next else { break };
        waits[node] = 0;
        order.push(node);
        for to in &after[node] {
            if waits[*to] > 0 {
                columns[*to] = columns[*to].max(columns[node] + 1);
                waits[*to] -= 1;
                if waits[*to] == 0 {
                    ready.push_back(*to);
                }
            }
        }
    }
    for node in order.into_iter().rev() {
        let nearest = after[node].iter().map(|to| columns[*to]).min();
        if let (true, Some(nearest)) = (before[node].is_empty(), nearest) {
            columns[node] = columns[node].max(nearest.saturating_sub(1));
        }
    }
    columns
}

/// The middle of some nodes' rows.
fn middle(nodes: &[usize], rows: &[f64]) -> Option<f64> {
    let sum: f64 = nodes.iter().map(|node| rows[*node]).sum();
    (!nodes.is_empty()).then(|| sum / nodes.len() as f64)
}

/// Gives a layer's nodes rows in their order, at least one apart, as near as that goes to where they
/// would like to be: each run of nodes that touch stands at the mean of their wishes.
fn place(layer: &[usize], wishes: &[Option<f64>], rows: &mut [f64]) {
    // Runs of touching nodes: the sum of where their first would stand, how many they are.
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for node in layer {
        let mut run = (wishes[*node].unwrap_or(rows[*node]), 1);
        while let Some((sum, many)) = runs.last().copied() {
            let (top, own) = (sum / many as f64, run.0 / run.1 as f64);
            if own >= top + many as f64 {
                break;
            }
            runs.pop();
            // The nodes of the lower run wish for a start that is `many` rows higher.
            run = (sum + run.0 - (many * run.1) as f64, many + run.1);
        }
        runs.push(run);
    }
    let mut nodes = layer.iter();
    for (sum, many) in runs {
        for (offset, node) in nodes.by_ref().take(many).enumerate() {
            rows[*node] = sum / many as f64 + offset as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_is_a_line_and_its_parts_stand_before_what_they_are_for() {
        // 0 → 1 → 2 is a lineage, 3 a bundle of 2.
        let spots = layout(&[0, 1, 2, 2], &[(0, 1), (1, 2), (3, 2)]);
        let columns: Vec<usize> = spots.iter().map(|spot| spot.column).collect();
        assert_eq!(columns, [0, 1, 2, 1]);
        assert!((spots[1].row - spots[3].row).abs() >= 1.0);
        assert!((spots[2].row - (spots[1].row + spots[3].row) / 2.0).abs() < 1e-6, "{spots:?}");
    }

    #[test]
    fn siblings_stand_around_their_parent_by_time() {
        let spots = layout(&[0, 9, 5, 7], &[(0, 1), (0, 2), (0, 3)]);
        assert!(spots[2].row < spots[3].row && spots[3].row < spots[1].row, "{spots:?}");
        assert!((spots[0].row - spots[3].row).abs() < 1e-6, "{spots:?}");
    }

    #[test]
    fn circles_and_nonsense_are_survived() {
        let spots = layout(&[1, 2, 3], &[(0, 1), (1, 2), (2, 0), (0, 0), (7, 1), (1, 9)]);
        assert_eq!(spots.len(), 3);
        assert!(layout(&[], &[(0, 1)]).is_empty());
    }

    proptest! {
        #[test]
        fn nobody_stands_on_anybody(
            times in prop::collection::vec(0_u64..50, 1..40),
            edges in prop::collection::vec((0_usize..40, 0_usize..40), 0..80),
        ) {
            let spots = layout(&times, &edges);
            prop_assert_eq!(spots.len(), times.len());
            for (index, one) in spots.iter().enumerate() {
                prop_assert!(one.row.is_finite() && one.row >= 0.0);
                for other in &spots[index + 1..] {
                    let apart = (one.row - other.row).abs() >= 1.0 - 1e-6;
                    prop_assert!(one.column != other.column || apart, "{:?} {:?}", one, other);
                }
            }
        }

        #[test]
        fn causes_stand_left_of_effects_where_there_is_no_circle(
            times in prop::collection::vec(0_u64..50, 2..30),
            edges in prop::collection::vec((0_usize..30, 0_usize..30), 0..60),
        ) {
            let edges: Vec<(usize, usize)> = edges
                .into_iter()
                .map(|(a, b)| (a % times.len(), b % times.len()))
                .filter(|(a, b)| a < b)
                .collect();
            let spots = layout(&times, &edges);
            for (from, to) in edges {
                prop_assert!(spots[from].column < spots[to].column);
            }
        }
    }
}
