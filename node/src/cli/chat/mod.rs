//! `assay chat`: a conversation in the terminal, or from a pipe.

mod input;
mod session;
mod show;

use super::engine::{DraftArgs, EngineArgs, TemplateArgs};
use super::output::{Format, print};
use super::sampling::SamplingArgs;
use crate::serve::chat::{Message, Role};
use crate::serve::defaults::Defaults;
use crate::serve::text::Vocabulary;
use anyhow::Context;
use input::{Entry, Input};
use serde_json::{Value, json};
use session::{Interrupts, Session};
use show::Screen;
use std::path::Path;
use std::sync::Arc;

/// Sampling temperature where neither the command line nor the checkpoint names one.
const TEMPERATURE: f32 = 1.0;
/// Tokens of context where nobody says how many.
const CONTEXT_TOKENS: usize = 8192;

const HELP: &str = "\
/help            this list
/system [TEXT]   set the system message and start afresh; without TEXT remove it
/reset           start afresh
/stats           tokens, speed, drafts and cache of the last answer
/save FILE       write the conversation as JSON
/quit            leave; so does Ctrl-D
A line that ends with \\ goes on in the next one; a line \"\"\" begins and ends a longer text.
Ctrl-C stops an answer.";

/// Talk to the model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay chat --model ./gemma-4-E4B-it --draft ./gemma-4-E4B-it-assistant
  assay chat --think --system 'Answer in one sentence.'
  echo 'What is a covenant?' | assay chat --temperature 0")]
pub struct ChatArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// System message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Let the model think before it answers, and show it
    #[arg(long)]
    think: bool,
    /// Most tokens of an answer
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_tokens: usize,
    /// Tokens that the conversation may have [default: 8192, or what the model can]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Sampling temperature; 0 for the likeliest [default: generation_config.json, or 1]
    #[arg(long, value_name = "T", help_heading = "Sampling")]
    temperature: Option<f32>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Talks until the input ends.
///
/// # Errors
///
/// When the model cannot be loaded or cannot chat.
pub fn run(home: &Path, args: ChatArgs, format: Format) -> anyhow::Result<()> {
    let opened = args.engine.open()?;
    let template = args.template.of(&opened.checkpoint)?.with_context(|| opened.model.clone())?;
    let defaults = Defaults::of(&opened.checkpoint);
    let temperature = args.temperature.or(defaults.temperature).unwrap_or(TEMPERATURE);
    let sampling = args.sampling.sampling(temperature, &defaults)?;
    let config = opened.config();
    let context = args.context.unwrap_or(CONTEXT_TOKENS.min(config.max_positions));
    let interrupts = Interrupts::install()?;
    let screen = Screen::new(format, args.think);
    screen.greet(&opened.model, &opened.gpu.info().name);
    let mut session = Session {
        vocabulary: Arc::new(Vocabulary::new(opened.tokenizer()?, config.vocab)),
        bos: config.bos,
        ends: defaults.ends.into(),
        model: opened.model(context, &args.draft)?,
        template,
        sampling,
        stop: args.sampling.stop.clone(),
        max_tokens: args.max_tokens.max(1),
        thinking: args.think,
        messages: Vec::new(),
        last: None,
    };
    session.reset(args.system.clone());
    let mut input = Input::open(home)?;
    talk(&mut session, &mut input, &screen, &interrupts)?;
    input.close();
    match format {
        Format::Table => Ok(()),
        Format::Json => print(format, &conversation(&session, &opened.model), Value::to_string),
    }
}

fn talk(
    session: &mut Session,
    input: &mut Input,
    screen: &Screen,
    interrupts: &Interrupts,
) -> anyhow::Result<()> {
    loop {
        let text = match input.read()? {
            Entry::End => return Ok(()),
            Entry::Nothing => continue,
            Entry::Text(text) => text,
        };
        if let Some(command) = text.strip_prefix('/') {
            if !obey(command, session, screen) {
                return Ok(());
            }
            continue;
        }
        match session.answer(&text, interrupts, |event| screen.event(event)) {
            Ok(interrupted) => screen.end(interrupted),
            Err(error) => screen.fault(&error),
        }
    }
}

/// Does what a command says; false to leave.
fn obey(command: &str, session: &mut Session, screen: &Screen) -> bool {
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "quit" | "exit" | "q" => return false,
        "help" | "?" => screen.say(HELP),
        "reset" => {
            let system = session.system().map(str::to_owned);
            session.reset(system);
            screen.say("the conversation begins afresh");
        }
        "system" => {
            session.reset((!rest.is_empty()).then(|| rest.to_owned()));
            screen.say("the conversation begins afresh");
        }
        "stats" => screen.say(&session.stats()),
        "save" if rest.is_empty() => screen.say("/save needs the name of a file"),
        "save" => {
            let text = serde_json::to_vec_pretty(&conversation(session, ""));
            let written = text
                .map_err(anyhow::Error::from)
                .and_then(|text| Ok(crate::home::write_whole(Path::new(rest), &text)?));
            match written {
                Ok(()) => screen.say(&format!("written to {rest}")),
                Err(error) => screen.fault(&error),
            }
        }
        other => screen.say(&format!("there is no /{other}; /help lists the commands")),
    }
    true
}

/// The conversation for programs, its messages as OpenAI's protocol has them.
fn conversation(session: &Session, model: &str) -> Value {
    let message = |message: &Message| {
        let mut value = json!({"role": message.role.name(), "content": message.content});
        if let (Some(reasoning), Role::Assistant) = (&message.reasoning, message.role) {
            value["reasoning_content"] = reasoning.clone().into();
        }
        value
    };
    let messages: Vec<Value> = session.messages.iter().map(message).collect();
    match model {
        "" => json!({"messages": messages}),
        model => json!({"model": model, "messages": messages, "last": session.last}),
    }
}
