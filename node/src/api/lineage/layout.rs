//! A layered drawing of a graph: what is made from something stands to the right of it.
//!
//! Layers are longest paths. An edge over several layers passes each between them in a lane of its own, which
//! all edges from the same node share, so that it does not run behind nodes. Within a layer nodes and lanes
//! stand in the order of the middle of their neighbours (the barycentre heuristic of Sugiyama, Tagawa and
//! Toda, 1981), by time where that says nothing. Edges that would close a circle, which only dishonest posts
//! draw, are left out of the ordering.

use std::collections::{BTreeMap, VecDeque};

/// Sweeps over all layers, forth and back by turns.
const SWEEPS: usize = 6;
/// Lanes of a drawing; edges for which none is left run straight.
const LANES_MAX: usize = 2_000;
/// Rows that a lane takes. A node takes one.
const LANE_ROWS: f64 = 0.4;

/// A place: column and row, both from 0. Rows need not be whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spot {
    pub(crate) column: usize,
    pub(crate) row: f64,
}

/// Where everything stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// The place of each node.
    pub(crate) spots: Vec<Spot>,
    /// For each edge the places that it passes, one in each column between its ends; none where it leads back
    /// or no lane was left.
    pub(crate) lanes: Vec<Vec<Spot>>,
}

/// Places for nodes with these times. Edges are pairs of indices, from cause to effect; pairs that name
/// no node are ignored.
pub(crate) fn layout(times: &[u64], edges: &[(usize, usize)]) -> Layout {
    let (points, lanes) = Points::new(times, edges);
    let rows = points.rows();
    let top = rows.iter().copied().fold(f64::INFINITY, f64::min);
    let spot = |point: usize| Spot { column: points.columns[point], row: rows[point] - top };
    Layout {
        spots: (0..times.len()).map(spot).collect(),
        lanes: lanes.into_iter().map(|lane| lane.into_iter().map(spot).collect()).collect(),
    }
}

/// Nodes, and after them lanes.
struct Points {
    nodes: usize,
    times: Vec<u64>,
    columns: Vec<usize>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

impl Points {
    /// The points of a graph, and those of each edge's lane.
    fn new(times: &[u64], edges: &[(usize, usize)]) -> (Self, Vec<Vec<usize>>) {
        let nodes = times.len();
        let counts = |(from, to): &(usize, usize)| from != to && *from < nodes && *to < nodes;
        let none = || vec![Vec::new(); nodes];
        let mut whole = Self {
            nodes,
            times: times.to_vec(),
            columns: Vec::new(),
            before: none(),
            after: none(),
        };
        edges.iter().filter(|edge| counts(edge)).for_each(|(from, to)| whole.link(*from, *to));
        let columns = columns(&whole.before, &whole.after);

        let mut points = Self { columns, before: none(), after: none(), ..whole };
        let mut lanes = BTreeMap::new();
        let of_edge = |edge: &(usize, usize)| match counts(edge) {
            true => points.lane(edge.0, edge.1, &mut lanes),
            false => Vec::new(),
        };
        let lanes = edges.iter().map(of_edge).collect();
        (points, lanes)
    }

    fn link(&mut self, from: usize, to: usize) {
        self.after[from].push(to);
        self.before[to].push(from);
    }

    /// Links two nodes by way of the lane that edges from the first have in each column between them.
    fn lane(
        &mut self,
        from: usize,
        to: usize,
        lanes: &mut BTreeMap<(usize, usize), usize>,
    ) -> Vec<usize> {
        let between = self.columns[from] + 1..self.columns[to];
        if lanes.len() + between.len() > LANES_MAX {
            self.link(from, to);
            return Vec::new();
        }
        let mut passed = Vec::new();
        for column in between {
            let last = passed.last().copied().unwrap_or(from);
            let point = *lanes.entry((from, column)).or_insert_with(|| {
                self.times.push(self.times[from]);
                self.columns.push(column);
                self.before.push(Vec::new());
                self.after.push(Vec::new());
                self.link(last, self.times.len() - 1);
                self.times.len() - 1
            });
            passed.push(point);
        }
        self.link(passed.last().copied().unwrap_or(from), to);
        passed
    }

    /// The row of every point.
    fn rows(&self) -> Vec<f64> {
        let count = self.times.len();
        let mut layers: Vec<Vec<usize>> = Vec::new();
        for (point, column) in self.columns.iter().enumerate() {
            layers.resize(layers.len().max(column + 1), Vec::new());
            layers[*column].push(point);
        }
        for layer in &mut layers {
            layer.sort_by_key(|point| (self.times[*point], *point));
        }
        let mut rows = vec![0.0; count];
        for layer in &layers {
            self.place(layer, &vec![None; count], &mut rows);
        }
        for sweep in 0..SWEEPS {
            let forth = sweep % 2 == 0;
            let order: Vec<usize> =
                if forth { (0..layers.len()).collect() } else { (0..layers.len()).rev().collect() };
            for index in order {
                let near = if forth { &self.before } else { &self.after };
                let middles: Vec<Option<f64>> =
                    near.iter().map(|near| middle(near, &rows)).collect();
                let layer = &mut layers[index];
                layer.sort_by(|a, b| {
                    let at = |point: usize| middles[point].unwrap_or(rows[point]);
                    at(*a).total_cmp(&at(*b)).then((self.times[*a], *a).cmp(&(self.times[*b], *b)))
                });
                self.place(layer, &middles, &mut rows);
            }
        }
        rows
    }

    /// Gives a layer's points rows in their order, far enough apart, as near as that goes to where they would
    /// like to be: each run of points that touch stands at the mean of their wishes.
    fn place(&self, layer: &[usize], wishes: &[Option<f64>], rows: &mut [f64]) {
        let takes = |point: usize| if point < self.nodes { 1.0 } else { LANE_ROWS };
        // Where each would stand if the first stood at zero.
        let mut offsets = Vec::with_capacity(layer.len());
        for (index, point) in layer.iter().enumerate() {
            let above = index.checked_sub(1).map(|above| (offsets[above], takes(layer[above])));
            offsets.push(above.map_or(0.0, |(at, above)| at + (above + takes(*point)) / 2.0));
        }
        // Runs of touching points: the sum of where their layers would begin, how many they are.
        let mut runs: Vec<(f64, usize)> = Vec::new();
        for (point, offset) in layer.iter().zip(&offsets) {
            let mut run = (wishes[*point].unwrap_or(rows[*point]) - offset, 1);
            while let Some((sum, many)) = runs.last().copied() {
                if run.0 / run.1 as f64 >= sum / many as f64 {
                    break;
                }
                runs.pop();
                run = (sum + run.0, many + run.1);
            }
            runs.push(run);
        }
        let mut points = layer.iter().zip(offsets);
        for (sum, many) in runs {
            for (point, offset) in points.by_ref().take(many) {
                rows[*point] = sum / many as f64 + offset;
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_is_a_line_and_its_parts_stand_before_what_they_are_for() {
        // 0 → 1 → 2 is a lineage, 3 a bundle of 2.
        let spots = layout(&[0, 1, 2, 2], &[(0, 1), (1, 2), (3, 2)]).spots;
        let columns: Vec<usize> = spots.iter().map(|spot| spot.column).collect();
        assert_eq!(columns, [0, 1, 2, 1]);
        assert!((spots[1].row - spots[3].row).abs() >= 1.0);
        assert!((spots[2].row - (spots[1].row + spots[3].row) / 2.0).abs() < 1e-6, "{spots:?}");
    }

    #[test]
    fn siblings_stand_around_their_parent_by_time() {
        let spots = layout(&[0, 9, 5, 7], &[(0, 1), (0, 2), (0, 3)]).spots;
        assert!(spots[2].row < spots[3].row && spots[3].row < spots[1].row, "{spots:?}");
        assert!((spots[0].row - spots[3].row).abs() < 1e-6, "{spots:?}");
    }

    #[test]
    fn circles_and_nonsense_are_survived() {
        let edges = [(0, 1), (1, 2), (2, 0), (0, 0), (7, 1), (1, 9)];
        let Layout { spots, lanes } = layout(&[1, 2, 3], &edges);
        assert_eq!((spots.len(), lanes.len()), (3, edges.len()));
        assert!(layout(&[], &[(0, 1)]).spots.is_empty());
    }

    #[test]
    fn a_long_edge_goes_around_what_stands_in_between() {
        let edges = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2)];
        let Layout { spots, lanes } = layout(&[0, 1, 2, 3], &edges);
        assert_eq!(lanes.iter().map(Vec::len).collect::<Vec<usize>>(), [0, 0, 0, 2, 1]);
        assert_eq!(lanes[3][0], lanes[4][0], "edges from one node share their lane");
        let apart = |lane: Spot, node: Spot| (lane.row - node.row).abs();
        assert!(apart(lanes[3][0], spots[1]) >= 0.7 - 1e-6, "{spots:?} {lanes:?}");
        assert!(apart(lanes[3][1], spots[2]) >= 0.7 - 1e-6, "{spots:?} {lanes:?}");
    }

    #[test]
    fn edges_for_which_no_lane_is_left_run_straight() {
        let count = 80;
        let chain = (1..count).map(|node| (node - 1, node));
        let edges: Vec<(usize, usize)> =
            chain.chain((0..count - 2).map(|node| (node, count - 1))).collect();
        let Layout { lanes, .. } = layout(&vec![0; count], &edges);
        assert!(lanes.iter().map(Vec::len).sum::<usize>() <= LANES_MAX);
        assert!(lanes[count - 1].len() == count - 2 && lanes.last().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn nobody_stands_on_anybody(
            times in prop::collection::vec(0_u64..50, 1..40),
            edges in prop::collection::vec((0_usize..40, 0_usize..40), 0..80),
        ) {
            let Layout { spots, lanes } = layout(&times, &edges);
            prop_assert_eq!(spots.len(), times.len());
            let clear = |one: &Spot, other: &Spot, rows: f64| {
                one.column != other.column || (one.row - other.row).abs() >= rows - 1e-6
            };
            for (index, one) in spots.iter().enumerate() {
                prop_assert!(one.row.is_finite() && one.row >= 0.0);
                for other in &spots[index + 1..] {
                    prop_assert!(clear(one, other, 1.0), "{:?} {:?}", one, other);
                }
                for lane in lanes.iter().flatten() {
                    prop_assert!(clear(one, lane, (1.0 + LANE_ROWS) / 2.0), "{:?} {:?}", one, lane);
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
            let Layout { spots, lanes } = layout(&times, &edges);
            for ((from, to), lane) in edges.into_iter().zip(lanes) {
                let passed = lane.iter().map(|spot| spot.column);
                prop_assert!(passed.eq(spots[from].column + 1..spots[to].column));
            }
        }
    }
}
