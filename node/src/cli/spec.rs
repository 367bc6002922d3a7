//! `assay spec`: byte-math. What a token reads, what the class could do with it, what a change would
//! bring, and the experiment that decides it. Needs no fast machine, and no checkpoint.

mod plan;

use super::board::{TIMEOUT, Words, body_lines, checked_id, heading, publish};
use super::client::Client;
use super::output::{Format, fields, print, table};
use crate::board::SpecRow;
use crate::explain::Explanation;
use crate::text::{cut, line};
use anyhow::Context;
use assay_protocol::post::{Detail, Forecast, PostBody, Spec};
pub(crate) use plan::Storage;
use plan::{Math, source};
use std::path::{Path, PathBuf};

/// Tokens in the cache unless somebody says otherwise.
pub(crate) const CONTEXT_TOKENS: usize = 64;

/// `assay spec …`
#[derive(Debug, clap::Subcommand)]
pub enum SpecCommand {
    /// Compute what a change would bring, and publish it
    New(Box<NewArgs>),
    /// List the specs with how their forecasts fared
    List,
    /// Print a spec: its components, its forecast, and every claim that followed it
    Show {
        /// Its record id, or the first digits
        spec: String,
    },
}

/// Arguments of `assay spec new`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The forecast is a roofline: bytes read per token before over bytes read after, \
each by the class's bandwidth, with what else a token costs added to both (--overhead-us). A claim \
that follows it names it with --cite; if it leads and bears the forecast out, you are credited.

Examples:
  assay spec new --model nano --class cpu-llvmpipe-8wide --weights int4-g32 --dry-run
  assay spec new --like e4b --class gpu-a10g --bandwidth 600 --weights int4-g128 --head int4-g128
  assay spec new --model ./gemma --class gpu-a10g --head int8 'the head is a third of all bytes'"
)]
pub struct NewArgs {
    /// Checkpoint folder or GGUF file, the name of an imported one, or `nano`
    #[arg(long, value_name = "PATH", conflicts_with = "like", required_unless_present = "like")]
    pub(crate) model: Option<PathBuf>,
    /// A published model's shapes, in bf16, without any files: e2b, e4b, 12b, 26b, 31b, …
    #[arg(long, value_name = "MODEL")]
    pub(crate) like: Option<String>,
    /// The hardware class that the forecast is for
    #[arg(long)]
    pub(crate) class: String,
    /// Memory bandwidth of the class in GB/s; what the ledger measured without this
    #[arg(long, value_name = "GB/S")]
    pub(crate) bandwidth: Option<f64>,
    /// Store the linear layers so: bf16, int8, int4-g32, int4-g64, int4-g128
    #[arg(long, value_name = "FORM")]
    pub(crate) weights: Option<Storage>,
    /// Store the output head so
    #[arg(long, value_name = "FORM")]
    pub(crate) head: Option<Storage>,
    /// Tokens in the cache when a token is decoded
    #[arg(long, value_name = "N", default_value_t = CONTEXT_TOKENS)]
    pub(crate) context: usize,
    /// Microseconds a token costs besides reading, the same before and after
    #[arg(long, value_name = "US", default_value_t = 0.0)]
    pub(crate) overhead_us: f64,
    /// What would decide it, if not a claim with the change on this class
    #[arg(long, value_name = "TEXT")]
    pub(crate) experiment: Option<String>,
    /// Print the spec and publish nothing; needs no node where --bandwidth is given
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What to say with it
    #[command(flatten)]
    pub(crate) words: Words,
}

/// Runs `assay spec …`.
///
/// # Errors
///
/// When the checkpoint cannot be read, no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: SpecCommand, format: Format) -> anyhow::Result<()> {
    match command {
        SpecCommand::New(args) => new(home, *args, format),
        SpecCommand::List => {
            let rows: Vec<SpecRow> = Client::find(home, TIMEOUT)?.get("/api/board/specs")?;
            print(format, &rows, |rows| list(rows))
        }
        SpecCommand::Show { spec } => {
            let path = format!("/api/board/specs/{}", checked_id(&spec)?);
            let row: SpecRow = Client::find(home, TIMEOUT)?.get(&path)?;
            print(format, &row, show)
        }
    }
}

/// The byte-math and the forecast of a spec.
///
/// # Errors
///
/// When the model cannot be read, the class's bandwidth is not known, or nothing is gained.
pub(crate) fn composed(home: &Path, args: &NewArgs) -> anyhow::Result<(Spec, Forecast)> {
    let (model, math) = source(home, args.model.as_deref(), args.like.as_deref(), args.context)?;
    let bandwidth_mb_s = match args.bandwidth {
        Some(gb_s) if gb_s > 0.0 && gb_s < 1e6 => to_mb_s(gb_s),
        Some(gb_s) => anyhow::bail!("--bandwidth {gb_s} is no bandwidth in GB/s"),
        None => bandwidth_of(home, &args.class)?,
    };
    anyhow::ensure!(
        args.weights.is_some() || args.head.is_some(),
        "a spec predicts a change; name one with --weights or --head (--help has examples)"
    );
    let parts = math.parts(args.weights, args.head);
    let change = Storage::words(args.weights, args.head);
    let experiment = args.experiment.clone().unwrap_or_else(|| {
        format!("claim this model with {change} on {}: the committee's ratio decides", args.class)
    });
    let spec = Spec { model, parts, bandwidth_mb_s, change, experiment };
    let ratio_ppm = Math::ratio_ppm(&spec, args.overhead_us);
    anyhow::ensure!(
        ratio_ppm > 1_000_000,
        "this change makes a token read {} bytes instead of {}: there is no gain to predict",
        spec.bytes().1,
        spec.bytes().0
    );
    Ok((spec, Forecast { ratio_ppm, hardware_class: args.class.clone() }))
}

/// A spec's post, under a title that says what it is about unless it has one.
pub(crate) fn entitled(body: PostBody, spec: &Spec) -> PostBody {
    if body.title.is_empty() {
        let title = cut(&format!("{}: {}", spec.model, spec.change), 60);
        return PostBody { title, ..body };
    }
    body
}

fn new(home: &Path, args: NewArgs, format: Format) -> anyhow::Result<()> {
    let (spec, forecast) = composed(home, &args)?;
    if args.dry_run {
        let value = serde_json::json!({ "spec": spec, "forecast": forecast });
        return print(format, &value, |_| described(&spec, &forecast));
    }
    let client = Client::find(home, TIMEOUT)?;
    if format == Format::Table {
        println!("{}\n", described(&spec, &forecast));
    }
    let body = args.words.body(&client, "specs", Some(Detail::Spec(spec.clone())))?;
    let body = entitled(body, &spec);
    publish(&client, body, Some(forecast), format)
}

/// The bandwidth of a class as the ledger measured it, in MB/s.
fn bandwidth_of(home: &Path, class: &str) -> anyhow::Result<u64> {
    let hint = "give it with --bandwidth";
    let client = Client::find(home, TIMEOUT).context(hint)?;
    anyhow::ensure!(
        assay_protocol::record::is_class_name(class),
        "{:?} is no hardware class; `assay status` names this machine's",
        cut(class, 80)
    );
    let known: Explanation = client
        .get(&format!("/api/explain/{class}"))
        .with_context(|| format!("the bandwidth of {class} is not on the ledger; {hint}"))?;
    let mut values = known.steps.iter().filter_map(|step| step.values.get("bandwidth_mb_s"));
    let mb_s = values.find_map(serde_json::Value::as_f64);
    let mb_s = mb_s.with_context(|| format!("nobody measured the bandwidth of {class}; {hint}"))?;
    Ok(to_mb_s(mb_s / 1e3))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive figure")]
fn to_mb_s(gb_s: f64) -> u64 {
    (gb_s * 1e3).round() as u64
}

/// The components and the forecast as a table.
fn described(spec: &Spec, forecast: &Forecast) -> String {
    let mega = |bytes: u64| format!("{:.3} MB", bytes as f64 / 1e6);
    let (before, after) = spec.bytes();
    let share = |bytes: u64| format!("{:.1} %", bytes as f64 * 100.0 / before.max(1) as f64);
    let mut rows: Vec<Vec<String>> = spec
        .parts
        .iter()
        .map(|part| {
            let (before, after) = (part.bytes_before, part.bytes_after);
            vec![part.name.clone(), mega(before), share(before), mega(after)]
        })
        .collect();
    rows.push(vec!["all".to_owned(), mega(before), share(before), mega(after)]);
    let tps = |bytes: u64| spec.bandwidth_mb_s as f64 * 1e6 / bytes.max(1) as f64;
    let facts = fields(&[
        ("model", spec.model.clone()),
        ("change", spec.change.clone()),
        ("class", format!("{} at {} MB/s", forecast.hardware_class, spec.bandwidth_mb_s)),
        ("roofline", format!("{:.1} → {:.1} tokens/s at best", tps(before), tps(after))),
        ("forecast", format!("{:.3}× the parent", forecast.ratio_ppm as f64 / 1e6)),
        ("experiment", spec.experiment.clone()),
    ]);
    format!("{}\n\n{facts}", table(&["per token", "before", "share", "after"], rows))
}

fn list(rows: &[SpecRow]) -> String {
    if rows.is_empty() {
        return "No specs. Write one: assay spec new --help".to_owned();
    }
    table(
        &["spec", "author", "class", "forecast", "followed by", "best score", "credited", "what"],
        rows.iter().map(|row| {
            let measured = row.scores.iter().filter(|score| score.over_ppm.is_some());
            let off = |over: u64| (over as f64 / 1e6 - 1.0) * 100.0;
            let best = measured.filter_map(|score| score.over_ppm).map(off);
            let best = best.min_by(|a, b| a.abs().total_cmp(&b.abs()));
            vec![
                row.id.short(),
                row.author.name.clone(),
                row.forecast.hardware_class.clone(),
                format!("{:.3}×", row.forecast.ratio_ppm as f64 / 1e6),
                row.scores.len().to_string(),
                best.map_or_else(|| "-".to_owned(), |off| format!("{off:+.1} %")),
                row.credited.map_or_else(|| "-".to_owned(), |claim| claim.short()),
                row.post.as_ref().map_or_else(String::new, |post| cut(post.headline(), 60)),
            ]
        }),
    )
}

fn show(row: &SpecRow) -> String {
    let mut out = Vec::new();
    if let Some(post) = &row.post {
        out.push(heading(post));
        out.extend(body_lines(post));
        out.push(String::new());
        if let Some(Detail::Spec(spec)) = &post.detail {
            out.push(described(spec, &row.forecast));
        }
    }
    out.push(String::new());
    if row.scores.is_empty() {
        out.push("No claim cites it yet.".to_owned());
    }
    for score in &row.scores {
        let (claim, words) = (score.claim.short(), score.words(&row.forecast));
        let credited =
            if row.credited == Some(score.claim) { "; its author is credited" } else { "" };
        out.push(format!("claim {claim} ({}): {words}{credited}", line(&score.summary)));
    }
    out.join("\n")
}
