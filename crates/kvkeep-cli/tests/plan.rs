//! Runs `kvkeep plan` as a user would.

use serde_json::Value;
use std::process::{Command, Output};

const DEPLOYMENT: [&str; 8] = [
    "--model",
    "qwen3-32b",
    "--tensor-parallel-size",
    "2",
    "--kv-cache-dtype",
    "fp8",
    "--kv-cache-memory-bytes",
    "12.58GiB",
];

fn plan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvkeep"))
        .arg("plan")
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))
        .output()
        .expect("kvkeep runs")
}

fn json(args: &[&str]) -> Value {
    let output = plan(&[args, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with `code`, prints no plan, and says `text`.
fn assert_fails(args: &[&str], code: i32, text: &str) {
    let output = plan(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{args:?}: {}", stdout(&output));
    assert!(stderr(&output).contains(text), "{args:?}: {}", stderr(&output));
}

#[test]
fn the_deployment() {
    let plan = json(&DEPLOYMENT);
    assert_eq!(plan["num_blocks"], 12_881);
    assert_eq!(plan["num_tokens"], 206_096);
    assert_eq!(plan["bytes_per_block_per_gpu"], 1_048_576);
    assert_eq!(plan["longest_model_len"], 206_096);
    assert_eq!(plan["max_concurrency"], Value::Null);
    assert_eq!(plan["stranded_bytes"], 2 * 964_689);
    assert_eq!(plan["ranks"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan["warnings"].as_array().map(Vec::len), Some(0));
    let last = plan["derivation"].as_array().and_then(|lines| lines.last()).expect("lines");
    assert_eq!(last["formula"], "12,881 blocks x 16 tokens");
}

#[test]
fn numbers_below_0_are_refused_with_their_flag() {
    let mut args = DEPLOYMENT;
    for negative in ["-1", "-12.58GiB"] {
        args[7] = negative;
        assert_fails(&args, 2, &format!("--kv-cache-memory-bytes {negative}: is below 0"));
    }
    assert_fails(&["--block-size=-16"], 2, "--block-size -16: is below 0");
}

#[test]
fn its_bf16_twin() {
    let mut args = DEPLOYMENT;
    args[5] = "bfloat16";
    assert_eq!(json(&args)["num_blocks"], 6_440);
    // The model's own dtype is bfloat16.
    args[5] = "auto";
    assert_eq!(json(&args)["num_blocks"], 6_440);
    args[5] = "fp9";
    assert_fails(&args, 2, "fp8_e4m3");
}

#[test]
fn the_table_has_figures_and_derivation() {
    let output = plan(&DEPLOYMENT);
    let text = stdout(&output);
    for part in ["12,881", "206,096", "Derivation", "floor(13,507,672,145 B / 1,048,576 B)"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("bounds"), "the GPUs are equal:\n{text}");
    assert!(stderr(&output).is_empty());
}

#[test]
fn uneven_gpus_by_list_or_by_repeating_the_flag() {
    let base = ["--model", "qwen3-32b", "--tensor-parallel-size", "2", "--kv-cache-dtype", "fp8"];
    let list = json(&[&base[..], &["--kv-cache-memory-bytes", "12GiB,8GiB"]].concat());
    let twice = json(
        &[&base[..], &["--kv-cache-memory-bytes", "12GiB", "--kv-cache-memory-bytes", "8GiB"]]
            .concat(),
    );
    assert_eq!(list, twice);
    assert_eq!(list["num_blocks"], 8_192);
    assert_eq!(list["ranks"][0]["uneven_bytes"], 4_u64 << 30);
    let three = [&base[..], &["--kv-cache-memory-bytes", "1GiB,1GiB,1GiB"]].concat();
    assert_fails(&three, 2, "3 values for 2 GPUs");
}

#[test]
fn from_gpu_memory() {
    let args = [
        "--model",
        "qwen3-32b",
        "--tensor-parallel-size",
        "2",
        "--kv-cache-dtype",
        "fp8",
        "--gpu-memory",
        "24GiB",
        "--gpu-memory-utilization",
        "0.95",
        "--weights",
        "9GiB",
        "--activations",
        "1GiB",
        "--other-reserved",
        "512MiB",
        "--max-model-len",
        "32K",
    ];
    let plan = json(&args);
    // ceil(24 GiB x 0.95) - 10.5 GiB = 13,207,024,436 bytes
    assert_eq!(plan["ranks"][1]["kv_bytes"], 13_207_024_436_u64);
    assert_eq!(plan["num_blocks"], 12_595);
    assert_eq!(plan["max_concurrency"], 12_595.0 / 2_048.0);
}

#[test]
fn what_does_not_fit_is_1() {
    let gpu = ["--model", "qwen3-32b", "--gpu-memory", "24GiB"];
    assert_fails(&[&gpu[..], &["--weights", "30GiB"]].concat(), 1, "short by");
    let free = ["--weights", "1GiB", "--gpu-memory-free", "20GiB"];
    assert_fails(&[&gpu[..], &free].concat(), 1, "lower gpu_memory_utilization to 0.833");
    let long = [&DEPLOYMENT[..], &["--max-model-len", "206097"]].concat();
    assert_fails(&long, 1, "at most 206,096");
}

#[test]
fn what_makes_no_sense_is_2() {
    assert_fails(&[], 2, "--model");
    assert_fails(&["--model", "qwen3-32b"], 2, "--kv-cache-memory-bytes");
    assert_fails(&["--model", "qwen3-32b", "--gpu-memory", "24GiB"], 2, "--weights");
    assert_fails(&["--model", "qwen3-33b"], 2, "did you mean qwen3-32b?");
    assert_fails(&["--model", "missing/config.json"], 2, "missing/config.json");
    let both = [&DEPLOYMENT[..], &["--gpu-memory", "24GiB"]].concat();
    assert_fails(&both, 2, "cannot be used with");
    let heads = ["--model", "qwen3-32b", "--tensor-parallel-size", "3"];
    let heads = [&heads[..], &["--kv-cache-memory-bytes", "1GiB"]].concat();
    assert_fails(&heads, 2, "8 KV heads cannot be split evenly over 3");
    let ranks = ["--model", "qwen3-32b", "--tensor-parallel-size", "4000000000"];
    let ranks = [&ranks[..], &["--kv-cache-memory-bytes", "1GiB"]].concat();
    assert_fails(&ranks, 2, "more than 65536");
}

#[test]
fn a_misspelt_flag_is_reported_and_not_planned_from() {
    let args = ["--profile", "medium.yml", "--kv-cache-memory-bytes", "12.58GiB"];
    assert_fails(&args, 2, "--kv_cache_dtype is misspelt; write --kv-cache-dtype");
    // The other fault of the same file is reported in the same run.
    assert_fails(&args, 2, "--tool-call-parser hermes does not fit Qwen3");
}

#[test]
fn a_tool_call_parser_that_does_not_fit_is_pointed_out() {
    let args = ["--profile", "medium-spelled.yml", "--kv-cache-memory-bytes", "12.58GiB"];
    let output = plan(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("use --tool-call-parser qwen3"), "{}", stderr(&output));
    let plan = json(&args);
    assert_eq!(plan["num_blocks"], 12_881);
    // 40,960 tokens, the default of the interpolated variable.
    assert_eq!(plan["max_concurrency"], 12_881.0 / 2_560.0);
}

#[test]
fn a_profile_without_memory_asks_for_it() {
    assert_fails(&["--profile", "medium-spelled.yml"], 2, "--gpu-memory with --weights");
    let args = ["--gpu-memory", "24GiB", "--weights", "9GiB", "--activations", "1GiB"];
    let plan = json(&[&["--profile", "medium-spelled.yml"], &args[..]].concat());
    // The profile's utilization of 0.95: 24,481,313,588 - 10 GiB
    assert_eq!(plan["ranks"][0]["kv_bytes"], 24_481_313_588_u64 - (10 << 30));
}

#[test]
fn a_command_line_in_a_text_file() {
    let plan = json(&["--profile", "serve.sh"]);
    assert_eq!(plan["num_blocks"], 12_881);
    assert_eq!(plan["warnings"].as_array().map(Vec::len), Some(0), "qwen3 fits");
    // Flags on the command line win.
    assert_eq!(json(&["--profile", "serve.sh", "--kv-cache-dtype", "bf16"])["num_blocks"], 6_440);
    assert_eq!(json(&["--profile", "serve.sh", "--block-size", "32"])["num_blocks"], 6_440);
}

#[test]
fn one_of_several_services() {
    let memory = ["--kv-cache-memory-bytes", "4GiB"];
    let args = [&["--profile", "two-services.yml"], &memory[..]].concat();
    assert_fails(&args, 2, "pick one with --service: small, large");
    assert_fails(&[&args[..], &["--service", "proxy"]].concat(), 2, "no `vllm serve`");
    assert_fails(&[&args[..], &["--service", "none"]].concat(), 2, "small, large, proxy");
    let small = json(&[&args[..], &["--service", "small"]].concat());
    assert_eq!((&small["model"], &small["block_size"]), (&"qwen3-8b".into(), &32.into()));
    let large = json(&[&args[..], &["--service", "large"]].concat());
    assert_eq!(large["tensor_parallel_size"], 2);
    assert_eq!(large["kv_cache_dtype"], "bfloat16");
}

#[test]
fn a_variable_without_a_default() {
    assert_fails(&["--profile", "no-default.yml"], 2, "variable MODEL has no default");
}

#[test]
fn a_config_json_by_file_or_folder() {
    let file = ["--model", "hybrid/config.json", "--kv-cache-memory-bytes", "1GiB"];
    let folder = ["--model", "hybrid", "--kv-cache-memory-bytes", "1GiB"];
    let plan = json(&file);
    // 2 x 4 layers x 2 heads x 64 x 2 bytes x 16 tokens; head size 512 / 8
    assert_eq!(plan["bytes_per_block_per_gpu"], 32_768);
    assert_eq!(plan["num_blocks"], json(&folder)["num_blocks"]);
    let warning = plan["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("3 of 4 layers are not full attention"), "{warning}");
}

#[test]
fn help_shows_examples_and_presets() {
    let output = plan(&["--help"]);
    for part in ["Examples:", "llama-3.1-70b", "Exit codes"] {
        assert!(stdout(&output).contains(part), "{part}");
    }
}
