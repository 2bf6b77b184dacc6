//! Runs `kvkeep trace` as a user does.
//!
//! The small traces in `data/traces/`, one per format, have counts that were worked out by
//! hand. The published ones are too large to keep in the repository; their test looks for
//! them in `../shared/traces` beside the repository, or where `KVKEEP_TRACES` says.

use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn kvkeep(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvkeep"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kvkeep starts");
    // Apart, so that a pipe that fills up on one side does not stop the other. A command
    // that does not read its stdin may be gone already.
    let mut pipe = child.stdin.take().expect("stdin is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || drop(pipe.write_all(stdin)));
        child.wait_with_output().expect("kvkeep ends")
    })
}

/// Runs, expects success and silence on stderr, and returns stdout.
fn run(args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let output = kvkeep(args, stdin);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "");
    output.stdout
}

/// Runs, expects exit code 2 and an empty stdout, and returns stderr.
fn failure(args: &[&str], stdin: &[u8]) -> String {
    let output = kvkeep(args, stdin);
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert_eq!(output.stdout, b"");
    stderr
}

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces").join(name);
    path.into_os_string().into_string().expect("the path is UTF-8")
}

fn info(args: &[&str]) -> Value {
    json(&run(&[&["trace", "info", "--format", "json"], args].concat(), b""))
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("stdout is JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// Checks figures by their keys. Rates are given as parts and wholes.
fn check(info: &Value, counts: &[(&str, u64)], hit: (u64, u64), block_hit: (u64, u64)) {
    for (key, expected) in counts {
        assert_eq!(info[key], *expected, "{key} of {info:#}");
    }
    for (key, (part, whole)) in [("infinite_hit_rate", hit), ("infinite_block_hit_rate", block_hit)]
    {
        assert_near(&info[key], part as f64 / whole as f64, &format!("{key} of {info:#}"));
    }
}

/// Reading JSON may cost the last digit.
fn assert_near(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap_or(f64::NAN);
    assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}: {what}");
}

/// Request 2 has 1,024 tokens, of which the last is computed: one block hits. Request 3 hits
/// two. By blocks both hit two.
#[test]
fn mooncake() {
    let info = info(&[&data("mooncake.jsonl")]);
    assert_eq!((&info["format"], &info["sessions"]), (&"mooncake".into(), &Value::Null));
    let counts = [
        ("block_size", 512),
        ("requests", 3),
        ("prompt_tokens", 3_660),
        ("output_tokens", 60),
        ("blocks", 8),
        ("distinct_blocks", 4),
        ("distinct_full_blocks", 3),
        ("distinct_tokens", 512 * 3 + 76),
    ];
    check(&info, &counts, (512 * 3, 3_660), (4, 8));
    assert_eq!(info["seconds"], 2.0);
    assert_eq!(info["reuse_within_10_s"], 2.0 / 3.0);
    assert_eq!(info["prompt_length"]["p50"], 1_100);
}

/// The second request of the conversation hits two blocks; the last request is one block,
/// known, but its last token is computed.
#[test]
fn bailian() {
    let info = info(&[&data("bailian.jsonl")]);
    assert_eq!(info["format"], "bailian");
    let counts = [("block_size", 16), ("requests", 3), ("sessions", 2), ("distinct_blocks", 4)];
    check(&info, &counts, (32, 97), (3, 7));
    assert_eq!(info["seconds"], 5.5);
    assert_eq!(info["requests_per_session"]["max"], 2);
}

/// The event that is logged second arrived first: 40 tokens, then 48 that share two blocks.
#[test]
fn dynamo() {
    let info = info(&[&data("dynamo.jsonl")]);
    assert_eq!(info["format"], "dynamo");
    let counts = [("requests", 2), ("sessions", 2), ("distinct_blocks", 4), ("output_tokens", 3)];
    check(&info, &counts, (32, 88), (2, 6));
    assert_eq!(info["seconds"], 0.5);
}

/// Two full chunks and 88 tokens that are nobody else's; then the two chunks, of which one
/// hits.
#[test]
fn lmcache() {
    let info = info(&[&data("lmcache.jsonl")]);
    assert_eq!(info["format"], "lmcache");
    let counts = [("block_size", 256), ("requests", 2), ("distinct_blocks", 3), ("blocks", 5)];
    check(&info, &counts, (256, 1_112), (2, 5));
}

/// Nine tokens in blocks of four: two full ones are shared, the third is not.
#[test]
fn tokens() {
    let info = info(&[&data("tokens.jsonl"), "--trace-block-size", "4"]);
    assert_eq!(info["format"], "tokens");
    let counts = [("block_size", 4), ("requests", 2), ("distinct_blocks", 4), ("output_tokens", 5)];
    check(&info, &counts, (8, 18), (2, 6));
}

#[test]
fn azure_has_lengths_only_and_says_so() {
    let info = info(&[&data("azure.csv")]);
    assert_eq!((&info["format"], &info["has_prefixes"]), (&"azure".into(), &false.into()));
    let counts = [("requests", 2), ("prompt_tokens", 49), ("output_tokens", 14), ("blocks", 4)];
    check(&info, &counts, (0, 49), (0, 4));
    assert_eq!(info["seconds"], 2.0);
    let table = String::from_utf8(run(&["trace", "info", &data("azure.csv")], b"")).expect("UTF-8");
    assert!(table.contains("lengths only"), "{table}");
}

/// One user: 130 tokens, 192 ten seconds later, then the other session, 12 s after the start;
/// its block has the same local id and is another block.
#[test]
fn agents() {
    let folder = data("agents");
    let one = info(&[&folder, "--users", "1"]);
    assert_eq!(one["format"], "agentic");
    let counts = [
        ("block_size", 64),
        ("requests", 3),
        ("sessions", 2),
        ("blocks", 7),
        ("distinct_blocks", 5),
    ];
    check(&one, &counts, (128, 386), (2, 7));
    assert_eq!(one["seconds"], 12.0);
    // 32 users play each of the sessions 16 times.
    let many = info(&[&folder]);
    check(&many, &[("requests", 48), ("sessions", 32)], (128, 386), (2, 7));
    let files = info(&[&data("agents/1.json"), &data("agents/2.json"), "--users", "1"]);
    assert_eq!(files, one);
}

/// Words are tokens here, and so is each of `<|` and `|>`. The first prompt is `<| user |>
/// one two <| assistant |>`, 8 tokens, answered by one. The second is 5 + 4 tokens as before,
/// then 4, then 3: in blocks of 4, two blocks hit.
#[test]
fn chat() {
    let (trace, tokenizer) = (data("chat.jsonl"), data("tokenizer.json"));
    assert!(failure(&["trace", "info", &trace], b"").contains("name a tokenizer.json"));
    let args = [&*trace, "--tokenizer", &tokenizer, "--trace-block-size", "4"];
    if cfg!(feature = "tokenizers") {
        let info = info(&args);
        assert_eq!(info["format"], "chat");
        let counts = [("requests", 2), ("prompt_tokens", 8 + 16), ("output_tokens", 1)];
        check(&info, &counts, (8, 24), (2, 6));
    } else {
        let message = failure(&[&["trace", "info"], &args[..]].concat(), b"");
        assert!(message.contains("the feature `tokenizers`"), "{message}");
    }
}

#[test]
fn every_format_is_replayed_by_simulate() {
    for (name, hit) in [
        ("mooncake.jsonl", 1_536.0 / 3_660.0),
        ("bailian.jsonl", 32.0 / 97.0),
        ("dynamo.jsonl", 32.0 / 88.0),
        ("lmcache.jsonl", 256.0 / 1_112.0),
        ("azure.csv", 0.0),
        ("agents", 128.0 / 386.0),
    ] {
        let path = data(name);
        let block_size = info(&[&path])["block_size"].to_string();
        let args = ["simulate", &path, "--blocks", "999", "--block-size", &block_size];
        let report = json(&run(&[&args[..], &["--format", "json"]].concat(), b""));
        assert_near(&report["hit_rate"], hit, name);
        assert_near(&report["infinite_hit_rate"], hit, name);
    }
}

#[test]
fn converting_keeps_all_figures_and_compresses_by_the_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["mooncake.jsonl", "bailian.jsonl", "dynamo.jsonl", "lmcache.jsonl", "agents"] {
        let path = data(name);
        let mut expected = info(&[&path]);
        expected["format"] = "mooncake".into();
        for ending in ["jsonl", "jsonl.gz", "jsonl.zst"] {
            let to = folder.path().join(format!("t.{ending}"));
            run(&["trace", "convert", &path, "-o", text(&to)], b"");
            assert_eq!(info(&[text(&to)]), expected, "{name} {ending}");
        }
    }
    let read = |name: &str| fs::read(folder.path().join(name)).expect("it was written");
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&*read("t.jsonl.gz")).read_to_end(&mut plain).expect("gzip");
    assert_eq!(plain, read("t.jsonl"));
    assert_eq!(zstd::decode_all(&*read("t.jsonl.zst")).expect("Zstandard"), plain);
    // From a pipe, decompressed as well.
    let from_stdin = run(&["trace", "convert", "-"], &read("t.jsonl.zst"));
    assert_eq!(from_stdin, plain);
}

#[test]
fn converting_to_other_blocks() {
    let trace = data("bailian.jsonl");
    let lines = run(&["trace", "convert", &trace, "--block-size", "32"], b"");
    let lines: Vec<Value> = lines.trim_ascii().split(|&byte| byte == b'\n').map(json).collect();
    // 33 tokens: ids 2 and 3; 48: 2 and 4; 16: 1.
    let ids: Vec<String> = lines.iter().map(|line| line["hash_ids"].to_string()).collect();
    assert_eq!(ids, ["[2,3]", "[2,4]", "[1]"]);
    assert_eq!(
        lines[1].to_string(),
        r#"{"block_size":32,"category":1,"hash_ids":[2,4],"input_length":48,"output_length":5,"session":10,"timestamp":5250,"turn":1}"#
    );
    let message = failure(&["trace", "convert", &trace, "--block-size", "24"], b"");
    assert!(message.contains("choose a multiple of 16"), "{message}");
}

#[test]
fn a_trace_is_not_written_over_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.jsonl");
    fs::copy(data("mooncake.jsonl"), &path).expect("copied");
    for verb in [&["convert"][..], &["sample", "--fraction", "1"]] {
        let args = [&["trace"], verb, &[text(&path), "-o", text(&path)]].concat();
        assert!(failure(&args, b"").contains("write to another file"));
    }
    assert_eq!(info(&[text(&path)])["requests"], 3);
}

#[test]
fn a_made_up_trace_goes_through_everything() {
    let generate = ["trace", "generate", "--requests", "400", "--block-size", "64"];
    let trace = run(&generate, b"");
    assert_eq!(trace, run(&generate, b""));
    assert_ne!(trace, run(&[&generate[..], &["--seed", "1"]].concat(), b""));
    let figures = json(&run(&["trace", "info", "-", "--format", "json"], &trace));
    assert_eq!((&figures["requests"], &figures["block_size"]), (&400.into(), &64.into()));
    let all = run(&["trace", "sample", "-", "--fraction", "1"], &trace);
    assert_eq!(all, trace);
    let half = run(&["trace", "sample", "-", "--fraction", "0.5", "--seed", "3"], &trace);
    let lines = |text: &[u8]| text.iter().filter(|&&byte| byte == b'\n').count();
    assert!((100..300).contains(&lines(&half)), "{}", lines(&half));
    let args = ["simulate", "-", "--blocks", "100000", "--block-size", "64", "--format", "json"];
    let report = json(&run(&args, &trace));
    assert_eq!(report["hit_rate"], figures["infinite_hit_rate"]);
}

/// A good first line, then one that is not.
#[test]
fn malformed_lines_are_named_in_every_format() {
    for (name, bad, message) in [
        ("mooncake.jsonl", r#"{"timestamp": 9e9}"#, "missing field `input_length`"),
        ("bailian.jsonl", r#"{"chat_id": 1}"#, "missing field `timestamp`"),
        ("dynamo.jsonl", r#"{"event": 3}"#, "event: invalid type"),
        ("lmcache.jsonl", r#"{"timestamp": 1, "chunk_hashes": [true]}"#, "chunk_hashes[0]: "),
        ("tokens.jsonl", r#"{"tokens": []}"#, "tokens: expected at least one"),
        ("azure.csv", "2023-11-16,1,1", "TIMESTAMP: expected a time like"),
    ] {
        let mut text = fs::read(data(name)).expect("the trace is there");
        let line = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
        text.extend(bad.as_bytes());
        let found = failure(&["trace", "info", "-"], &text);
        assert!(found.starts_with(&format!("error: stdin:{line}: {message}")), "{found}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("s.json");
    fs::write(&session, "{\n\"block_size\": 64,\n\"requests\": [7]}").expect("written");
    let found = failure(&["trace", "info", text(&session)], b"");
    assert!(
        found.starts_with(&format!("error: {}:3: requests[0]: ", session.display())),
        "{found}"
    );
}

#[test]
fn each_verb_has_examples_and_exit_codes() {
    for verb in ["info", "convert", "sample", "generate"] {
        let help = String::from_utf8(run(&["trace", verb, "--help"], b"")).expect("UTF-8");
        let example = format!("    kvkeep trace {verb} ");
        assert!(help.contains(&example) && help.contains("Exit codes: "), "{verb}: {help}");
    }
}

#[test]
fn flags_that_make_no_sense_are_named() {
    let trace = data("mooncake.jsonl");
    for (args, flag) in [
        (vec!["info"], "<TRACE>"),
        (vec!["info"], "- to read stdin"),
        (vec!["sample", &trace], "  --fraction <SHARE>\n\nUsage"),
        (vec!["sample", &trace], "--fraction"),
        (vec!["sample", &trace, "--fraction", "0"], "--fraction"),
        (vec!["sample", &trace, "--fraction", "1.1"], "--fraction"),
        (vec!["generate", "--zipf", "-1"], "--zipf: expected 0 to 8, found -1"),
        (vec!["generate", "--turns", "0.5"], "--turns: expected 1 to 1000000, found 0.5"),
        (vec!["generate", "--system-prompts", "0"], "--system-prompts"),
        (vec!["convert", &trace, "--block-size", "0"], "--block-size"),
        (vec!["info", &trace, "--trace-seed", "1"], "trace seed: not for mooncake"),
        (vec!["info", &trace, &trace], "one file each"),
    ] {
        let stderr = failure(&[&["trace"], &args[..]].concat(), b"");
        assert!(stderr.contains(flag), "{args:?}: {stderr}");
    }
    let unwritable = kvkeep(&["trace", "convert", &trace, "-o", "no/such/folder/t"], b"");
    assert_eq!(unwritable.status.code(), Some(1));
    let kept = failure(&["trace", "sample", &trace, "--fraction", "1e-12"], b"");
    assert!(kept.contains("no conversation was kept"), "{kept}");
}

/// Counts that others have published for these traces, or that were counted from the files.
#[test]
fn the_published_traces_have_their_known_figures() {
    let folder = std::env::var_os("KVKEEP_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"),
        PathBuf::from,
    );
    if !folder.join("agentic").is_dir() {
        eprintln!("skipped: no traces in {}; set KVKEEP_TRACES", folder.display());
        return;
    }
    let of = |name: &str| info(&[text(&folder.join(name))]);
    let mooncake = of("mooncake_conversation_trace.jsonl");
    let counts = [
        ("requests", 12_031),
        ("blocks", 288_500),
        ("distinct_blocks", 182_790),
        // What an infinite cache of `kvkeep sweep` ends with.
        ("distinct_full_blocks", 170_899),
    ];
    // No id has two parents, so what is not new is a leading block.
    let hit = mooncake["infinite_hit_rate"].as_f64().expect("a rate");
    assert!((hit - 0.373).abs() < 0.001, "{hit}");
    let prompt_tokens = mooncake["prompt_tokens"].as_u64().expect("a number");
    let tokens_hit = (hit * prompt_tokens as f64).round() as u64;
    let block_hit = (288_500 - 182_790, 288_500);
    check(&mooncake, &counts, (tokens_hit, prompt_tokens), block_hit);
    // 3,128 entries, of which five are subagents, with 40 requests in all.
    let agentic = of("agentic");
    assert_eq!((&agentic["requests"], &agentic["sessions"]), (&3_163.into(), &47.into()));
    assert_eq!(of("dynamo_pi_request_trace.jsonl")["requests"], 17);
    assert_eq!(of("AzureLLMInferenceTrace_code.csv")["requests"], 8_819);
    assert_eq!(of("AzureLLMInferenceTrace_conv.csv")["requests"], 19_366);
}
