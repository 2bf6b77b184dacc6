//! Runs `kvkeep simulate` as a user does.
//!
//! The small traces in `data/` have counts that were worked out by hand, in the comments
//! here. The published trace is too large to keep in the repository; its test looks for it
//! in `../shared/traces` beside the repository, or where `KVKEEP_TRACES` says.

use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn kvkeep(args: &[&str], stdin: &[u8]) -> Output {
    kvkeep_verb(&[&["simulate"], args].concat(), stdin)
}

fn kvkeep_verb(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvkeep"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kvkeep starts");
    // A command that does not read its stdin may be gone already.
    let _ = child.stdin.take().expect("stdin is piped").write_all(stdin);
    child.wait_with_output().expect("kvkeep ends")
}

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    path.into_os_string().into_string().expect("the path is UTF-8")
}

/// Runs with `--format json`; expects success and silence on stderr.
fn json(args: &[&str]) -> Value {
    json_of(&kvkeep(&[args, &["--format", "json"]].concat(), b""))
}

fn json_of(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "", "progress is for terminals only");
    serde_json::from_slice(&output.stdout).expect("stdout is JSON")
}

/// Runs, expects exit code 2 and an empty stdout, and returns stderr.
fn failure(args: &[&str], stdin: &[u8]) -> String {
    let output = kvkeep(args, stdin);
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(output.stdout, b"");
    stderr
}

/// What two runs of the same workload have in common.
fn without_times(mut report: Value) -> Value {
    let object = report.as_object_mut().expect("the report is an object");
    for key in ["replay_seconds", "requests_per_second", "wall_seconds"] {
        let value = object.remove(key).expect("the times are in the report");
        assert!(value.as_f64().is_some_and(|value| value > 0.0), "{key}: {value}");
    }
    report
}

/// The number at `key`, which has to be there.
fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is a number in {report}"))
}

/// Three blocks of 512 tokens. Free blocks go first, then the tail of the oldest chain.
///
/// | request | ids, tokens | hit | why it ended | blocks afterwards (oldest first) | evicted |
/// |---|---|---|---|---|---|
/// | 1 | 1 2, 1024 | 0 | never seen | 2 1, one free | 0 |
/// | 2 | 1 2, 1024 | 512 | last token | 2 1, one free | 0 |
/// | 3 | 3 4 5, 1536 | 0 | never seen | 5 4 3 | 2 |
/// | 4 | 1 2, 1024 | 0 | evicted | 3 2 1 | 2 |
/// | 5 | 3 4, 600 | 512 | less than a block left | 1 3, one free | 1 |
/// | 6 | 6 7 8 9, 2048 | | rejected: all missed | | |
/// | 7 | 1, 512 | 0 | last token | 1 3 or 3 1, one free | 0 |
///
/// An infinite cache also hits 512 tokens of request 4.
#[test]
fn every_count_of_a_hand_made_trace() {
    let trace = data("pressure.jsonl");
    let report = json(&[&trace, "--policy", "lru", "--blocks", "3", "--block-size", "512"]);
    for (key, expected) in [
        ("blocks", 3),
        ("block_size", 512),
        ("requests", 7),
        ("rejected", 1),
        ("prompt_tokens", 1024 + 1024 + 1536 + 1024 + 600 + 2048 + 512),
        ("rejected_prompt_tokens", 2048),
        ("cached_tokens", 1024),
        ("evicted_blocks", 5),
        ("decoded_tokens", 0),
        ("outputs_cut_short", 0),
    ] {
        assert_eq!(report[key], expected, "{key}");
    }
    assert_eq!(number(&report, "hit_rate"), 1024.0 / 7768.0);
    assert_eq!(number(&report, "infinite_hit_rate"), 1536.0 / 7768.0);
    assert_eq!(number(&report, "workload_seconds"), 6.0);
    assert_eq!(report["policy"], "lru");
    assert_eq!(report["trace"], trace.as_str());
    assert_eq!(report["seed"], Value::Null);
    assert_eq!(report["outputs"], false);
    let reasons = [
        ("never_seen", 2, 1024 + 1536),
        ("last_token", 2, 512 + 512),
        ("evicted", 1, 1024),
        ("below_block_granularity", 1, 88),
        ("collision", 0, 0),
        ("not_committed", 0, 0),
        ("different_extra_keys", 0, 0),
    ];
    for (reason, requests, tokens) in reasons {
        assert_eq!(report["miss_reasons"][reason], requests, "{reason}");
        assert_eq!(report["missed_tokens"][reason], tokens, "{reason}");
    }
    let named = report["miss_reasons"].as_object().expect("miss_reasons is an object");
    assert_eq!(named.len(), reasons.len());
}

/// Three blocks of 512 tokens, outputs decoded. The last output token is never computed.
///
/// 1. 512 + 512 tokens: two full blocks, one of them the output's. 512 decoded.
/// 2. 513 tokens: 512 hit, one block for the rest. Nothing decoded.
/// 3. 1,000 tokens: 512 hit; the output of 599 would need 1,599 tokens, but the pool ends at
///    1,536, so 536 are decoded. The output block of request 1 is evicted on the way.
#[test]
fn outputs_take_blocks_and_stop_where_the_pool_ends() {
    let args = [&*data("outputs.jsonl"), "--blocks", "3", "--block-size", "512"];
    let with = json(&[&args[..], &["--outputs"]].concat());
    let without = json(&args);
    for report in [&with, &without] {
        assert_eq!(report["prompt_tokens"], 2025);
        assert_eq!(report["cached_tokens"], 1024);
        assert_eq!(number(report, "infinite_hit_rate"), 1024.0 / 2025.0);
    }
    assert_eq!(with["outputs"], true);
    assert_eq!(with["decoded_tokens"], 512 + 536);
    assert_eq!(with["outputs_cut_short"], 1);
    assert_eq!(with["evicted_blocks"], 1);
    assert_eq!(without["decoded_tokens"], 0);
    assert_eq!(without["evicted_blocks"], 0);
}

#[test]
fn a_trace_comes_from_stdin_as_well() {
    let trace = std::fs::read(data("pressure.jsonl")).expect("the trace is there");
    let args = ["--blocks", "3", "--block-size", "512", "--format", "json"];
    let from_stdin = json_of(&kvkeep(&[&["-"], &args[..]].concat(), &trace));
    let from_file = json_of(&kvkeep(&[&[&*data("pressure.jsonl")], &args[..]].concat(), b""));
    assert_eq!(from_stdin["trace"], "-");
    let [mut from_stdin, mut from_file] = [from_stdin, from_file].map(without_times);
    (from_stdin["trace"], from_file["trace"]) = (Value::Null, Value::Null);
    assert_eq!(from_stdin, from_file);
}

#[test]
fn requests_stop_a_trace_early() {
    let trace = data("pressure.jsonl");
    let report = json(&[&trace, "--blocks", "3", "--block-size", "512", "--requests", "2"]);
    assert_eq!(report["requests"], 2);
    assert_eq!(report["prompt_tokens"], 2048);
    // The malformed second line is never reached.
    assert_eq!(json(&[&data("malformed.jsonl"), "--requests", "1"])["requests"], 1);
}

#[test]
fn what_is_rejected_is_missed() {
    let report = json(&[&*data("pressure.jsonl"), "--blocks", "1", "--block-size", "16"]);
    assert_eq!((&report["requests"], &report["rejected"]), (&7.into(), &7.into()));
    assert_eq!(report["prompt_tokens"], report["rejected_prompt_tokens"]);
    assert_eq!(report["hit_rate"], 0.0);
    assert_eq!(number(&report, "infinite_hit_rate"), f64::from(1008 + 1008 + 592 + 496) / 7768.0);
}

/// Two prompts of two full blocks, of which the second hits both, and one that needs five.
#[test]
fn a_pool_of_the_same_size_has_the_same_rate_in_sweep() {
    let line = |ids: &str, tokens: u32| {
        format!(
            "{{\"timestamp\": 0, \"input_length\": {tokens}, \"output_length\": 1, \
             \"hash_ids\": [{ids}]}}\n"
        )
    };
    let trace = [line("1,2,3", 1100), line("1,2,4", 1100), line("1,2,5,6,7", 2100)].concat();
    let run = |args: &[&str]| -> Value {
        let output = kvkeep_verb(&[args, &["-", "--format", "json"]].concat(), trace.as_bytes());
        json_of(&output)
    };
    let report = run(&["simulate", "--blocks", "4", "--block-size", "512"]);
    let sweep = run(&["sweep", "--policy", "lru", "--sizes", "4"]);
    assert_eq!((&report["cached_tokens"], &report["rejected"]), (&1024.into(), &1.into()));
    assert_eq!(sweep["rows"][0]["rejected"], 1);
    // Reading JSON may cost the last digit.
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, {b}");
    near(number(&report, "hit_rate"), number(&sweep["rows"][0], "hit_rate"));
    near(number(&report, "infinite_hit_rate"), number(&sweep, "infinite_hit_rate"));
}

#[test]
fn bad_traces_are_named_and_exit_with_2() {
    let trace = data("malformed.jsonl");
    assert_eq!(
        failure(&[&trace], b""),
        format!(
            "error: {trace}:2: hash_ids: expected 3 ids of 512 tokens for input_length 1400, \
             found 2\n"
        )
    );
    let unknown = failure(&["-"], b"{}\n");
    assert!(unknown.starts_with("error: stdin: the format cannot be told"), "{unknown}");
    let missing = failure(&["-", "--trace-format", "mooncake"], b"{}\n");
    assert!(missing.starts_with("error: stdin:1: missing field"), "{missing}");
    assert_eq!(failure(&["-"], b""), "error: stdin: the trace has no requests\n");
    let missing = failure(&["no/such/trace.jsonl"], b"");
    assert!(missing.starts_with("error: no/such/trace.jsonl: cannot be opened: "), "{missing}");
}

#[test]
fn usage_errors_exit_with_2_and_name_the_flag() {
    let trace = data("pressure.jsonl");
    for (args, flag) in [
        (vec!["--blocks", "0"], "--blocks"),
        (vec!["--block-size", "0"], "block_size"),
        (vec!["--blocks", "9", "--block-size", "0"], "block_size"),
        (vec!["--blocks", "9", "--block-size", "65537"], "block_size"),
        (vec!["--requests", "0"], "--requests"),
        (vec!["--policy", "magic"], "--policy"),
        (vec![&*trace, "--seed", "1"], "--seed"),
        (vec!["--users", "2"], "<TRACE>"),
        (vec![&*trace, "--users", "2"], "users: not for"),
        (vec![&*trace, "--trace-format", "magic"], "--trace-format"),
        (vec!["--blocks", "9", "--tensor-parallel-size", "2"], "cannot be used with"),
        (vec!["--blocks", "9", "--model", "qwen3-32b"], "cannot be used with"),
        // A budget needs a model: no flag of it is dropped in silence.
        (vec!["--tensor-parallel-size", "2"], "--model"),
        (vec!["--kv-cache-memory-bytes", "12.58GiB"], "--model"),
    ] {
        let stderr = failure(&args, b"");
        assert!(stderr.contains(flag), "{args:?}: {stderr}");
    }
}

#[test]
fn the_built_in_workload_runs_on_the_deployment_and_repeats() {
    let args = ["--requests", "1500", "--seed", "0"];
    let report = without_times(json(&args));
    assert_eq!(report["blocks"], 12_881);
    assert_eq!(report["block_size"], 16);
    assert_eq!(report["bytes_per_gpu"], 12_881_u64 << 20);
    assert_eq!(report["gpus"], 2);
    assert_eq!(report["requests"], 1500);
    assert_eq!(report["rejected"], 0);
    assert_eq!(report["seed"], 0);
    assert_eq!(report["trace"], Value::Null);
    assert_eq!(report, without_times(json(&args)));
    let other = without_times(json(&["--requests", "1500", "--seed", "1"]));
    assert_ne!(report["prompt_tokens"], other["prompt_tokens"]);
}

/// A pipe without `-` is not read. That is said, and stops nobody whose stdin is something else.
#[test]
fn a_workload_beside_a_pipe_is_said_to_be_made_up() {
    let trace = std::fs::read(data("pressure.jsonl")).expect("the trace is there");
    let sweep = ["sweep", "--estimate-blocks", "1024", "--sizes", "500"];
    for args in [&["simulate", "--requests", "9"][..], &sweep] {
        for stdin in [&trace[..], b""] {
            let output = kvkeep_verb(args, stdin);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            assert!(stderr.starts_with("note: no TRACE is named") && stderr.contains("- reads"));
        }
    }
    let output = kvkeep(&["--requests", "9", "--seed", "0"], &trace);
    assert!(output.stderr.is_empty(), "who names a seed wants the built-in workload");
}

/// The deployment in bf16: half the blocks.
#[test]
fn budget_flags_size_the_pool() {
    let budget = [
        "--model",
        "qwen3-32b",
        "--tensor-parallel-size",
        "2",
        "--kv-cache-dtype",
        "bfloat16",
        "--kv-cache-memory-bytes",
        "12.58GiB",
        "--requests",
        "10",
        "--seed",
        "0",
    ];
    let report = json(&budget);
    assert_eq!(report["blocks"], 6_440);
    assert_eq!(report["block_size"], 16);
    assert_eq!(report["bytes_per_gpu"], 6_440_u64 << 21);
    let report = json(&[&budget[..], &["--block-size", "512"]].concat());
    // 12.58 GiB / 64 MiB
    assert_eq!(report["blocks"], 201);
    // Without budget flags the deployment is cut into blocks of any size.
    let report = json(&["--block-size", "512", "--requests", "10", "--seed", "0"]);
    assert_eq!(report["blocks"], 402);
}

#[test]
fn the_built_in_workload_presses_on_the_deployments_pool() {
    let report = json(&["--requests", "6k", "--seed", "0"]);
    let (hit_rate, infinite) = (number(&report, "hit_rate"), number(&report, "infinite_hit_rate"));
    assert!((0.40..0.60).contains(&hit_rate), "{hit_rate}");
    assert!((0.70..0.85).contains(&infinite), "{infinite}");
    let roomy = json(&["--requests", "6k", "--seed", "0", "--blocks", "1M"]);
    assert_eq!(roomy["evicted_blocks"], 0);
    assert_eq!(roomy["hit_rate"], report["infinite_hit_rate"]);
}

/// The built-in workload knows its outputs: the next turn hits them.
#[test]
fn decoded_outputs_of_the_built_in_workload_are_hit_by_the_next_turn() {
    let args = ["--requests", "500", "--blocks", "1000000", "--seed", "0"];
    let without = number(&json(&args), "hit_rate");
    let with = json(&[&args[..], &["--outputs"]].concat());
    assert!(number(&with, "hit_rate") > without + 0.05, "{with}");
    assert_eq!(with["hit_rate"], with["infinite_hit_rate"]);
}

#[test]
fn the_table_carries_the_definition_of_the_hit_rate() {
    let trace = data("pressure.jsonl");
    let output = kvkeep(&[&trace, "--blocks", "3", "--block-size", "512"], b"");
    let table = String::from_utf8(output.stdout).expect("stdout is UTF-8");
    for part in [
        "3 blocks x 512 tokens = 1,536 tokens",
        "7,768",
        "13.18 %",
        "19.77 %",
        "of rejected requests",
        "never seen",
        "Hit rate = ",
    ] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    assert!(!table.contains("collision"), "reasons that never occurred are left out\n{table}");
    assert!(output.stderr.is_empty());
}

/// Token hit rates of an independent simulator under the same rule.
#[test]
fn the_published_conversation_trace_gives_the_known_hit_rates() {
    let folder = std::env::var_os("KVKEEP_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"),
        PathBuf::from,
    );
    let path = folder.join("mooncake_conversation_trace.jsonl");
    if !path.is_file() {
        println!("skipped: no {}; set KVKEEP_TRACES to the folder that has it", path.display());
        return;
    }
    let trace = path.to_str().expect("the path is UTF-8");
    std::thread::scope(|scope| {
        for (blocks, expected) in [("1000", 0.0459), ("10000", 0.2193), ("100000", 0.3710)] {
            scope.spawn(move || {
                let report = json(&[trace, "--blocks", blocks, "--block-size", "512"]);
                assert_eq!(report["requests"], 12_031);
                assert_eq!(report["rejected"], 0);
                let hit_rate = number(&report, "hit_rate");
                assert!((hit_rate - expected).abs() <= 0.0005, "{blocks} blocks: {hit_rate}");
            });
        }
    });
}
