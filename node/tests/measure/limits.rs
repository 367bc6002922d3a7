//! What happens to jobs that cannot be measured and to workers that misbehave.

use crate::support::{AMPLE, Bench, no_process_is_left, run};
use assay_node::measure::lock::HostLock;
use assay_node::measure::{self, MeasureError};
#[cfg(unix)]
use assay_protocol::measurement::{ArmReport, Environment, Measurement, Pair, Score};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

/// What the worker makes of `input`.
fn worker(input: &[u8]) -> Output {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_assay"))
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The worker may stop reading before it has everything.
    let _ = worker.stdin.take().unwrap().write_all(input);
    worker.wait_with_output().unwrap()
}

#[test]
fn measure_refuses_garbage_jobs() {
    let endless = vec![b'['; 1 << 20];
    for (input, reason) in [
        (&b""[..], "JSON"),
        (b"\xff\xfe\n", "JSON"),
        (b"{\"plan\":{}}\n", "JSON"),
        (&endless, "longer"),
    ] {
        let output = worker(input);
        assert!(!output.status.success());
        let line = String::from_utf8(output.stdout).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let error = said["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn measure_refuses_jobs_that_do_not_fit_together() {
    let bench = Bench::new();
    let options = bench.options(AMPLE);
    let good = bench.job(bench.base(), bench.base());
    let mut none = good.clone();
    none.decode_tokens = 0;
    let mut outside = good.clone();
    outside.plan.prompts[0] = outside.pool_prompts;
    let mut unled = good.clone();
    unled.plan.first.pop();
    let mut empty = good;
    empty.plan.prompts.clear();
    for job in [none, outside, unled, empty] {
        let error = run(&job, &options).await.unwrap_err();
        assert!(matches!(error, MeasureError::Job(_)), "{error}");
    }
}

#[tokio::test]
async fn measure_says_what_is_missing() {
    let bench = Bench::new();
    let options = bench.options(AMPLE);
    let good = bench.job(bench.base(), bench.base());
    let mut no_checkpoint = good.clone();
    no_checkpoint.y.checkpoint = PathBuf::from("/no/such/checkpoint");
    let mut no_bundle = good.clone();
    no_bundle.x.bundle = Some(PathBuf::from("/no/such/bundle"));
    let mut short_pool = good.clone();
    short_pool.pool_prompts = 1_000_000;
    let mut no_drafter = good.clone();
    no_drafter.x.drafter = Some((PathBuf::from("/no/such/drafter"), 2));
    let mut no_adapter = good;
    no_adapter.adapter = Some("no such adapter".to_owned());
    for (job, reason) in [
        (no_checkpoint, "recipe Y: /no/such/checkpoint"),
        (no_bundle, "recipe X: cannot read /no/such/bundle"),
        (no_drafter, "recipe X: /no/such/drafter"),
        (short_pool, "use a longer text"),
        (no_adapter, "no such adapter"),
    ] {
        let error = run(&job, &options).await.unwrap_err();
        assert!(matches!(error, MeasureError::Worker(_)), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    no_process_is_left().await;
}

#[tokio::test]
async fn measure_kills_at_the_deadline_and_when_cancelled() {
    let bench = Bench::new();
    let mut job = bench.job(bench.base(), bench.base());
    job.decode_tokens = 2000;
    let error = run(&job, &bench.options(SHORT)).await.unwrap_err();
    assert!(matches!(error, MeasureError::Deadline { .. }), "{error}");
    no_process_is_left().await;

    let cancel = tokio::time::sleep(SHORT);
    let error = measure::run(&job, &bench.options(AMPLE), |_| {}, cancel).await.unwrap_err();
    assert!(matches!(error, MeasureError::Cancelled), "{error}");
    no_process_is_left().await;

    let options = bench.options(AMPLE);
    let dropped = tokio::time::timeout(SHORT, run(&job, &options)).await;
    assert!(dropped.is_err());
    no_process_is_left().await;
    assert!(!HostLock::is_held(&options.lock_path));
}

#[test]
fn measure_ends_with_its_parent() {
    let bench = Bench::new();
    let mut job = bench.job(bench.base(), bench.base());
    job.decode_tokens = 2000;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["worker", "--supervised"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = worker.stdin.take().unwrap();
    writeln!(stdin, "{}", serde_json::to_string(&job).unwrap()).unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"progress\":"), "{line}");
    drop(stdin);
    assert!(!worker.wait().unwrap().success());
}

#[tokio::test]
async fn measure_waits_for_the_lock() {
    let bench = Bench::new();
    let options = bench.options(SHORT);
    let _held = HostLock::try_take(&options.lock_path).unwrap().unwrap();
    let mut heard = Vec::new();
    let job = bench.job(bench.base(), bench.base());
    let hear = |progress: measure::Progress| heard.push(progress.what);
    let error = measure::run(&job, &options, hear, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, MeasureError::Deadline { .. }), "{error}");
    // A busy machine is waited for before that.
    assert_eq!(heard.last().unwrap(), "waiting for another measurement on this host");
}

#[tokio::test]
async fn measure_identifies_the_adapter_in_a_worker() {
    let bench = Bench::new();
    let class = async |adapter: Option<&str>, options: &measure::Options| {
        measure::hardware_class(adapter, options, |_| {}).await
    };
    let options = bench.options(AMPLE);
    let job = bench.job(bench.base(), bench.base());
    let measured = run(&job, &options).await.unwrap();
    assert_eq!(class(None, &options).await.unwrap(), measured.environment.hardware_class);
    let error = class(Some("no such adapter"), &options).await.unwrap_err();
    assert!(matches!(error, MeasureError::Worker(_)), "{error}");
    let held = HostLock::try_take(&options.lock_path).unwrap().unwrap();
    let error = class(None, &bench.options(SHORT)).await.unwrap_err();
    assert!(matches!(error, MeasureError::Deadline { .. }), "{error}");
    drop(held);
    no_process_is_left().await;
}

/// What the worker says is what counts: the adapter is not opened anywhere else.
#[cfg(unix)]
#[tokio::test]
async fn measure_takes_the_class_from_the_worker_alone() {
    let bench = Bench::new();
    let class = async |script: &str, deadline| {
        measure::hardware_class(Some("any"), &bench.impostor(deadline, script), |_| {}).await
    };
    let echo = r#"printf '{"class":"%s"}\n' "$*""#;
    let arguments = "worker --supervised --identify --adapter any";
    assert_eq!(class(echo, AMPLE).await.unwrap(), arguments);
    let long = "printf '{\"class\":\"%0999d\"}\n' 0";
    for script in [r#"echo '{"class":""}'"#, long, "echo llvmpipe"] {
        let error = class(script, AMPLE).await.unwrap_err();
        assert!(matches!(error, MeasureError::Output(_)), "{script}: {error}");
    }
    let error = class("exec sleep 1000", SHORT).await.unwrap_err();
    assert!(matches!(error, MeasureError::Deadline { .. }), "{error}");
    no_process_is_left().await;
    let job = bench.job(bench.base(), bench.base());
    let error = run(&job, &bench.impostor(AMPLE, echo)).await.unwrap_err();
    assert!(matches!(error, MeasureError::Output(_)), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn measure_bounds_what_a_worker_says() {
    let bench = Bench::new();
    let job = bench.job(bench.base(), bench.base());
    let progress = r#"{"progress":{"done":0,"total":1,"what":""}}"#;
    let soon = Duration::from_secs(30);
    let flood = format!("while true; do echo '{progress}'; done");
    for (script, reason) in [
        ("yes a | tr -d '\\n'", "longer than"),
        (flood.as_str(), "more than 10000 lines"),
        ("echo hello", "not valid"),
        ("echo '{\"measurement\":{}}'", "not valid"),
        ("echo out of memory >&2; exit 7", "exit status: 7"),
        ("echo out of memory >&2; exit 7", "it last said: out of memory"),
        ("printf '{\"error\":\"folder [%s]\"}\\n' \"$CARGO_MANIFEST_DIR\"", "folder []"),
    ] {
        let options = bench.impostor(soon, script);
        let error = run(&job, &options).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{script}: {error}");
    }
    let mut options = bench.options(AMPLE);
    options.exe = bench.path("missing");
    let error = run(&job, &options).await.unwrap_err();
    assert!(matches!(error, MeasureError::Spawn { .. }), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn measure_refuses_results_that_were_not_planned() {
    let bench = Bench::new();
    let job = bench.job(bench.base(), bench.base());
    let digest = [0_u8; 16];
    let pair = |prompt: u32| Pair {
        prompt,
        x_ns: 1,
        y_ns: 1,
        x_prefill_us: 1,
        y_prefill_us: 1,
        x_tokens: digest,
        y_tokens: digest,
        x_score: Score::default(),
        y_score: Score::default(),
        base_nll_micronats: 0,
    };
    for (pairs, reason) in [
        (vec![pair(5)], "other prompts than those drawn"),
        (vec![pair(2), pair(5)], "other prompts than those drawn"),
        (vec![pair(5), pair(2)], "0 decoded tokens instead of 8"),
    ] {
        let measurement = Measurement {
            pairs,
            x: ArmReport::default(),
            y: ArmReport::default(),
            environment: Environment::default(),
        };
        let line = serde_json::json!({ "measurement": measurement });
        let options = bench.impostor(AMPLE, &format!("echo '{line}'"));
        let error = run(&job, &options).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
