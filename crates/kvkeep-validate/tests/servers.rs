//! Servers that answer as told: what the client measures, and what it says of those that
//! break off, refuse or talk nonsense.

use kvkeep_validate::{ApiKey, Error, Options, Prompts, Report, validate};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MODELS: &str = r#"{"object": "list", "data": [{"id": "made-up"}, {"id": "other"}]}"#;

/// One request, as a server sees it.
struct Asked {
    path: String,
    head: String,
    body: serde_json::Value,
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().expect("a request"))];
    stream.read_exact(&mut body).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some(Asked { path, head, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// Serves every request of `/v1/completions` with `answer`, and measures that.
fn measure(
    options: Options,
    answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static,
) -> Result<Report, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a request");
    let url = format!("http://{}/v1", listener.local_addr().expect("a request"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a request");
                let mut reader = BufReader::new(stream);
                let Some(asked) = read(&mut reader) else { return };
                if asked.path == "/v1/models" {
                    respond(&mut writer, "200 OK", MODELS);
                } else {
                    answer(&asked, &mut writer);
                }
            });
        }
    });
    validate(&Options { url, ..options }, |_| ())
}

fn respond(stream: &mut TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n");
    drop(stream.write_all((head + body).as_bytes()));
}

fn options() -> Options {
    let (url, model, api_key) = (String::new(), None, None);
    let prompts = Prompts::Tokens;
    Options { url, model, api_key, prompts, scale: 0.02, repeats: 1, seed: 4 }
}

const TOKEN: &str = "data: {\"choices\": [{\"index\": 0, \"text\": \"\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn the_first_token_is_timed_and_not_the_answer() {
    let options = Options { api_key: ApiKey::new("secret"), ..options() };
    let report = measure(options, |asked, stream| {
        assert_eq!(asked.path, "/v1/completions");
        assert!(asked.head.contains("authorization: bearer secret"));
        assert_eq!(asked.body["model"], "made-up");
        assert_eq!(asked.body["stream"], true);
        let tokens = asked.body["prompt"].as_array().unwrap().len();
        respond(stream, "200 OK", ": a comment\n\n");
        drop(stream.write_all(TOKEN.as_bytes()));
        std::thread::sleep(Duration::from_millis(60));
        let usage = format!(
            "data: {{\"choices\": [], \"usage\": {{\"prompt_tokens\": {tokens}, \
             \"prompt_tokens_details\": {{\"cached_tokens\": 16}}}}}}\n\n"
        );
        drop(stream.write_all((TOKEN.to_owned() + &usage + DONE).as_bytes()));
    })
    .unwrap();
    for turn in report.tests.iter().flat_map(|test| &test.turns) {
        assert!(turn.total_on_ms.median >= turn.first_token_on_ms.median + 10.0, "{turn:?}");
        assert_eq!(turn.cached_on_tokens.unwrap().median, 16.0);
    }
    // As fast in both arms.
    assert!(!report.met());
    assert!(report.warnings.iter().any(|warning| warning.contains("another seed")));
}

#[test]
fn a_server_that_keeps_quiet_about_its_cache_is_measured_all_the_same() {
    let stream = [TOKEN, DONE].concat();
    let report = measure(options(), move |_, to| respond(to, "200 OK", &stream)).unwrap();
    assert!(report.warnings[0].contains("does not count the tokens"), "{:?}", report.warnings);
    assert!(report.warnings[1].contains("--enable-prompt-tokens-details"));
    assert!(report.tests.iter().all(|test| test.turns[0].cached_on_tokens.is_none()));
}

#[test]
fn broken_answers_are_said_to_be_broken() {
    for (answer, why) in [
        ("", "without a token"),
        ("data: [DONE]\n\n", "without a token"),
        ("data: {\"choices\": [\n\n", "an event of the stream"),
        ("data: {\"error\": {\"message\": \"out of memory\"}}\n\n", "out of memory"),
        (
            "data: {\"choices\": [{}], \"usage\": {\"prompt_tokens\": 3}}\n\ndata: [DONE]\n\n",
            "80 tokens were sent, 3 tokens arrived",
        ),
    ] {
        let served = measure(options(), move |_, stream| respond(stream, "200 OK", answer));
        let error = served.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("/v1/completions"), "{error}");
    }
}

/// The whole answer to a prompt of so many words.
fn answered(chunk: &str, words: usize) -> String {
    let usage = format!("{{\"choices\": [], \"usage\": {{\"prompt_tokens\": {}}}}}", words + 7);
    format!("data: {chunk}\n\ndata: {usage}\n\n{DONE}")
}

#[test]
fn text_is_words_and_the_server_counts_them() {
    let options = Options { prompts: Prompts::Text, ..options() };
    let report = measure(options, |asked, stream| {
        assert_eq!(asked.path, "/v1/completions");
        let words = asked.body["prompt"].as_str().unwrap().split(' ').count();
        respond(stream, "200 OK", &answered("{\"choices\": [{\"text\": \"a\"}]}", words));
    })
    .unwrap();
    assert_eq!(report.prompts, "text");
    // 2,000 and 500 more each turn, at a fiftieth.
    assert_eq!(report.tests[0].sent, [40, 50, 60, 70, 80]);
    let counted = |turn: usize| report.tests[0].turns[turn].prompt_tokens.unwrap().median;
    assert_eq!((counted(0), counted(4)), (47.0, 87.0));
    assert!(report.to_string().contains("\n     5      87 "), "{report}");
}

#[test]
fn a_chat_is_one_message_and_its_role_is_no_token() {
    let options = Options { prompts: Prompts::Chat, ..options() };
    let report = measure(options, |asked, stream| {
        assert_eq!(asked.path, "/v1/chat/completions");
        assert_eq!(asked.body["messages"][0]["role"], "user");
        assert!(asked.body["messages"].as_array().unwrap().len() == 1);
        let content = asked.body["messages"][0]["content"].as_str().unwrap();
        let role =
            "data: {\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}\n\n";
        respond(stream, "200 OK", role);
        std::thread::sleep(Duration::from_millis(30));
        let chunk = "{\"choices\": [{\"delta\": {\"content\": \"a\"}}]}";
        drop(stream.write_all(answered(chunk, content.split(' ').count()).as_bytes()));
    })
    .unwrap();
    for turn in report.tests.iter().flat_map(|test| &test.turns) {
        assert!(turn.first_token_on_ms.min >= 30.0, "{turn:?}");
    }
}

#[test]
fn a_server_that_refuses_to_count_is_not_asked_again() {
    let stream = [TOKEN, DONE].concat();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    measure(options(), move |asked, to| {
        if asked.body.get("stream_options").is_none() {
            return respond(to, "200 OK", &stream);
        }
        count.fetch_add(1, Ordering::Relaxed);
        respond(to, "422 Unprocessable Entity", "stream_options: extra fields not permitted");
    })
    .unwrap();
    assert_eq!(refused.load(Ordering::Relaxed), 1);
}

#[test]
fn refusals_are_quoted() {
    let options = Options { api_key: ApiKey::new("sk-secret"), ..options() };
    let refused = measure(options, |_, stream| {
        respond(stream, "401 Unauthorized", "{\"error\": \"not sk-secret\"}");
    });
    let error = refused.unwrap_err();
    assert!(matches!(&error, Error::Refused { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("not [the key]"), "{error}");
    assert!(error.to_string().contains("another one?"), "{error}");
}

#[test]
fn a_refusal_names_the_other_ways_to_send_prompts() {
    let refused = |prompts, status| {
        let options = Options { prompts, ..options() };
        measure(options, move |_, stream| respond(stream, status, "no")).unwrap_err().to_string()
    };
    let tokens = refused(Prompts::Tokens, "400 Bad Request");
    assert!(tokens.contains("status 400: no; the prompts were token ids"), "{tokens}");
    assert!(tokens.contains("choose text or chat"), "{tokens}");
    let text = refused(Prompts::Text, "404 Not Found");
    assert!(text.contains("choose chat"), "{text}");
    let chat = refused(Prompts::Chat, "400 Bad Request");
    assert!(chat.ends_with("status 400: no"), "{chat}");
}

#[test]
fn options_out_of_range_and_absent_servers_are_refused() {
    let of = |change: &dyn Fn(&mut Options)| {
        let mut options = Options { url: "http://127.0.0.1:1".to_owned(), ..options() };
        change(&mut options);
        validate(&options, |_| ()).unwrap_err()
    };
    assert!(matches!(of(&|options| options.scale = 0.0), Error::Option { name: "scale", .. }));
    assert!(matches!(of(&|options| options.scale = f64::NAN), Error::Option { name: "scale", .. }));
    assert!(matches!(of(&|options| options.repeats = 0), Error::Option { name: "repeats", .. }));
    let ftp = of(&|options| options.url = "ftp://127.0.0.1:1".to_owned());
    assert!(matches!(ftp, Error::Option { name: "url", .. }), "{ftp}");
    let absent = of(&|_| ());
    assert!(matches!(absent, Error::Network { .. }), "{absent}");
}
