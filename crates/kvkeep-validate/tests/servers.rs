//! Servers that answer as told: what the client measures, and what it says of those that
//! break off, refuse or talk nonsense.

use kvkeep_validate::{Error, Options, Report, validate};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = std::sync::Arc::clone(&answer);
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
    Options { url, model, api_key, scale: 0.02, repeats: 1, seed: 4 }
}

const TOKEN: &str = "data: {\"choices\": [{\"index\": 0, \"text\": \"\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn the_first_token_is_timed_and_not_the_answer() {
    let options = Options { api_key: Some("secret".to_owned()), ..options() };
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
    assert!(report.warnings[0].contains("--enable-prompt-tokens-details"));
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
            "3 arrived",
        ),
    ] {
        let served = measure(options(), move |_, stream| respond(stream, "200 OK", answer));
        let error = served.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("/v1/completions"), "{error}");
    }
}

#[test]
fn refusals_are_quoted() {
    let refused = measure(options(), |_, stream| {
        respond(stream, "401 Unauthorized", "{\"error\": \"no key\"}");
    });
    let error = refused.unwrap_err();
    assert!(matches!(&error, Error::Refused { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("no key"), "{error}");
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
    let https = of(&|options| options.url = "https://127.0.0.1:1".to_owned());
    assert!(matches!(https, Error::Option { name: "url", .. }), "{https}");
    let absent = of(&|_| ());
    assert!(matches!(absent, Error::Network { .. }), "{absent}");
}
