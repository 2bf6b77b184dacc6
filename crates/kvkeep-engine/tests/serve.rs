//! The server as clients see it: whole and streamed answers, cached tokens, refusals,
//! clients that leave, and its end.

mod support;

use kvkeep_engine::Shape;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Server, events};

fn bytes() -> Shape {
    Shape { vocab_size: 256, ..Shape::tiny() }
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
}

#[test]
fn streamed_and_whole_answers_agree_and_the_second_hits() {
    let server = Server::start(bytes(), 64, true);
    let prompt: Vec<u32> = (0..100).collect();
    let mut body =
        json!({ "prompt": prompt, "max_tokens": 7, "temperature": 0.7, "seed": 3, "n": 2 });
    let whole = server.complete(&body);
    assert_eq!(cached(&whole), 0);
    assert_eq!(whole["usage"]["completion_tokens"], 14);
    assert_eq!(whole["choices"][1]["finish_reason"], "length");
    assert_ne!(whole["choices"][0]["token_ids"], whole["choices"][1]["token_ids"]);

    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let mut events: Vec<_> =
        events(server.open("POST", "/v1/completions", &body.to_string())).collect();
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let usage: Value = serde_json::from_str(&events.pop().unwrap()).unwrap();
    assert_eq!(usage["choices"], json!([]));
    // 6 whole blocks of 100 tokens.
    assert_eq!(cached(&usage), 96);
    assert_eq!(events.len(), 14);
    for sample in [0, 1] {
        let (mut tokens, mut text) = (Vec::new(), String::new());
        for event in &events {
            let event: Value = serde_json::from_str(event).unwrap();
            let choice = &event["choices"][0];
            if choice["index"] == sample {
                tokens.push(choice["token_ids"][0].clone());
                text += choice["text"].as_str().unwrap();
            }
        }
        assert_eq!(Value::from(tokens), whole["choices"][sample]["token_ids"]);
        assert_eq!(text, whole["choices"][sample]["text"]);
    }

    body = json!({ "prompt": prompt, "max_tokens": 1, "cache_salt": "somebody else" });
    assert_eq!(cached(&server.complete(&body)), 0);
    assert_eq!(cached(&server.complete(&body)), 96);
    assert_eq!(server.metric("kvkeep_prompt_tokens_cached_total"), 2 * 96);
    assert_eq!(server.metric("kvkeep_requests_finished_total"), 4);
    assert_eq!(server.metric("kvkeep_blocks{state=\"in_use\"}"), 0);
    server.join();
}

#[test]
fn chats_are_answered_and_their_next_turn_hits() {
    let server = Server::start(bytes(), 64, true);
    let mut messages =
        vec![json!({ "role": "user", "content": "Is a page read before it is written?" })];
    let ask = |messages: &[Value]| {
        let body = json!({ "model": "tiny", "messages": messages, "max_completion_tokens": 4 });
        let (status, answer) = server.ask("POST", "/v1/chat/completions", &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let first = ask(&messages);
    assert_eq!(first["object"], "chat.completion");
    assert_eq!(first["choices"][0]["message"]["role"], "assistant");
    messages.push(json!({ "role": "assistant", "content": "No." }));
    messages.push(json!({ "role": "user", "content": "Never?" }));
    assert!(cached(&ask(&messages)) >= 32);

    let body = json!({ "messages": messages, "max_tokens": 3, "stream": true });
    let events: Vec<_> =
        events(server.open("POST", "/v1/chat/completions", &body.to_string())).collect();
    assert_eq!(events.len(), 4);
    let roles = events[..3].iter().filter(|event| event.contains("\"role\"")).count();
    assert_eq!(roles, 1, "the role comes with the first token only");
    let (status, models) = server.ask("GET", "/v1/models", "");
    assert_eq!((status, models.contains("\"tiny\"")), (200, true));
    assert_eq!(server.ask("GET", "/health", ""), (200, "ok".to_owned()));
    server.join();
}

#[test]
fn what_makes_no_sense_is_refused_and_does_no_harm() {
    let server = Server::start(bytes(), 8, true);
    let chat = "/v1/chat/completions";
    let completions = "/v1/completions";
    let long_salt = format!(r#"{{"prompt": "a", "cache_salt": "{}"}}"#, "s".repeat(1025));
    for (path, body, status, why) in [
        (completions, "", 400, "EOF"),
        (completions, "{}", 400, "`prompt` is missing"),
        (completions, r#"{"prompt": 7}"#, 400, "a string or a list of token ids"),
        (completions, r#"{"prompt": [-1]}"#, 400, "a string or a list of token ids"),
        (completions, r#"{"prompt": ""}"#, 400, "the prompt is empty"),
        (completions, r#"{"prompt": [256]}"#, 400, "not in the vocabulary"),
        (completions, r#"{"prompt": "a", "max_tokens": 0}"#, 400, "max_tokens"),
        (completions, r#"{"prompt": "a", "max_tokens": 128}"#, 400, "does not fit a pool of 128"),
        (
            completions,
            r#"{"prompt": "a", "max_tokens": 18446744073709551615}"#,
            400,
            "does not fit",
        ),
        (completions, r#"{"prompt": "a", "n": 0}"#, 400, "1 to 16"),
        (completions, r#"{"prompt": "a", "n": 17}"#, 400, "1 to 16"),
        (completions, r#"{"prompt": "a", "temperature": -1}"#, 400, "temperature"),
        (completions, r#"{"prompt": "a", "model": "other"}"#, 404, "tiny"),
        (completions, &long_salt, 400, "cache_salt"),
        (chat, r#"{"prompt": "a"}"#, 400, "`messages` is missing"),
        (chat, r#"{"messages": []}"#, 400, "`messages` is missing"),
        (chat, r#"{"messages": [{"role": "user"}]}"#, 400, "content"),
    ] {
        let (found, answer) = server.ask("POST", path, body);
        assert_eq!(found, status, "{body}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{body}: {message}");
    }
    let (status, _) = server.ask("POST", completions, &" ".repeat((4 << 20) + 1));
    assert_eq!(status, 413);
    assert_eq!(server.complete(&json!({ "prompt": "a" }))["usage"]["completion_tokens"], 16);
    server.join();
}

#[test]
fn a_client_that_leaves_gives_its_blocks_back() {
    let server = Server::start(bytes(), 256, true);
    let body = json!({ "prompt": "for ever", "max_tokens": 4000, "stream": true, "n": 2 });
    let stream = server.open("POST", "/v1/completions", &body.to_string());
    let mut events = events(stream);
    events.next().unwrap();
    assert!(server.metric("kvkeep_blocks{state=\"in_use\"}") > 0);
    drop(events);
    let start = Instant::now();
    while server.metric("kvkeep_requests_aborted_total") == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody noticed");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.metric("kvkeep_blocks{state=\"in_use\"}"), 0);
    assert_eq!(server.metric("kvkeep_requests_finished_total"), 0);
    server.join();
}

#[test]
fn many_at_once_get_what_each_gets_alone() {
    // 20 blocks of 16 tokens hold three of the six: some wait, some are preempted.
    let server = Server::start(bytes(), 20, true);
    let body = |client: u32| {
        let prompt: Vec<u32> = (0..60 + client).map(|at| (at * (client + 2)) % 256).collect();
        json!({ "prompt": prompt, "max_tokens": 40, "seed": client })
    };
    let together: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| {
                scope.spawn({
                    let server = &server;
                    move || server.complete(&body(client))
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (client, together) in (0..6).zip(together) {
        let alone = server.complete(&body(client));
        assert_eq!(alone["choices"], together["choices"], "client {client}");
    }
    server.join();
}

#[test]
fn the_end_waits_for_running_answers() {
    let mut server = Server::start(bytes(), 64, true);
    let body = json!({ "prompt": "finish this", "max_tokens": 900, "stream": true });
    let mut events = events(server.open("POST", "/v1/completions", &body.to_string()));
    events.next().unwrap();
    server.shut_down();
    assert_eq!(events.last().unwrap(), "[DONE]");
    server.join();
}
