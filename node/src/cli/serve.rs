//! `assay serve`: the model for programs, over OpenAI's protocol.

use super::engine::{DraftArgs, EngineArgs, TemplateArgs};
use super::output::Format;
use super::run::termination;
use crate::serve::{Access, Service, ServiceOptions, serve};
use anyhow::{Context, bail, ensure};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpListener;

/// Tokens of context where nobody says how many.
const CONTEXT_TOKENS: usize = 8192;

/// Serve the model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay serve --model ./gemma-4-E4B-it --draft ./gemma-4-E4B-it-assistant
  ASSAY_API_KEY=secret assay serve --model ./gemma-4-31B-it --host 0.0.0.0
  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
      -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"stream\": true}'

GET /health says whether it takes requests, GET /metrics has figures for Prometheus.
The first Ctrl-C answers what was asked and then ends, the second ends at once.")]
pub struct ServeArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    template: TemplateArgs,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Key that requests must show as `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY", env = "ASSAY_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Listen on a public address without a key: anybody who reaches it may use the model
    #[arg(long, conflicts_with = "api_key")]
    insecure_no_key: bool,
    /// Tokens that a prompt and its answer may have [default: 8192, or what the model can]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Most requests that wait while one is answered; more are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 32)]
    max_queue: usize,
    /// The model's name for clients [default: that of the model's folder or file]
    #[arg(long, value_name = "NAME")]
    served_name: Option<String>,
    /// Let the model think before it answers, unless a request says otherwise
    #[arg(long)]
    think: bool,
}

impl ServeArgs {
    /// Who may use the server.
    fn access(&self) -> anyhow::Result<Access> {
        match &self.api_key {
            Some(key) if key.trim().is_empty() => bail!("--api-key is empty; choose a longer one"),
            Some(key) => Ok(Access::key(key)),
            None if self.insecure_no_key => Ok(Access::Anyone),
            None if self.host.is_loopback() => Ok(Access::Local),
            None => bail!(
                "--host {} can be reached from other machines; set a key with --api-key or ASSAY_API_KEY, \
                 or say --insecure-no-key if anybody may use the model",
                self.host
            ),
        }
    }
}

/// Serves until Ctrl-C.
///
/// # Errors
///
/// When the model cannot be loaded or the address cannot be used.
pub fn run(args: ServeArgs, format: Format) -> anyhow::Result<()> {
    let access = args.access()?;
    ensure!(args.max_queue > 0, "--max-queue must be at least 1");
    let opened = args.engine.open()?;
    let config = opened.config();
    let context = args.context.unwrap_or(CONTEXT_TOKENS.min(config.max_positions));
    ensure!(context >= 2, "--context must be at least 2: a token and its answer");
    let own_name = opened.model.rsplit(['/', '\\']).find(|part| !part.is_empty());
    let own_name = own_name.unwrap_or(&opened.model).trim_end_matches(".gguf").to_owned();
    let name = args.served_name.clone().unwrap_or(own_name);
    let template = args.template.of(&opened.checkpoint)?;
    let model = Box::new(opened.model(context, &args.draft)?);
    let options = ServiceOptions { name, queue_max: args.max_queue, thinking: args.think };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = SocketAddr::new(args.host, args.port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another --port"))?;
        let address = listener.local_addr()?;
        let (service, engine) =
            Service::start(&opened.checkpoint, template, model, options.clone())?;
        announce(&options.name, &opened.gpu.info().name, address, context, format);
        if let Some(fault) = service.chat_fault() {
            eprintln!("only /v1/completions works: {fault}");
        }
        let (first, second) = signals();
        serve(listener, service, engine, access, first, second).await?;
        Ok(())
    })
}

fn announce(name: &str, adapter: &str, address: SocketAddr, context: usize, format: Format) {
    let url = format!("http://{address}/v1");
    match format {
        Format::Json => {
            let line = json!({"model": name, "url": url, "adapter": adapter, "context": context});
            println!("{line}");
        }
        Format::Table => {
            println!("model    {name}");
            println!("adapter  {adapter}");
            println!("context  {context} tokens");
            println!("listen   {url}");
            println!("Ctrl-C stops the server.");
        }
    }
}

/// Ready at the first and at the second request to end.
fn signals() -> (impl Future<Output = ()> + Send + 'static, impl Future<Output = ()>) {
    let (first, first_came) = tokio::sync::oneshot::channel();
    let (second, second_came) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if termination().await.is_ok() {
            eprintln!("stopping when all requests are answered; Ctrl-C again stops at once");
            let _ = first.send(());
        }
        if termination().await.is_ok() {
            let _ = second.send(());
        }
    });
    let came = |signal: tokio::sync::oneshot::Receiver<()>| async move {
        if signal.await.is_err() {
            // Signals cannot be watched, so none will come.
            std::future::pending::<()>().await;
        }
    };
    (came(first_came), came(second_came))
}
