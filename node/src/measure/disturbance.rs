//! When a machine is too busy to measure on, and when a measurement saw so much else happen on it that it
//! is taken again.

use super::message::Progress;
use assay_protocol::measurement::Measurement;
use std::time::Duration;
use tokio::time::Instant;

/// A timed loop this many times as long as its arm's median was interrupted.
const OUTLIER: u64 = 3;
/// A clock below this share of what it was has been throttled.
const CLOCK_PERCENT_MIN: u32 = 70;
/// A machine that grew this much hotter was cold when it began, and slowed down since.
const WARMING_CELSIUS_MAX: u32 = 30;
/// Load a processor beyond which a machine is busy with something else. A measurement on a software
/// adapter keeps as many threads busy as there are processors; the nodes, tests and compilers that
/// share a small machine with it take a few times that, and must not keep each other waiting.
const BUSY_MILLI: u32 = 8_000;
/// Pause between two looks at the load.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The largest load average, times 1000, that a machine with `cores` processors may begin with.
pub(super) fn busy_milli(cores: usize) -> u32 {
    u32::try_from(cores).unwrap_or(u32::MAX).max(1).saturating_mul(BUSY_MILLI)
}

/// Waits while the machine is busy with something else, for `patience` at most, and tells `progress` of
/// every load that it sees. What is measured after that on a busy machine is disturbed.
pub(super) async fn wait_for_quiet(
    load_milli: impl Fn() -> u32,
    cores: usize,
    (patience, pause): (Duration, Duration),
    progress: &mut (impl FnMut(Progress) + Send),
) {
    let begun = Instant::now();
    loop {
        let load = load_milli();
        let left = patience.saturating_sub(begun.elapsed());
        if load <= busy_milli(cores) || left.is_zero() {
            return;
        }
        let what = format!(
            "waiting for the machine to become quiet: its load is {} on {cores} processors",
            decimal(load)
        );
        progress(Progress { done: 0, total: 0, what, parted: None });
        tokio::time::sleep(pause.min(left)).await;
    }
}

/// Thousandths as a decimal number.
fn decimal(milli: u32) -> String {
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

/// What disturbed `measurement` on a machine with `cores` processors, if anything did.
///
/// The limits are wide: pairs interleave the arms, so common noise cancels, and small shared
/// machines must be able to measure at all.
pub(super) fn disturbance(measurement: &Measurement, cores: usize) -> Option<String> {
    let environment = &measurement.environment;
    let rise = environment.load_after_milli.saturating_sub(environment.load_before_milli);
    // The measurement itself may keep every core busy; as much again is somebody else's.
    let most = u32::try_from(cores).unwrap_or(u32::MAX).max(1).saturating_mul(2000);
    if rise > most {
        return Some(format!("the load average rose by {}", decimal(rise)));
    }
    let before = environment.load_before_milli;
    if before > busy_milli(cores) {
        return Some(format!("the load average was {} when it began", decimal(before)));
    }
    let (clock, began) = (environment.clock_after_mhz, environment.clock_before_mhz);
    if clock > 0 && u64::from(clock) * 100 < u64::from(began) * u64::from(CLOCK_PERCENT_MIN) {
        return Some(format!("the processor's clock fell from {began} to {clock} MHz"));
    }
    let (hot, cool) =
        (environment.temperature_after_celsius, environment.temperature_before_celsius);
    if cool > 0 && hot.saturating_sub(cool) > WARMING_CELSIUS_MAX {
        return Some(format!("the machine warmed up from {cool} to {hot} °C"));
    }
    let pairs = &measurement.pairs;
    let x: Vec<u64> = pairs.iter().map(|pair| pair.x_ns).collect();
    let y: Vec<u64> = pairs.iter().map(|pair| pair.y_ns).collect();
    [("X", x), ("Y", y)].into_iter().find_map(|(arm, times_ns)| {
        let limit = median(&times_ns)?.saturating_mul(OUTLIER);
        let pair = times_ns.iter().position(|&ns| ns > limit)?;
        Some(format!("pair {} of arm {arm} took over {OUTLIER} times the median", pair + 1))
    })
}

/// The middle value, the upper one of two.
fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::measurement::{ArmReport, Environment, Pair, Score};

    fn measurement(times_ns: &[(u64, u64)]) -> Measurement {
        let pair = |&(x_ns, y_ns): &(u64, u64)| Pair {
            prompt: 0,
            x_ns,
            y_ns,
            x_prefill_us: 1,
            y_prefill_us: 1,
            x_tokens: [0; 16],
            y_tokens: [0; 16],
            x_score: Score::default(),
            y_score: Score::default(),
            base_nll_micronats: 0,
        };
        Measurement {
            pairs: times_ns.iter().map(pair).collect(),
            x: ArmReport::default(),
            y: ArmReport::default(),
            environment: Environment::default(),
        }
    }

    #[test]
    fn even_times_pass() {
        assert_eq!(disturbance(&measurement(&[(10, 20), (12, 19), (29, 40)]), 2), None);
        assert_eq!(disturbance(&measurement(&[]), 2), None);
    }

    #[test]
    fn an_interrupted_loop_is_named() {
        let found = disturbance(&measurement(&[(10, 20), (10, 20), (10, 61)]), 2).unwrap();
        assert!(found.contains("pair 3 of arm Y"), "{found}");
    }

    #[test]
    fn load_beyond_the_own_counts() {
        let mut measured = measurement(&[(10, 20)]);
        measured.environment.load_before_milli = 500;
        measured.environment.load_after_milli = 4500;
        assert_eq!(disturbance(&measured, 2), None);
        measured.environment.load_after_milli = 4501;
        assert!(disturbance(&measured, 2).unwrap().contains("4.001"));
    }

    #[test]
    fn a_machine_that_was_busy_all_along_is_disturbed() {
        let mut measured = measurement(&[(10, 20)]);
        let environment = &mut measured.environment;
        (environment.load_before_milli, environment.load_after_milli) = (16_000, 12_000);
        assert_eq!(disturbance(&measured, 2), None);
        measured.environment.load_before_milli = 40_000;
        measured.environment.load_after_milli = 40_000;
        assert!(disturbance(&measured, 2).unwrap().contains("was 40.000 when it began"));
        assert_eq!(disturbance(&measured, 5), None);
    }

    #[tokio::test]
    async fn a_busy_machine_is_waited_for_and_not_for_ever() {
        let (ample, pause) = (Duration::from_secs(600), Duration::from_millis(1));
        let loads = std::sync::Mutex::new(vec![16_000, 16_001, 40_000]);
        let next = || loads.lock().unwrap().pop().unwrap();
        let mut heard = Vec::new();
        let mut hear = |progress: Progress| heard.push(progress.what);
        wait_for_quiet(next, 2, (ample, pause), &mut hear).await;
        assert!(loads.lock().unwrap().is_empty());
        assert_eq!(heard.len(), 2);
        assert!(heard[0].contains("load is 40.000 on 2 processors"), "{heard:?}");
        let mut nothing = |progress: Progress| panic!("{}", progress.what);
        wait_for_quiet(|| u32::MAX, 2, (Duration::ZERO, pause), &mut nothing).await;
        wait_for_quiet(|| 16_000, 2, (ample, ample), &mut nothing).await;
    }

    #[test]
    fn throttling_counts_where_the_system_tells() {
        let mut measured = measurement(&[(10, 20)]);
        let environment = &mut measured.environment;
        (environment.clock_before_mhz, environment.clock_after_mhz) = (3000, 2100);
        (environment.temperature_before_celsius, environment.temperature_after_celsius) = (40, 70);
        assert_eq!(disturbance(&measured, 2), None);
        measured.environment.clock_after_mhz = 2099;
        assert!(disturbance(&measured, 2).unwrap().contains("3000 to 2099 MHz"));
        measured.environment.clock_after_mhz = 0;
        assert_eq!(disturbance(&measured, 2), None);
        measured.environment.temperature_after_celsius = 71;
        assert!(disturbance(&measured, 2).unwrap().contains("40 to 71"));
        measured.environment.temperature_before_celsius = 0;
        assert_eq!(disturbance(&measured, 2), None);
    }
}
