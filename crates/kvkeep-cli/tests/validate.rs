//! Runs `kvkeep validate` as a user does, where there is nothing to measure. What it
//! measures is tested in the crates of the client and of the engine.

use std::process::Command;

#[test]
fn no_server_is_an_error_that_names_the_address() {
    let output = Command::new(env!("CARGO_BIN_EXE_kvkeep"))
        .args(["validate", "--url", "http://127.0.0.1:1"])
        .output()
        .expect("kvkeep runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(output.stdout, b"");
    assert!(stderr.starts_with("error: http://127.0.0.1:1/v1/models"), "{stderr}");
}
