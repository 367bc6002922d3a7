//! How many tokens a round drafts.
//!
//! The tokens never depend on it, so an adaptive length may look at the clock. A round with K drafts emits
//! 1 + p1 + p1 p2 + … tokens, where p_i is the chance that draft i is kept once those before it were, and
//! takes about a + b K nanoseconds; the length with the most tokens per nanosecond is taken.

/// Weight of all that was seen before, at each new round: the last fifty rounds or so count.
const MEMORY: f64 = 0.98;
/// The first rounds alternate between the shortest and the longest draft, to see what each costs.
const FIRST_ROUNDS: usize = 4;
/// Every so many rounds one draft more than the best is tried, because acceptance changes with the text.
const EXPLORE_EVERY: usize = 24;

/// How many tokens a drafter proposes per round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftLen {
    /// Always so many.
    Fixed(usize),
    /// From none to so many, by what has paid off lately.
    Adaptive {
        /// Most tokens per round.
        most: usize,
    },
}

impl DraftLen {
    /// Most tokens per round.
    pub fn most(self) -> usize {
        match self {
            DraftLen::Fixed(len) => len,
            DraftLen::Adaptive { most } => most,
        }
    }
}

impl From<usize> for DraftLen {
    fn from(len: usize) -> Self {
        DraftLen::Fixed(len)
    }
}

/// Decaying sums of one draft slot.
#[derive(Debug, Clone, Default)]
struct Slot {
    tried: f64,
    kept: f64,
}

/// Decaying sums for the least-squares line of nanoseconds over drafts.
#[derive(Debug, Clone, Default)]
struct Line {
    n: f64,
    x: f64,
    xx: f64,
    y: f64,
    xy: f64,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        for sum in [&mut self.n, &mut self.x, &mut self.xx, &mut self.y, &mut self.xy] {
            *sum *= MEMORY;
        }
        self.n += 1.0;
        self.x += x;
        self.xx += x * x;
        self.y += y;
        self.xy += x * y;
    }

    /// Time of a round without drafts and time per draft.
    fn costs(&self) -> (f64, f64) {
        let spread = self.n * self.xx - self.x * self.x;
        let slope = if spread > 1e-9 { (self.n * self.xy - self.x * self.y) / spread } else { 0.0 };
        let slope = slope.max(0.0);
        let start = (self.y - slope * self.x) / self.n.max(1e-9);
        (start.max(1.0), slope)
    }
}

/// The rule that gives every round its length.
#[derive(Debug, Clone)]
pub(super) struct Lengths {
    setting: DraftLen,
    slots: Vec<Slot>,
    line: Line,
    rounds: usize,
}

impl Lengths {
    pub(super) fn new(setting: DraftLen) -> Self {
        let slots = vec![Slot::default(); setting.most()];
        Lengths { setting, slots, line: Line::default(), rounds: 0 }
    }

    /// Drafts for the next round.
    pub(super) fn next(&mut self) -> usize {
        let most = match self.setting {
            DraftLen::Fixed(len) => return len,
            DraftLen::Adaptive { most } => most,
        };
        self.rounds += 1;
        if self.rounds <= FIRST_ROUNDS {
            return if self.rounds % 2 == 1 { most } else { 1 };
        }
        let best = self.best();
        if self.rounds.is_multiple_of(EXPLORE_EVERY) { (best + 1).min(most) } else { best }
    }

    /// Notes a round of `drafted` drafts, of which `kept` were right, and its time.
    pub(super) fn learn(&mut self, drafted: usize, kept: usize, wall_ns: u64) {
        self.line.add(drafted as f64, wall_ns as f64);
        let reached = self.slots.iter_mut().enumerate().take(drafted.min(kept + 1));
        for (i, slot) in reached {
            slot.tried = slot.tried * MEMORY + 1.0;
            slot.kept = slot.kept * MEMORY + f64::from(u8::from(i < kept));
        }
    }

    fn best(&self) -> usize {
        let (start, slope) = self.line.costs();
        let (mut best, mut best_rate) = (0, 1.0 / start);
        let (mut emitted, mut reach, mut chance) = (1.0, 1.0, 0.5);
        for (i, slot) in self.slots.iter().enumerate() {
            // A slot that was hardly tried is taken to be like the one before it.
            chance = (slot.kept + 2.0 * chance) / (slot.tried + 2.0);
            reach *= chance;
            emitted += reach;
            let rate = emitted / (start + slope * (i + 1) as f64);
            if rate > best_rate {
                (best, best_rate) = (i + 1, rate);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::{DraftLen, Lengths};

    /// Average length over `rounds` rounds whose drafts are kept with chance `chance` and whose time is
    /// `start + slope * drafts`.
    fn average(lengths: &mut Lengths, chance: f64, (start, slope): (u64, u64), rounds: u64) -> f64 {
        let mut state = 7u64;
        let mut total = 0;
        for _ in 0..rounds {
            let drafted = lengths.next();
            let mut uniform = || {
                // The constants are Knuth's MMIX generator.
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            let kept = (0..drafted).take_while(|_| uniform() < chance).count();
            lengths.learn(drafted, kept, start + slope * drafted as u64);
            total += drafted;
        }
        total as f64 / rounds as f64
    }

    #[test]
    fn good_cheap_drafts_are_long_and_bad_dear_ones_are_left_out() {
        let adaptive = || Lengths::new(DraftLen::Adaptive { most: 6 });
        assert!(average(&mut adaptive(), 0.95, (1000, 30), 400) > 5.0);
        assert!(average(&mut adaptive(), 0.05, (1000, 800), 400) < 0.5);
        let middle = average(&mut adaptive(), 0.7, (1000, 200), 400);
        assert!((1.0..4.5).contains(&middle), "{middle}");
    }

    #[test]
    fn the_length_follows_the_text() {
        let mut lengths = Lengths::new(DraftLen::Adaptive { most: 6 });
        assert!(average(&mut lengths, 0.02, (1000, 700), 400) < 0.5);
        average(&mut lengths, 0.97, (1000, 20), 600);
        assert!(average(&mut lengths, 0.97, (1000, 20), 100) > 4.0);
    }

    #[test]
    fn a_fixed_length_stays() {
        let mut lengths = Lengths::new(DraftLen::from(3));
        assert!((average(&mut lengths, 0.0, (1, 1), 50) - 3.0).abs() < 1e-9);
    }
}
