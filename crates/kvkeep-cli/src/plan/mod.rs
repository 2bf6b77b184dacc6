//! `kvkeep plan`: from a model and GPU memory to blocks, with the derivation.
//!
//! The arithmetic is the library's. Here are the ways to say what to plan: flags, presets,
//! a Hugging Face config.json, or a profile with a `vllm serve` command line.
//!
//! A profile with a flag that vLLM does not know is not planned from: the flag may be the
//! very one that sizes the cache, so any figure could be wrong. Every such flag is listed.

mod family;
mod hf_config;
mod presets;
mod profile;
mod render;

use crate::budget_args::{BudgetArgs, Plan};
use crate::error::Error;
use crate::format::Format;
use crate::output;
use family::Family;
use kvkeep::budget::{Attention, KvDtype};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a plan needs to know of a model.
#[derive(Clone, Debug)]
pub(crate) struct ModelSpec {
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) layers: u32,
    pub(crate) attention: Attention,
    /// The model's own dtype, if it says.
    pub(crate) dtype: Option<KvDtype>,
    pub(crate) warnings: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  Two 24 GB GPUs that leave 12.58 GiB each for an fp8 cache:
    kvkeep plan --model qwen3-32b --tensor-parallel-size 2 --kv-cache-dtype fp8 \\
        --kv-cache-memory-bytes 12.58GiB

  From the GPU's memory, and how many 32k requests fit at once:
    kvkeep plan --model qwen3-32b --tensor-parallel-size 2 --kv-cache-dtype fp8 \\
        --gpu-memory 24GiB --gpu-memory-utilization 0.95 \\
        --weights 9.1GiB --activations 1GiB --max-model-len 32K

  From a Docker Compose file, which does not say how large the GPUs are:
    kvkeep plan --profile medium.yml --kv-cache-memory-bytes 12.58GiB

Exit codes: 0 planned; 1 it does not fit, or the plan could not be written; 2
flags, profile or model make no sense.";

/// Arguments of `kvkeep plan`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub(crate) struct Args {
    #[command(flatten)]
    budget: BudgetArgs,

    /// Docker Compose file, or a text file with a `vllm serve` command line; flags given
    /// here override it. Variables take their defaults: neither the environment nor a .env
    /// file is read
    #[arg(long, value_name = "FILE", help_heading = "Profile")]
    profile: Option<PathBuf>,

    /// The Compose service to read, when several run vLLM
    #[arg(long, value_name = "NAME", requires = "profile", help_heading = "Profile")]
    service: Option<String>,

    /// Output format
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Format,
}

fn long_help() -> String {
    let names: Vec<&str> = presets::names().collect();
    let lines: Vec<String> =
        names.chunks(4).map(|chunk| format!("  {}", chunk.join(", "))).collect();
    format!("Model presets:\n{}\n\n{EXAMPLES}", lines.join(",\n"))
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    match make_plan(args.budget, args.profile.as_deref(), args.service.as_deref()) {
        Ok(plan) => {
            for warning in &plan.warnings {
                eprintln!("warning: {warning}");
            }
            let text = match args.format {
                Format::Table => render::table(&plan),
                Format::Json => format!("{:#}\n", render::json(&plan)),
            };
            output::print(text.as_bytes())
        }
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

fn make_plan(
    flags: BudgetArgs,
    profile: Option<&Path>,
    service: Option<&str>,
) -> Result<Plan, Error> {
    let Some(path) = profile else {
        return flags.plan();
    };
    let mut profile = profile::read(path, service)?;
    let parser = profile.tool_call_parser.take();
    let mut warnings = std::mem::take(&mut profile.warnings);
    let problems = std::mem::take(&mut profile.problems);
    let flags = profile.overridden_by(flags);
    if let (Some(parser), Some(model)) = (&parser, &flags.model) {
        warnings.extend(resolve_model(model)?.family.parser_remark(parser));
    }
    let planned = if problems.is_empty() {
        flags.plan()
    } else {
        Err(Error::Input(format!("{}: {}", path.display(), problems.join("\n       "))))
    };
    match planned {
        Ok(mut plan) => {
            plan.warnings.extend(warnings);
            Ok(plan)
        }
        Err(error) => {
            // What is wrong with the profile stays worth knowing when the plan fails.
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            Err(error)
        }
    }
}

/// A preset, a model id that maps to one, or the path of a config.json or its folder.
pub(crate) fn resolve_model(name: &str) -> Result<ModelSpec, Error> {
    let path = Path::new(name);
    if path.exists() || path.extension().is_some_and(|extension| extension == "json") {
        return hf_config::read(path);
    }
    presets::find(name).ok_or_else(|| {
        let hint = match presets::nearest(name) {
            Some(preset) => format!("did you mean {preset}? "),
            None => String::new(),
        };
        Error::Input(format!(
            "no preset for model {name:?}; {hint}pass the path of its config.json, or one of the \
             presets in `kvkeep plan --help`"
        ))
    })
}
