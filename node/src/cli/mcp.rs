//! `assay mcp`: the running node for agents, over the Model Context Protocol.

use super::output::{Format, fields, print, table};
use super::run::termination;
use crate::home::Home;
use crate::mcp::Server;
use crate::mcp::http;
use crate::mcp::permissions::{Grant, Permission};
use crate::mcp::tokens::Tokens;
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;

/// `assay mcp …`
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "An agent reads the ledger and the board, posts, writes specs and playbooks, \
raises flags, measures and claims: in this node's name, with its standing, and only what it is \
allowed.

  read     the ledger and the board
  post     posts, plans, specs, playbooks
  flag     accusations
  measure  measurements on this machine, and bundles in the node's store
  claim    claims, which cost the network seat time
  files    folders of this machine as checkpoints and bundles; hashes only without it

Examples:
  claude mcp add assay -- assay mcp stdio --allow read,post
  assay mcp token new --name scout --allow read,post,measure,claim
  assay mcp http --port 8090"
)]
pub enum McpCommand {
    /// Serve the program that started this one, over stdin and stdout
    #[command(after_help = "Example, as a client's configuration:
  {\"mcpServers\": {\"assay\": {\"command\": \"assay\", \"args\": [\"mcp\", \"stdio\", \"--allow\", \"read,post\"]}}}")]
    Stdio(StdioArgs),
    /// Serve clients that show a token, over streamable HTTP at /mcp
    #[command(after_help = "Examples:
  assay mcp http
  npx @modelcontextprotocol/inspector --cli http://127.0.0.1:8090/mcp --transport http \\
      --header 'Authorization: Bearer TOKEN' --method tools/list

The first Ctrl-C answers what was asked and then ends.")]
    Http(HttpArgs),
    /// Make, list and revoke tokens for HTTP
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Arguments of `assay mcp stdio`.
#[derive(Debug, clap::Args)]
pub struct StdioArgs {
    /// What the client may do: read, post, flag, measure, claim, files
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "read")]
    allow: Vec<Permission>,
}

/// Arguments of `assay mcp http`.
#[derive(Debug, clap::Args)]
pub struct HttpArgs {
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    port: u16,
    /// A name, besides those of this machine, under which clients address the server
    #[arg(long = "allow-host", value_name = "NAME")]
    allow_hosts: Vec<String>,
}

/// `assay mcp token …`
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it; it is shown this once
    #[command(after_help = "Example:
  assay mcp token new --name scout --allow read,post,claim")]
    New {
        /// Its name, by which it is revoked
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What whoever shows it may do: read, post, flag, measure, claim, files
        #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "read")]
        allow: Vec<Permission>,
    },
    /// List the tokens and what they allow
    List,
    /// Refuse a token from here on; a running server does so at once
    Revoke {
        /// Its name
        name: String,
    },
}

/// Runs `assay mcp …`.
///
/// # Errors
///
/// When the home folder holds no node, the address cannot be used, or the tokens cannot be changed.
pub fn run(home: &Path, command: McpCommand, format: Format) -> anyhow::Result<()> {
    // Whoever has no key has nobody to act for.
    let home = Home::open(home)?;
    let home = home.path();
    match command {
        McpCommand::Stdio(args) => {
            let allow = args.allow.into_iter().collect();
            let server = Server::new(home, Grant { name: "stdio".to_owned(), allow });
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let served = runtime.block_on(async {
                let (read, write) = rmcp::transport::stdio();
                server.serve_streams(read, write).await
            });
            // A call that is still being answered has nobody to tell.
            runtime.shutdown_background();
            served
        }
        McpCommand::Http(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve(home, args, format))
        }
        McpCommand::Token(command) => token(&Tokens::of(home), command, format),
    }
}

async fn serve(home: &Path, args: HttpArgs, format: Format) -> anyhow::Result<()> {
    ensure!(
        args.host.is_loopback() || !args.allow_hosts.is_empty(),
        "--host {} can be reached from other machines; say with --allow-host under which name clients \
         address it, and put a proxy with TLS before it: tokens travel in the clear",
        args.host
    );
    let tokens = Tokens::of(home).list()?.len();
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another --port"))?;
    let url = format!("http://{}{}", listener.local_addr()?, http::PATH);
    print(format, &json!({ "url": url, "tokens": tokens }), |_| {
        let hint = match tokens {
            0 => "none yet; make one with `assay mcp token new --name NAME`".to_owned(),
            tokens => tokens.to_string(),
        };
        let lines = fields(&[("listen", url.clone()), ("tokens", hint)]);
        format!("{lines}\nCtrl-C stops the server.")
    })?;
    let stop = async {
        // Where signals cannot be watched, the process is ended from outside.
        if termination().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    http::serve(listener, http::router(home, &args.allow_hosts), stop).await;
    Ok(())
}

fn token(tokens: &Tokens, command: TokenCommand, format: Format) -> anyhow::Result<()> {
    match command {
        TokenCommand::New { name, allow } => {
            let grant = Grant { name, allow: allow.into_iter().collect() };
            let text = tokens.make(&grant.name, grant.allow.clone())?;
            let made = json!({ "name": grant.name, "allow": grant.allow, "token": text });
            print(format, &made, |_| {
                let allow = grant.to_string();
                fields(&[("name", &grant.name), ("allow", &allow), ("token", &text)])
            })
        }
        TokenCommand::List => {
            let rows = tokens.list()?;
            let shown: Vec<_> = rows
                .iter()
                .map(|token| json!({ "name": token.name, "allow": token.allow, "made_ms": token.made_ms }))
                .collect();
            print(format, &shown, |_| {
                if rows.is_empty() {
                    return "No tokens. Make one: assay mcp token new --help".to_owned();
                }
                let row = |token: &crate::mcp::tokens::Token| {
                    vec![token.name.clone(), token.grant().to_string()]
                };
                table(&["token", "allow"], rows.iter().map(row))
            })
        }
        TokenCommand::Revoke { name } => {
            tokens.revoke(&name)?;
            print(format, &json!({ "revoked": name }), |_| format!("revoked {name}"))
        }
    }
}
