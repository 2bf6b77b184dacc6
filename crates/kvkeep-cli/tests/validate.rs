//! Runs `kvkeep validate` as a user does: where there is nothing to measure, and against a
//! server behind https. What it measures is tested in the crates of the client and of the
//! engine.

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

fn kvkeep(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvkeep"))
        .arg("validate")
        .args(arguments)
        // Its certificates would count as well.
        .env_remove("SSL_CERT_DIR")
        .envs(environment.iter().copied())
        .output()
        .expect("kvkeep runs")
}

/// The message of a failure before anything is measured.
fn refused(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(output.stdout, b"");
    stderr
}

#[test]
fn no_server_is_an_error_that_names_the_address() {
    let stderr = refused(&kvkeep(&["--url", "http://127.0.0.1:1"], &[]));
    assert!(stderr.starts_with("error: http://127.0.0.1:1/v1/models"), "{stderr}");
}

#[test]
fn a_key_comes_from_a_variable_that_is_set() {
    let arguments = ["--url", "http://127.0.0.1:1", "--api-key-env", "KVKEEP_TEST_KEY"];
    let unset = refused(&kvkeep(&arguments, &[]));
    assert!(unset.contains("--api-key-env: KVKEEP_TEST_KEY is not set"), "{unset}");
    let odd = refused(&kvkeep(&arguments, &[("KVKEEP_TEST_KEY", "sk secret")]));
    assert!(odd.contains("KVKEEP_TEST_KEY has no key"), "{odd}");
    assert!(!odd.contains("secret"), "{odd}");
    let set = refused(&kvkeep(&arguments, &[("KVKEEP_TEST_KEY", "sk-secret")]));
    assert!(set.contains("127.0.0.1:1/v1/models"), "{set}");
    assert!(!set.contains("secret"), "{set}");
}

const CHUNK: &str = r#"data: {"choices": [{"delta": {"content": "a"}, "text": "a"}]}"#;

/// Answers requests until the connection closes: anybody with the key gets a token.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Option<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            request.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&request).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        stream.read_exact(&mut vec![0; length]).ok()?;
        let (status, body) = if !head.contains("authorization: bearer sk-secret\r\n") {
            ("401 Unauthorized", "no key".to_owned())
        } else if head.starts_with("post /v1/chat/completions") {
            ("200 OK", format!("{CHUNK}\n\ndata: [DONE]\n\n"))
        } else {
            ("400 Bad Request", "prompt: expected a string".to_owned())
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn a_server_behind_https_is_measured_if_the_system_trusts_it() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |file: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = folder.path().join(file);
        fs::write(&path, made.cert.pem()).unwrap();
        (made, path.display().to_string())
    };
    let (made, roots) = certificate("roots.pem");
    let (_, other_roots) = certificate("other.pem");
    let roots = ("SSL_CERT_FILE", &*roots);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream));
        }
    });
    let with = |more: &[&str], environment: Vec<(&str, &str)>| {
        let arguments = ["--url", &url, "--model", "m", "--scale", "0.01", "--repeats", "1"];
        kvkeep(&[&arguments, more].concat(), &environment)
    };
    let key = ("KEY", "sk-secret");

    let no_roots = refused(&with(&[], vec![("SSL_CERT_FILE", "/dev/null")]));
    assert!(no_roots.contains("name a file in SSL_CERT_FILE"), "{no_roots}");
    assert_eq!(connections.load(Ordering::Relaxed), 0);
    let untrusted = refused(&with(&[], vec![("SSL_CERT_FILE", &other_roots)]));
    assert!(untrusted.contains("does this system trust its certificate?"), "{untrusted}");
    let no_key = refused(&with(&["--prompts", "chat"], vec![roots]));
    assert!(no_key.contains("does it want an API key"), "{no_key}");
    let tokens = refused(&with(&["--api-key-env", "KEY"], vec![roots, key]));
    assert!(tokens.contains("expected a string; the prompts were token ids"), "{tokens}");
    assert_eq!(connections.load(Ordering::Relaxed), 3);

    let chat = with(&["--api-key-env", "KEY", "--prompts", "chat"], vec![roots, key]);
    let printed = String::from_utf8_lossy(&chat.stdout);
    assert!(printed.contains("prompts chat"), "{printed}{}", String::from_utf8_lossy(&chat.stderr));
    assert!(printed.contains("does not count the tokens of a prompt"), "{printed}");
    // A handshake is no part of a first-token time.
    assert_eq!(connections.load(Ordering::Relaxed), 4);
}
