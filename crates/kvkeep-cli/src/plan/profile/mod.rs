//! Reads the flags of a deployment: a Docker Compose file, or a `vllm serve` command line.

mod compose;
mod flags;
mod words;

use crate::budget_args::BudgetArgs;
use crate::bytes::{parse_bytes, parse_tokens};
use crate::error::Error;
use flags::Flag;
use std::path::Path;

/// What a profile says.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) flags: BudgetArgs,
    pub(super) tool_call_parser: Option<String>,
    pub(super) warnings: Vec<String>,
    /// Why the profile cannot be planned from.
    pub(super) problems: Vec<String>,
}

/// Reads `path`; `service` picks one of a Compose file's services.
pub(super) fn read(path: &Path, service: Option<&str>) -> Result<Profile, Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Input(format!("cannot read {shown}: {error}")))?;
    let is_compose = path.extension().is_some_and(|end| end == "yml" || end == "yaml")
        || text.lines().any(|line| line.trim_end() == "services:");
    let words = if is_compose {
        // As Compose does it: variables first, then words.
        compose::command(&text, service).and_then(|words| words::after_serve(&words))
    } else if service.is_some() {
        Err("--service needs a Docker Compose file".to_owned())
    } else {
        // Variables elsewhere in a script do not matter.
        words::split(&text)
            .and_then(|words| words::after_serve(&words))
            .and_then(|words| words.iter().map(|word| words::interpolate(word)).collect())
    };
    words
        .map(|words| from_words(&words))
        .map_err(|problem| Error::Input(format!("{shown}: {problem}")))
}

impl Profile {
    /// The profile's flags, except where the command line has its own.
    pub(super) fn overridden_by(self, cli: BudgetArgs) -> BudgetArgs {
        let list = |cli: Vec<u64>, own: Vec<u64>| if cli.is_empty() { own } else { cli };
        // The command line's GPU memory replaces the profile's KV bytes, which would win.
        let kv_bytes = if cli.gpu_memory.is_empty() {
            list(cli.kv_cache_memory_bytes, self.flags.kv_cache_memory_bytes)
        } else {
            Vec::new()
        };
        // The utilization that a profile sets for its own memory says nothing about KV bytes.
        let utilization =
            if kv_bytes.is_empty() { self.flags.gpu_memory_utilization } else { None };
        BudgetArgs {
            model: cli.model.or(self.flags.model),
            tensor_parallel_size: cli.tensor_parallel_size.or(self.flags.tensor_parallel_size),
            pipeline_parallel_size: cli
                .pipeline_parallel_size
                .or(self.flags.pipeline_parallel_size),
            dtype: cli.dtype.or(self.flags.dtype),
            kv_cache_dtype: cli.kv_cache_dtype.or(self.flags.kv_cache_dtype),
            block_size: cli.block_size.or(self.flags.block_size),
            max_model_len: cli.max_model_len.or(self.flags.max_model_len),
            kv_cache_memory_bytes: kv_bytes,
            gpu_memory_utilization: cli.gpu_memory_utilization.or(utilization),
            ..cli
        }
    }
}

/// Takes what is right even when something is wrong, so that all of it is reported at once.
fn from_words(words: &[String]) -> Profile {
    let scan = flags::scan(words);
    let mut profile = Profile { problems: scan.problems, ..Profile::default() };
    for flag in &scan.flags {
        if let Err(problem) = take(&mut profile, flag) {
            profile.problems.push(format!("{}: {problem}", flag.name));
        }
    }
    profile
}

fn take(profile: &mut Profile, flag: &Flag) -> Result<(), String> {
    let value = flag.value.as_str();
    let number = || value.parse::<u32>().map_err(|_| format!("{value:?} is not a whole number"));
    let own = &mut profile.flags;
    match flag.name.as_str() {
        "--model" => own.model = Some(value.to_owned()),
        "--tensor-parallel-size" => own.tensor_parallel_size = Some(number()?),
        "--pipeline-parallel-size" => own.pipeline_parallel_size = Some(number()?),
        "--dtype" => own.dtype = Some(value.to_owned()),
        "--kv-cache-dtype" => own.kv_cache_dtype = Some(value.to_owned()),
        "--block-size" => own.block_size = Some(number()?),
        // "The longest that fits", which a plan says anyway.
        "--max-model-len" if value == "auto" || value == "-1" => own.max_model_len = None,
        "--max-model-len" => own.max_model_len = Some(parse_tokens(value)?),
        "--kv-cache-memory-bytes" => own.kv_cache_memory_bytes = vec![parse_bytes(value)?],
        "--gpu-memory-utilization" => {
            let utilization = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
            own.gpu_memory_utilization = Some(utilization);
        }
        "--tool-call-parser" => profile.tool_call_parser = Some(value.to_owned()),
        "--data-parallel-size" if number()? > 1 => profile.warnings.push(format!(
            "--data-parallel-size {value}: the plan is for one replica; the {value} pools are \
             independent caches"
        )),
        "--num-gpu-blocks-override" => profile.warnings.push(format!(
            "--num-gpu-blocks-override {value} replaces the number of blocks that memory allows; \
             the plan ignores it"
        )),
        "--decode-context-parallel-size" | "--prefill-context-parallel-size" if number()? > 1 => {
            profile.warnings.push(format!(
                "{} {value} splits tokens over GPUs, which the plan does not model",
                flag.name
            ));
        }
        "--speculative-config" => profile.warnings.push(
            "--speculative-config: a draft model with its own KV cache is not in the plan"
                .to_owned(),
        ),
        _ => {}
    }
    Ok(())
}
