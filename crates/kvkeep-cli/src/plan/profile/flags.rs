//! vLLM's flags, and what is wrong with those that are not.
//!
//! vLLM's parser forgives underscores in some versions and refuses them in others; here they
//! are reported, always.

/// Flags without a value; each has a `--no-` form.
const SWITCHES: &str = "
    aggregate-engine-logging allow-credentials async-scheduling calculate-kv-scales
    data-parallel-external-lb data-parallel-hybrid-lb disable-access-log-for-endpoints
    disable-async-output-proc disable-cascade-attn disable-chunked-mm-input
    disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing
    disable-hybrid-kv-cache-manager disable-log-requests disable-log-stats
    disable-mm-preprocessor-cache disable-nccl-for-dp-synchronization disable-sliding-window
    disable-uvicorn-access-log enable-auto-tool-choice enable-chunked-prefill enable-dbo
    enable-elastic-ep enable-eplb enable-expert-parallel enable-flashinfer-autotune
    enable-force-include-usage enable-log-outputs enable-log-requests
    enable-logging-iteration-details enable-lora enable-lora-bias enable-mfu-metrics
    enable-multimodal-encoder-data-parallel enable-offline-docs enable-prefix-caching
    enable-prompt-adapter enable-prompt-embeds enable-prompt-tokens-details enable-reasoning
    enable-request-id-headers enable-return-routed-experts enable-server-load-tracking
    enable-sleep-mode enable-ssl-refresh enable-tokenizer-info-endpoint
    enable-tower-connector-lora enable-mm-embeds enforce-eager
    exclude-tools-when-tool-choice-none fail-on-environ-validation fully-sharded-loras headless
    interleave-mm-strings kv-cache-metrics kv-sharing-fast-prefill language-model-only
    log-config-file-only log-error-stack multi-step-stream-outputs numa-bind
    ray-workers-use-nsight return-tokens-as-token-ids show-hidden-metrics skip-mm-profiling
    skip-tokenizer-init tokens-only trust-remote-code trust-request-chat-template
    use-tqdm-on-load use-v2-block-manager worker-use-ray
";

/// Flags with one value.
const VALUED: &str = "
    additional-config all2all-backend allowed-headers allowed-local-media-path allowed-methods
    allowed-origins api-server-count attention-backend attention-config
    block-size chat-template chat-template-content-format code-revision compilation-config config
    config-format convert cp-kv-cache-interleave-size cpu-offload-gb cudagraph-num-of-warmups
    data-parallel-address data-parallel-backend data-parallel-rank
    data-parallel-rpc-port data-parallel-size data-parallel-size-local data-parallel-start-rank
    dbo-decode-token-threshold dbo-prefill-token-threshold dcp-comm-backend
    dcp-kv-cache-interleave-size decode-context-parallel-size default-chat-template-kwargs
    default-mm-loras device disable-log-stats-interval distributed-executor-backend
    distributed-timeout-seconds download-dir dtype ec-transfer-config eplb-config
    expert-placement-strategy generation-config gpu-memory-utilization guided-decoding-backend
    h11-max-header-count h11-max-incomplete-event-size hf-config-path hf-overrides hf-token host
    io-processor-plugin kernel-config kv-cache-dtype kv-cache-memory-bytes
    kv-cache-metrics-sample kv-events-config kv-offloading-backend kv-offloading-size
    kv-transfer-config linear-backend limit-mm-per-prompt load-format log-config-file
    logits-processor-pattern logprobs-mode long-prefill-token-threshold lora-dtype
    lora-extra-vocab-size mamba-backend mamba-block-size mamba-cache-dtype mamba-cache-mode
    mamba-ssm-cache-dtype master-addr master-port max-cpu-loras max-log-len max-logprobs
    max-long-partial-prefills max-lora-rank max-loras max-model-len max-num-batched-tokens
    max-num-partial-prefills max-num-scheduled-tokens max-num-seqs max-parallel-loading-workers
    max-prompt-adapters max-prompt-adapter-token max-seq-len-to-capture media-io-kwargs
    mm-encoder-attn-backend mm-encoder-tp-mode mm-processor-cache-gb mm-processor-cache-type
    mm-processor-kwargs mm-shm-cache-max-object-size-mb model model-class-overrides model-impl
    model-loader-extra-config moe-backend nnodes node-rank num-gpu-blocks-override
    num-lookahead-slots num-redundant-experts num-scheduler-steps numa-bind-cpus numa-bind-nodes
    offload-backend optimization-level otlp-traces-endpoint override-attention-dtype
    override-generation-config override-neuron-config override-pooler-config performance-mode
    pipeline-parallel-size pooler-config port preemption-mode prefetch-backend
    prefill-context-parallel-size prefix-caching-hash-algo profiler-config
    quantization quantization-config quantization-param-path reasoning-config reasoning-parser
    reasoning-parser-plugin response-role revision rope-scaling rope-theta root-path
    runner safetensors-load-strategy scheduler-cls scheduler-delay-factor
    scheduler-reserve-full-isl scheduling-policy seed speculative-config
    speculative-disable-by-batch-size speculative-draft-tensor-parallel-size speculative-max-model-len
    speculative-model speculative-model-quantization num-speculative-tokens ssl-ca-certs ssl-cert-reqs
    ssl-certfile ssl-ciphers ssl-keyfile stream-interval structured-outputs-config swap-space
    target-device task tensor-parallel-size tokenizer tokenizer-mode
    tokenizer-pool-extra-config tokenizer-pool-size tokenizer-pool-type tokenizer-revision
    tool-call-parser tool-parser-plugin tool-server typical-acceptance-sampler-posterior-alpha
    typical-acceptance-sampler-posterior-threshold ubatch-size uds uvicorn-log-level
    video-pruning-rate weight-transfer-config worker-cls worker-extension-cls
";

/// Flags with one or more values.
const LISTS: &str = "
    allowed-media-domains api-key collect-detailed-traces cuda-graph-sizes
    cudagraph-capture-sizes ignore-patterns logits-processors long-lora-scaling-factors
    lora-modules lora-target-modules middleware prompt-adapters served-model-name
";

/// Short forms.
const SHORT: &[(&str, &str)] = &[
    ("-tp", "--tensor-parallel-size"),
    ("-pp", "--pipeline-parallel-size"),
    ("-dp", "--data-parallel-size"),
    ("-dpn", "--data-parallel-rank"),
    ("-dpr", "--data-parallel-start-rank"),
    ("-dpl", "--data-parallel-size-local"),
    ("-dpa", "--data-parallel-address"),
    ("-dpp", "--data-parallel-rpc-port"),
    ("-dpb", "--data-parallel-backend"),
    ("-dph", "--data-parallel-hybrid-lb"),
    ("-dpe", "--data-parallel-external-lb"),
    ("-dcp", "--decode-context-parallel-size"),
    ("-pcp", "--prefill-context-parallel-size"),
    ("-ep", "--enable-expert-parallel"),
    ("-asc", "--api-server-count"),
    ("-q", "--quantization"),
    ("-r", "--node-rank"),
    ("-n", "--nnodes"),
    ("-O", "--optimization-level"),
    ("-cc", "--compilation-config"),
    ("-ac", "--attention-config"),
    ("-sc", "--speculative-config"),
];

/// A flag by its full name, and its value (empty for a switch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Valued,
    List,
}

/// The flags that vLLM knows, and what is wrong with the other words.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) flags: Vec<Flag>,
    pub(super) problems: Vec<String>,
}

/// Reads the words after `vllm serve`.
pub(super) fn scan(words: &[String]) -> Scan {
    let (mut flags, mut problems) = (Vec::new(), Vec::new());
    let mut has_positional = false;
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        if !is_flag(word) {
            if has_positional {
                problems.push(format!("{word:?} belongs to no flag"));
            } else {
                has_positional = true;
                flags.push(Flag { name: "--model".to_owned(), value: word.clone() });
            }
            continue;
        }
        let (written, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some((name, kind)) = known(written) else {
            problems.push(problem(written));
            // Its value, if it has one.
            if inline.is_none() {
                rest.next_if(|next| !is_flag(next));
            }
            continue;
        };
        let value = match (kind, inline) {
            (_, Some(value)) => value,
            (Kind::Switch, None) => String::new(),
            (Kind::Valued | Kind::List, None) => match rest.next_if(|next| !is_flag(next)) {
                Some(value) => value.clone(),
                None if written.starts_with("-O") => String::new(),
                None => {
                    problems.push(format!("{written} has no value"));
                    continue;
                }
            },
        };
        if kind == Kind::List {
            while rest.next_if(|next| !is_flag(next)).is_some() {}
        }
        flags.push(Flag { name, value });
    }
    Scan { flags, problems }
}

/// A word that starts a flag, and not a negative number.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()))
}

/// The full name of a flag that vLLM knows.
fn known(written: &str) -> Option<(String, Kind)> {
    if let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == written) {
        return known(name);
    }
    // -O3 is a level, -O.level and -cc.level fields of the compilation config.
    if written.starts_with("-O") || written.starts_with("-cc.") {
        return Some((
            "--compilation-config".to_owned(),
            if written.contains('.') { Kind::Valued } else { Kind::Switch },
        ));
    }
    // --speculative-config.model sets one field of a JSON value.
    let full = written.strip_prefix("--")?;
    let (name, has_field) = match full.split_once('.') {
        Some((name, _)) => (name, true),
        None => (full, false),
    };
    let lists = |table: &str, name: &str| table.split_whitespace().any(|known| known == name);
    let kind = if lists(SWITCHES, name) {
        Kind::Switch
    } else if lists(VALUED, name) {
        Kind::Valued
    } else if lists(LISTS, name) {
        Kind::List
    } else if !has_field && name.strip_prefix("no-").is_some_and(|name| lists(SWITCHES, name)) {
        return Some((format!("--{name}"), Kind::Switch));
    } else {
        return None;
    };
    Some((format!("--{name}"), kind))
}

/// What is wrong with a flag that is not known, with the right spelling if there is one.
fn problem(written: &str) -> String {
    let spelled = written.replace('_', "-").to_ascii_lowercase();
    if known(&spelled).is_some() {
        return format!("{written} is misspelt; write {spelled}");
    }
    match nearest(&spelled) {
        Some(name) => format!("{written} is no flag of vLLM; did you mean --{name}?"),
        None => format!("{written} is no flag of vLLM"),
    }
}

fn nearest(spelled: &str) -> Option<&'static str> {
    let bare = spelled.trim_start_matches('-');
    // One slip per four letters: more would suggest unrelated flags.
    let tolerance = bare.len() / 4;
    [SWITCHES, VALUED, LISTS]
        .iter()
        .flat_map(|table| table.split_whitespace())
        .map(|name| (strsim::damerau_levenshtein(bare, name), name))
        .min()
        .filter(|(distance, _)| *distance <= tolerance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_text(text: &str) -> Scan {
        scan(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn flags(text: &str) -> Vec<(String, String)> {
        let scan = scan_text(text);
        assert_eq!(scan.problems, [""; 0], "{text}");
        scan.flags.into_iter().map(|flag| (flag.name, flag.value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn both_forms_short_forms_and_lists() {
        let text = "m -tp 2 --block-size=32 --served-model-name a b --enforce-eager -O3 --seed -1";
        assert_eq!(
            flags(text),
            [
                pair("--model", "m"),
                pair("--tensor-parallel-size", "2"),
                pair("--block-size", "32"),
                pair("--served-model-name", "a"),
                pair("--enforce-eager", ""),
                pair("--compilation-config", ""),
                pair("--seed", "-1"),
            ]
        );
    }

    #[test]
    fn a_positional_after_a_switch_is_the_model() {
        assert_eq!(
            flags("--enable-prefix-caching m"),
            [pair("--enable-prefix-caching", ""), pair("--model", "m")]
        );
    }

    #[test]
    fn every_unknown_flag_is_listed_with_the_right_spelling() {
        let scan =
            scan_text("m --kv_cache_dtype fp8 --tensor-paralel-size 2 --frobnicate --port 1");
        assert_eq!(
            scan.problems,
            [
                "--kv_cache_dtype is misspelt; write --kv-cache-dtype",
                "--tensor-paralel-size is no flag of vLLM; did you mean --tensor-parallel-size?",
                "--frobnicate is no flag of vLLM",
            ]
        );
        assert_eq!(scan.flags.len(), 2, "the model and the port");
    }

    #[test]
    fn missing_values_and_stray_words() {
        assert_eq!(scan_text("m --port").problems, ["--port has no value"]);
        assert_eq!(scan_text("m n").problems, ["\"n\" belongs to no flag"]);
    }

    #[test]
    fn no_flag_is_listed_twice() {
        let mut names: Vec<&str> =
            [SWITCHES, VALUED, LISTS].iter().flat_map(|table| table.split_whitespace()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
