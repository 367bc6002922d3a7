//! Writing specs, playbooks and flags in this node's name.

use super::post::{Text, publish};
use super::{Caller, Definition};
use crate::api::{Said, Statement};
use crate::cli::board::posted;
use crate::cli::{flag, limit, playbook, ruling, spec};
use crate::mcp::permissions::Permission::{self, Flag, Post};
use anyhow::Context;
use assay_protocol::post::{self, Detail, Endorsement, Lever, Playbook, Table, Triage};
use assay_protocol::sighting::{Divergence, Sighting};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Deserialize, JsonSchema)]
struct SpecArguments {
    #[serde(flatten)]
    text: Text,
    /// A checkpoint: nano, or a folder, file or imported name where files may be named.
    model: Option<String>,
    /// A published model's shapes in bf16, without any files: e2b, e4b, 12b, 26b, 31b.
    like: Option<String>,
    /// The hardware class that the forecast is for, as ledger_status names it.
    class: String,
    /// Memory bandwidth of the class in GB/s; what the ledger measured without it.
    bandwidth: Option<f64>,
    /// Store the linear layers so: bf16, int8, int4-g32, int4-g64, int4-g128.
    weights: Option<String>,
    /// Store the output head so: bf16, int8, int4-g32, int4-g64, int4-g128.
    head: Option<String>,
    /// Tokens in the cache when a token is decoded; 64 without it.
    context: Option<usize>,
    /// Microseconds that a token costs besides reading, the same before and after.
    #[serde(default)]
    overhead_us: f64,
    /// What would decide it, if not a claim with the change on this class.
    experiment: Option<String>,
    /// Compute and publish nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct LimitArguments {
    #[serde(flatten)]
    text: Text,
    /// What goes no further: 1 to 8 words of lower-case letters, digits and dashes.
    levers: Vec<String>,
    /// The hardware class that it holds for, as ledger_status names it.
    class: String,
    /// Largest speed over the base recipe's; either this or tps.
    ratio: Option<f64>,
    /// Most tokens per second that the class decodes; either this or ratio.
    tps: Option<f64>,
    /// Manifest of the checkpoint that it is about, 64 hexadecimal digits; any without it.
    checkpoint: Option<String>,
}

/// The table of an article; at most one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
struct TableArguments {
    /// A triage table, at most 32 rows: what goes wrong, why, and what to do.
    triage: Option<Vec<TriageArguments>>,
    /// A lever map, at most 32 rows: what can be turned, and what came of it.
    levers: Option<Vec<LeverArguments>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
struct TriageArguments {
    /// What is seen: a code of the model check, or words of an error; at most 120 bytes.
    sign: String,
    /// Why.
    cause: String,
    /// What to do.
    remedy: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
struct LeverArguments {
    /// What is turned, in one word.
    lever: String,
    /// What it does.
    note: String,
    /// The claim that shows it, 64 hexadecimal digits; none shows it where this is empty.
    #[serde(default)]
    claim: String,
}

impl TableArguments {
    fn table(self) -> anyhow::Result<Option<Table>> {
        let lever = |row: LeverArguments| {
            let claim = Some(row.claim).filter(|id| !id.is_empty());
            let claim = claim.map(|id| id.parse().ok().context("claim: 64 hexadecimal digits"));
            Ok(Lever { lever: row.lever, note: row.note, claim: claim.transpose()? })
        };
        let triage = |row: TriageArguments| {
            let TriageArguments { sign, cause, remedy } = row;
            Triage { sign, cause, remedy }
        };
        Ok(match (self.triage, self.levers) {
            (Some(_), Some(_)) => anyhow::bail!("give either triage or levers"),
            (Some(rows), None) => Some(Table::Triage(rows.into_iter().map(triage).collect())),
            (None, Some(rows)) => {
                let rows: anyhow::Result<Vec<Lever>> = rows.into_iter().map(lever).collect();
                Some(Table::Levers(rows?))
            }
            (None, None) => None,
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct NewPlaybook {
    #[serde(flatten)]
    text: Text,
    #[serde(flatten)]
    table: TableArguments,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RevisedPlaybook {
    #[serde(flatten)]
    text: Text,
    #[serde(flatten)]
    table: TableArguments,
    /// The revision: its id, or the first digits.
    playbook: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OfPlaybook {
    #[serde(flatten)]
    text: Text,
    /// The revision: its id, or the first digits.
    playbook: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct FlagArguments {
    #[serde(flatten)]
    text: Text,
    /// Whom or what: a post or claim by its id or the first digits, a peer by its name or key.
    subject: String,
    /// The rule that was broken, in one word: lower-case letters, digits and dashes. Ruled on are
    /// off-channel (a post), duplicate (a claim), path and physics (an accepted claim). A flag under path
    /// challenges the entry, at the cost of a challenge; one under physics needs no evidence, for the ledger
    /// has the figures.
    rule: String,
    /// BLAKE3 hash of whatever shows it, 64 hexadecimal digits; for duplicate the id of the earlier claim.
    evidence: Option<String>,
    /// For path, where it breaks: prompt in the pool, position, the token that the prefill chooses and the
    /// one that was decoded, four numbers with commas between.
    saw: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OneRuling {
    /// The flag's id, or that of what it accuses; the first 6 or more digits are enough.
    id: String,
}

pub(super) fn tools() -> Vec<Definition> {
    vec![
        Definition::new(
            Post,
            "spec_new",
            "Compute what a change of storage would bring on a hardware class, from bytes per token \
             and bandwidth, and publish it as a spec. Needs no fast machine. A claim that follows \
             it cites it, and credits this node if the forecast is borne out.",
            spec_new,
        ),
        Definition::new(
            Post,
            "limit_new",
            "Say how far recipes go on a hardware class, as a ratio to the base or as tokens per \
             second. The first entry that goes further debunks it; neither costs standing.",
            limit_new,
        ),
        Definition::new(
            Post,
            "playbook_new",
            "Publish a knowledge article under a title, with a triage table or a lever map if you like.",
            |caller, NewPlaybook { text, table }| {
                let detail = Detail::Playbook(Playbook { revises: None, table: table.table()? });
                let body = text.words().said(&caller.node()?, "knowledge", Some(detail))?;
                publish(caller, playbook::titled(body)?, None)
            },
        ),
        Definition::new(
            Post,
            "playbook_revise",
            "Publish the next revision of an article of this node. Its table goes on unless another is given.",
            |caller, RevisedPlaybook { text, table, playbook: id }| {
                let revised = playbook::revised(&caller.node()?, &id)?;
                let detail = Some(playbook::revision_of(&revised, table.table()?));
                let body = text.words().said(&caller.node()?, &revised.channel, detail)?;
                publish(caller, playbook::continued(body, revised), None)
            },
        ),
        Definition::new(
            Post,
            "playbook_endorse",
            "Say that you followed an article of another peer and that it holds.",
            |caller, OfPlaybook { text, playbook: id }| {
                let node = caller.node()?;
                let playbook = posted(&node, &id)?;
                let detail = Some(Detail::Endorsement(Endorsement { playbook }));
                let mut body = text.words().said(&node, "knowledge", detail)?;
                body.thread = body.thread.or(Some(playbook));
                publish(caller, body, None)
            },
        ),
        Definition::new(
            Flag,
            "flag_new",
            "Accuse a post, claim or peer of breaking a rule, in this node's name and in public, \
             with evidence.",
            flag_new,
        ),
        Definition::new(
            Flag,
            "ruling_appeal",
            "Have another committee look at a ruling that this node lost, once. If it finds the same, \
             the appeal costs standing as well.",
            |caller, OneRuling { id }| {
                let node = caller.node()?;
                let ruling = ruling::found(&node, &id)?.id;
                let said: Said = node.post("/api/statements", &Statement::Appeal { ruling })?;
                Ok(json!({ "published": "appeal", "id": said.record }).to_string())
            },
        ),
    ]
}

fn spec_new(caller: &Caller, arguments: SpecArguments) -> anyhow::Result<String> {
    let SpecArguments { text, model, like, class, bandwidth, weights, head, .. } = arguments;
    anyhow::ensure!(
        model.is_some() != like.is_some(),
        "name the model either by model or by like, for instance like: e4b"
    );
    if let Some(model) = model.as_deref().filter(|model| *model != "nano") {
        anyhow::ensure!(
            caller.grant.allows(Permission::Files),
            "model {:?}: this client may not name files; use model: nano, or like",
            crate::text::cut(model, 80)
        );
    }
    let storage = |name: &str, form: Option<String>| {
        let form = form.map(|form| form.parse::<spec::Storage>());
        form.transpose().map_err(anyhow::Error::msg).with_context(|| name.to_owned())
    };
    let args = spec::NewArgs {
        model: model.map(PathBuf::from),
        like,
        class,
        bandwidth,
        weights: storage("weights", weights)?,
        head: storage("head", head)?,
        context: arguments.context.unwrap_or(spec::CONTEXT_TOKENS),
        overhead_us: arguments.overhead_us,
        experiment: arguments.experiment,
        dry_run: arguments.dry_run,
        words: text.words(),
    };
    let (spec, forecast) = spec::composed(&caller.home, &args)?;
    let computed = json!({ "spec": spec, "forecast": forecast }).to_string();
    if args.dry_run {
        return Ok(computed);
    }
    let body = args.words.said(&caller.node()?, "specs", Some(Detail::Spec(spec.clone())))?;
    let said = publish(caller, spec::entitled(body, &spec), Some(forecast))?;
    Ok(format!("{said}\n{computed}"))
}

fn limit_new(caller: &Caller, arguments: LimitArguments) -> anyhow::Result<String> {
    let LimitArguments { text, levers, class, ratio, tps, checkpoint } = arguments;
    let checkpoint =
        checkpoint.map(|hash| hash.parse().ok().context("checkpoint: 64 hexadecimal digits"));
    let checkpoint = checkpoint.transpose()?;
    let node = caller.node()?;
    let args = limit::NewArgs { levers, class, ratio, tps, checkpoint, words: text.words() };
    let limit = limit::composed(&node, &args)?;
    let body = args.words.said(&node, "knowledge", Some(Detail::Limit(limit.clone())))?;
    publish(caller, limit::entitled(body, &limit), None)
}

fn flag_new(caller: &Caller, arguments: FlagArguments) -> anyhow::Result<String> {
    let FlagArguments { text, subject, rule, evidence, saw } = arguments;
    let node = caller.node()?;
    let evidence =
        evidence.map(|hash| hash.parse().ok().context("evidence: 64 hexadecimal digits"));
    let evidence = evidence.transpose()?;
    let subject = flag::accused(&node, &subject)?;
    let saw = saw.map(|numbers| numbers.parse::<Divergence>().context("saw")).transpose()?;
    let sighting = saw.map(Sighting::Divergence);
    let detail = Detail::Flag(post::Flag { rule, subject, evidence, sighting });
    let body = text.words().said(&node, "flags", Some(detail))?;
    publish(caller, body, None)
}
