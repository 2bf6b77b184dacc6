//! `kvkeep validate`: measure what prefix caching gives on a running server.

use crate::{format::Format, output, progress::Progress};
use kvkeep_validate::{ApiKey, Options};
use std::env;
use std::process::ExitCode;

/// What `kvkeep validate --help` says below the flags.
const HELP: &str = "\
Tests:
  conversation  5 turns, 2,000 tokens at first and 500 more each turn
  long prefix   8,000 shared tokens and 100 fresh ones, 3 turns
  independent   5 unrelated messages of 2,000 tokens, where nothing can hit
  short         a conversation of 100 to 400 tokens, often too short to tell

  Prompts are sent one at a time; answers are streamed, and the first token is
  timed. Each prompt is sent in two arms: \"on\" as a client sends it, \"off\" with
  fresh first tokens, so that nothing can hit.

Targets, on medians:
  conversation  off over on, over all turns but the first: x2.0 or more
  long prefix   the same: x2.5 or more
  both          first token on a hit: below 800 ms

Examples:
  A server on this machine, measured ten times:
    kvkeep validate --url http://127.0.0.1:8000 --repeats 10

  A remote server that wants a key and takes chats only:
    kvkeep validate --url https://llm.example.com --prompts chat \\
        --api-key-env OPENAI_API_KEY

  A small engine on a CPU, at a tenth of the size, for programs:
    kvkeep validate --url http://127.0.0.1:8000 --scale 0.1 --format json

Exit codes: 0 targets met; 1 a target missed, or the answer could not be written;
2 flags make no sense, or the server could not be measured.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The server, an OpenAI-compatible one: http://host:port or https://host
    #[arg(long, value_name = "URL")]
    url: String,
    /// The model [default: the server's first]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How prompts are sent
    #[arg(long, value_enum, default_value_t)]
    prompts: Prompts,
    /// Environment variable that has the key which the server asks for
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Size of the prompts, 1 for those of the tests
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Times that everything is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeats: usize,
    /// Seed of the prompts; a run with the seed of an earlier one finds its prompts cached
    /// [default: from the clock]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How prompts are sent.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Prompts {
    /// Token ids to /v1/completions: exact; vLLM, SGLang and llama.cpp take them
    #[default]
    Tokens,
    /// Text to /v1/completions: words of about one token each
    Text,
    /// The same text as a message to /v1/chat/completions
    Chat,
}

impl From<Prompts> for kvkeep_validate::Prompts {
    fn from(prompts: Prompts) -> Self {
        match prompts {
            Prompts::Tokens => Self::Tokens,
            Prompts::Text => Self::Text,
            Prompts::Chat => Self::Chat,
        }
    }
}

/// The key in an environment variable.
fn api_key(variable: &str) -> Result<ApiKey, String> {
    let key = env::var(variable)
        .map_err(|_| format!("--api-key-env: {variable} is not set, or is no text"))?;
    ApiKey::new(&key)
        .ok_or_else(|| format!("--api-key-env: {variable} has no key that a request can carry"))
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> ExitCode {
    let api_key = match args.api_key_env.as_deref().map(api_key).transpose() {
        Ok(key) => key,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let options = Options {
        url: args.url.clone(),
        model: args.model.clone(),
        api_key,
        prompts: args.prompts.into(),
        scale: args.scale,
        repeats: args.repeats,
        seed: args.seed.unwrap_or_else(clock),
    };
    let mut progress = Progress::start("measured");
    let report = kvkeep_validate::validate(&options, |doing| progress.say(|| doing.to_owned()));
    drop(progress);
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let answer = match args.format {
        Format::Table => report.to_string().into_bytes(),
        Format::Json => {
            let mut json = serde_json::to_vec_pretty(&report).expect("a report is plain data");
            json.push(b'\n');
            json
        }
    };
    let printed = output::print(&answer);
    if report.met() { printed } else { ExitCode::FAILURE }
}

/// A seed that no earlier run had. The report says which it was.
fn clock() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
