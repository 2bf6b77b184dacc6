//! Runs `kvkeep-engine` as a user does, on the tiny checkpoint.

use std::path::Path;
use std::process::{Command, Output};

fn engine(args: &[&str]) -> Output {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/qwen3");
    Command::new(env!("CARGO_BIN_EXE_kvkeep-engine"))
        .arg("--model")
        .arg(model)
        .args(args)
        .output()
        .expect("kvkeep-engine runs")
}

#[test]
fn a_look_finds_the_hit_and_the_same_bits() {
    let output = engine(&["--num-blocks", "512", "--max-num-batched-tokens", "300"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // 2,000 tokens are 125 blocks, of which the last is computed again; 1,900 are 118.
    for expected in ["1984 tokens cached", "the same bits", "1888 tokens cached", "fp8"] {
        assert!(stdout.contains(expected), "{expected}: {stdout}");
    }
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_why() {
    for (args, why) in [
        (&["--serve", "0.0.0.0:0"][..], "no authentication"),
        (&["--kv-cache-dtype", "int8"], "use fp8, bf16 or f32"),
        (&["--tensor-parallel-size", "3"], "split evenly"),
        (&["--tensor-parallel-size", "4"], "must divide num_key_value_heads"),
        (&["--tensor-parallel-size", "0"], "tensor_parallel_size is 0"),
        (&["--block-size", "0"], "block_size is 0"),
        (&["--num-blocks", "0"], "num_blocks is 0"),
        (&["--num-blocks", "8"], "does not fit a pool"),
        (&["--max-num-batched-tokens", "0"], "0 tokens"),
    ] {
        let output = engine(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{args:?}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
}
