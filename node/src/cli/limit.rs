//! `assay limit`: how far something is held to go, until an entry goes further.

use super::board::{TIMEOUT, Words, asked, body_lines, checked_id, heading, publish};
use super::client::Client;
use super::output::{Format, fields, print, table};
use crate::board::{Beyond, LimitRow, bound_words};
use crate::text::cut;
use assay_protocol::ids::BlobHash;
use assay_protocol::post::{Bound, Detail, Limit, PostBody, Quantity};
use std::path::Path;

/// `assay limit …`
#[derive(Debug, clap::Subcommand)]
pub enum LimitCommand {
    /// Say how far recipes go on a hardware class
    New(Box<NewArgs>),
    /// List the limits with what became of them
    List,
    /// Print a limit and the entry that debunks it or comes closest
    Show {
        /// Its record id, or the first digits
        limit: String,
    },
}

/// Arguments of `assay limit new`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("figure").required(true).args(["ratio", "tps"]),
    after_help = "Nobody rules on a limit. The first confirmed entry that goes beyond it by more \
than a tie debunks it, on every node at once; if that entry is debunked in turn, the limit holds \
again. Neither costs anybody standing.

Examples:
  assay limit new --lever int4 --class gpu-a10g --tps 127 'int4 floor: 127 TPS'
  assay limit new --lever tiles --class cpu-llvmpipe-8wide --ratio 1.5 --checkpoint 9f3c…e1"
)]
pub struct NewArgs {
    /// What goes no further, in one word; up to 8 times
    #[arg(long = "lever", value_name = "WORD", required = true)]
    pub(crate) levers: Vec<String>,
    /// The hardware class that it holds for
    #[arg(long)]
    pub(crate) class: String,
    /// Largest speed over the base recipe's
    #[arg(long)]
    pub(crate) ratio: Option<f64>,
    /// Most tokens per second that the class decodes
    #[arg(long, value_name = "TOKENS/S")]
    pub(crate) tps: Option<f64>,
    /// Manifest of the checkpoint that it is about; any without this
    #[arg(long, value_name = "HASH")]
    pub(crate) checkpoint: Option<BlobHash>,
    /// What to say with it
    #[command(flatten)]
    pub(crate) words: Words,
}

/// Runs `assay limit …`.
///
/// # Errors
///
/// When no node runs in the home folder, or it refuses.
pub fn run(home: &Path, command: LimitCommand, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    match command {
        LimitCommand::New(args) => {
            let limit = composed(&client, &args)?;
            let body = args.words.body(&client, "knowledge", Some(Detail::Limit(limit.clone())))?;
            publish(&client, entitled(body, &limit), None, format)
        }
        LimitCommand::List => {
            let rows: Vec<LimitRow> = client.get("/api/board/limits")?;
            print(format, &rows, |rows| list(rows))
        }
        LimitCommand::Show { limit } => {
            let path = format!("/api/board/limits/{}", checked_id(&limit)?);
            let row: LimitRow = client.get(&path)?;
            print(format, &row, show)
        }
    }
}

/// The limit that the arguments describe, unless an entry goes beyond it already.
///
/// # Errors
///
/// When a figure is none, or an entry that is on the ledger debunks it.
pub(crate) fn composed(client: &Client, args: &NewArgs) -> anyhow::Result<Limit> {
    let (quantity, figure, unit) = match (args.ratio, args.tps) {
        (Some(ratio), None) => (Quantity::RatioToBase, ratio, 1e6),
        (None, Some(tps)) => (Quantity::DecodeSpeed, tps, 1e3),
        _ => anyhow::bail!("a limit bounds one thing: a ratio to the base, or tokens per second"),
    };
    anyhow::ensure!(
        figure.is_finite() && figure * unit >= 1.0 && figure <= 1e9,
        "{figure} is nothing that a recipe could go beyond"
    );
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1 to 1e15")]
    let most = (figure * unit).round() as u64;
    let bound =
        Bound { hardware_class: args.class.clone(), checkpoint: args.checkpoint, quantity, most };
    if let Some(beyond) = beyond_already(client, &bound)? {
        anyhow::bail!(
            "entry {} is beyond this already, at {}; set a limit that it does not break",
            beyond.claim.short(),
            quantity.words(beyond.value)
        );
    }
    Ok(Limit { levers: args.levers.clone(), bound })
}

/// The entry that would debunk a limit at once.
fn beyond_already(client: &Client, bound: &Bound) -> anyhow::Result<Option<Beyond>> {
    // The word of the quantity as JSON spells it, and as an address does.
    let quantity = serde_json::to_value(bound.quantity)?;
    let (most, checkpoint) = (bound.most.to_string(), bound.checkpoint.map(|id| id.to_string()));
    let query = [
        ("hardware_class", bound.hardware_class.as_str()),
        ("quantity", quantity.as_str().unwrap_or_default()),
        ("most", &most),
    ];
    let checkpoint = checkpoint.iter().map(|id| ("checkpoint", id.as_str()));
    client.get(&asked("/api/board/beyond", query.into_iter().chain(checkpoint)))
}

/// A limit's post, under a title that says what it bounds unless it has one.
pub(crate) fn entitled(body: PostBody, limit: &Limit) -> PostBody {
    match body.title.is_empty() {
        true => PostBody { title: cut(&bound_words(&limit.bound), 100), ..body },
        false => body,
    }
}

fn list(rows: &[LimitRow]) -> String {
    if rows.is_empty() {
        return "No limits. Set one: assay limit new --help".to_owned();
    }
    table(
        &["limit", "author", "levers", "bound", "what became of it"],
        rows.iter().map(|row| {
            let (levers, author) = (row.levers.join(", "), row.author.name.clone());
            vec![row.id.short(), author, levers, row.words(), row.fate()]
        }),
    )
}

fn show(row: &LimitRow) -> String {
    let mut out = Vec::new();
    if let Some(post) = &row.post {
        out.push(heading(post));
        out.extend(body_lines(post));
        out.push(String::new());
    }
    let by = row.debunked_by.as_ref().or(row.closest.as_ref());
    let entry = by.map(|beyond| {
        format!(
            "{} by {} (height {}): {}",
            beyond.claim.short(),
            beyond.author.name,
            beyond.height,
            crate::text::line(&beyond.summary)
        )
    });
    out.push(fields(&[
        ("levers", row.levers.join(", ")),
        ("bound", row.words()),
        ("fate", row.fate()),
        ("entry", entry.unwrap_or_else(|| "-".to_owned())),
    ]));
    out.join("\n")
}
