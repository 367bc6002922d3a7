//! `assay model check`: what is wrong with a checkpoint, where, and how to mend it.

use super::named;
use crate::cli::engine::{NANO, plain, spinner};
use crate::cli::output::{Format, print, table};
use anyhow::{Context, bail, ensure};
use assay_kernels::triage::{self, Code, Diagnostic, Fixed, Options, Report, Severity, Subject};
use assay_kernels::{AdapterRequest, Error, Gpu};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Find out what is wrong with a checkpoint and how to mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay model check ./gemma
  assay model check ./gemma --draft ./gemma-assistant --format json
  assay model check ./gemma --fix --out ./gemma-fixed
  assay model check --explain CK001

Exits with 1 when an error is found. --fix corrects what the configuration files alone can
mend: beside the old ones, which are kept as *.bak, or into --out. Weights are never changed.")]
pub struct CheckArgs {
    /// Checkpoint or drafter folder, the name of an imported one, or `nano`
    #[arg(value_name = "DIR", required_unless_present_any = ["explain", "list"])]
    checkpoint: Option<PathBuf>,
    /// A drafter to check against the checkpoint
    #[arg(long, value_name = "DIR")]
    draft: Option<PathBuf>,
    /// Read the files only; run nothing on an adapter
    #[arg(long)]
    no_run: bool,
    /// Only adapters whose name contains this; without it the best one
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Write the corrected configuration and check again
    #[arg(long)]
    fix: bool,
    /// Folder for the corrected configuration, instead of the checkpoint's own
    #[arg(long, value_name = "DIR", requires = "fix")]
    out: Option<PathBuf>,
    /// Say what a code means
    #[arg(long, value_name = "CODE", conflicts_with = "checkpoint")]
    explain: Option<String>,
    /// List all codes
    #[arg(long, conflicts_with = "checkpoint")]
    list: bool,
}

#[derive(Serialize)]
struct Explained {
    code: Code,
    name: &'static str,
    explanation: &'static str,
}

#[derive(Serialize)]
struct Codes {
    codes: Vec<Explained>,
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    backup: Option<PathBuf>,
    diff: Vec<String>,
}

#[derive(Serialize)]
struct Outcome {
    model: String,
    #[serde(flatten)]
    report: Report,
    /// Files that `--fix` wrote; the diagnostics are those that remain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fixed: Vec<Written>,
}

/// Runs the command; false where an error was found.
pub(super) fn run(home: &Path, args: &CheckArgs, format: Format) -> anyhow::Result<bool> {
    if args.list || args.explain.is_some() {
        explain(args.explain.as_deref(), format)?;
        return Ok(true);
    }
    let Some(folder) = &args.checkpoint else { bail!("name a checkpoint folder") };
    let folder = named(home, folder)?;
    let draft = args.draft.as_ref().map(|draft| named(home, draft)).transpose()?;
    ensure!(
        folder.exists() || folder == Path::new(NANO),
        "there is no checkpoint at {}; give a folder, or a name of `assay model list`",
        folder.display()
    );
    let gpu = match args.no_run {
        true => None,
        // A machine without an adapter can still check files.
        false => Gpu::open(&AdapterRequest { name_contains: args.adapter.clone() })
            .map_err(|error| eprintln!("nothing is run: {error}"))
            .ok(),
    };
    let options = Options { draft: draft.as_deref().map(subject), adapter: gpu.as_ref() };
    let busy = spinner("checking");
    let mut report = triage::check(subject(&folder), &options);
    let mut fixed = Vec::new();
    if args.fix {
        fixed = write_fixes(&folder, args.out.as_deref(), &report)?;
        if args.out.is_none() && !fixed.is_empty() {
            report = triage::check(subject(&folder), &options);
        }
    }
    busy.finish_and_clear();
    let model = folder.display().to_string();
    let outcome = Outcome { model, report, fixed };
    print(format, &outcome, |outcome| render(outcome, std::io::stdout().is_terminal()))?;
    Ok(outcome.report.ok)
}

fn subject(folder: &Path) -> Subject<'_> {
    if folder == Path::new(NANO) { Subject::Embedded } else { Subject::Path(folder) }
}

fn explain(code: Option<&str>, format: Format) -> anyhow::Result<()> {
    let wanted: Vec<Code> = match code {
        None => Code::ALL.to_vec(),
        Some(id) => match Code::parse(id) {
            Some(code) => vec![code],
            None => bail!("there is no code {id}; `assay model check --list` has all"),
        },
    };
    let describe =
        |code: &Code| Explained { code: *code, name: code.name(), explanation: code.explanation() };
    let codes = Codes { codes: wanted.iter().map(describe).collect() };
    print(format, &codes, |codes| match &codes.codes[..] {
        [one] => format!("{} {}\n\n{}", one.code, one.name, wrapped(one.explanation, 90, "")),
        all => {
            let rows = all.iter().map(|c| vec![c.code.to_string(), c.name.to_string()]);
            format!(
                "{}\n\n`assay model check --explain CODE` says more.",
                table(&["code", "name"], rows)
            )
        }
    })
}

/// Writes the corrected files and says which.
fn write_fixes(folder: &Path, out: Option<&Path>, report: &Report) -> anyhow::Result<Vec<Written>> {
    ensure!(folder != Path::new(NANO), "what is inside this program cannot be changed");
    ensure!(folder.is_dir(), "--fix corrects folders; {} is a file", folder.display());
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    };
    let fixed = triage::corrected(report, read).map_err(plain)?;
    if let Some(out) = out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    fixed.into_iter().map(|fixed| write_one(folder, out, fixed)).collect()
}

fn write_one(folder: &Path, out: Option<&Path>, fixed: Fixed) -> anyhow::Result<Written> {
    let path = out.unwrap_or(folder).join(&fixed.file);
    let failed = |path: &Path| format!("cannot write {}", path.display());
    let mut backup = None;
    if out.is_none() && path.exists() {
        // The first backup is the original; later corrections do not write over it.
        let kept = folder.join(format!("{}.bak", fixed.file));
        if !kept.exists() {
            std::fs::copy(&path, &kept).with_context(|| failed(&kept))?;
        }
        backup = Some(kept);
    }
    let temporary = super::partial(&path);
    std::fs::write(&temporary, &fixed.corrected).with_context(|| failed(&temporary))?;
    std::fs::rename(&temporary, &path).with_context(|| failed(&path))?;
    Ok(Written { file: path, backup, diff: fixed.diff })
}

fn render(outcome: &Outcome, colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_string(),
    };
    let mut text = String::new();
    for written in &outcome.fixed {
        let backup = written.backup.as_ref().map(|b| format!(" (was kept as {})", b.display()));
        text += &format!("wrote {}{}\n", written.file.display(), backup.unwrap_or_default());
        for line in &written.diff {
            let shown = match line.as_bytes().first() {
                Some(b'+') => paint("32", line),
                Some(b'-') => paint("31", line),
                _ => line.clone(),
            };
            text += &format!("  {shown}\n");
        }
        text.push('\n');
    }
    let groups = [
        (Severity::Error, "error", "31;1"),
        (Severity::Warning, "warning", "33;1"),
        (Severity::Note, "note", "36"),
    ];
    let mut counts = Vec::new();
    for (severity, word, code) in groups {
        let found: Vec<&Diagnostic> =
            outcome.report.diagnostics.iter().filter(|d| d.severity == severity).collect();
        for d in &found {
            let head = paint(code, &format!("{word} {}", d.code));
            text += &format!("{head} {}", d.name);
            if !d.place.is_empty() {
                text += &format!("  {}", d.place);
            }
            text += &format!("\n{}\n", wrapped(&d.message, 90, "  "));
            let marked = if d.fix.is_empty() { "mend: " } else { "mend (--fix does it): " };
            text += &format!("{}\n\n", wrapped(&format!("{marked}{}", d.mend), 90, "  "));
        }
        counts.push(match found.len() {
            1 => format!("1 {word}"),
            n => format!("{n} {word}s"),
        });
    }
    let verdict = if outcome.report.ok { paint("32", "sound") } else { paint("31;1", "broken") };
    text += &format!("{}: {verdict}, {}", outcome.model, counts.join(", "));
    for line in &outcome.report.scan {
        text += &format!("\n{line}");
    }
    text
}

/// Text in lines of at most `width` characters where words allow, each behind `indent`.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it begins with one line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}
