//! A server on a free port of the loopback, and the least of an HTTP client.

#![allow(dead_code, reason = "each test crate uses a part")]

use kvkeep::budget::PageOrder;
use kvkeep_engine::{
    Engine, EngineConfig, Model, PageConfig, PageDtype, ServeError, Shape, Weights,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    pub(crate) fn start(shape: Shape, num_blocks: u32, prefix_caching: bool) -> Self {
        let pages = PageConfig {
            num_blocks,
            block_size: 16,
            dtype: PageDtype::Fp8,
            tensor_parallel_size: 2,
            order: PageOrder::BlockFirst,
        };
        let config = EngineConfig { pages, tokens_per_step: 256, prefix_caching, poison: false };
        let model = Model::new(shape, Weights::Random(1)).expect("a sound shape");
        let engine = Engine::new(model, config).expect("a sound configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, stop) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            kvkeep_engine::serve(engine, "tiny", listener, async move { drop(stop.await) })
        });
        Server { address, shutdown: Some(shutdown), thread: Some(thread) }
    }

    /// Tells the server to end.
    pub(crate) fn shut_down(&mut self) {
        drop(self.shutdown.take());
    }

    pub(crate) fn join(mut self) {
        self.shut_down();
        let end = self.thread.take().map(JoinHandle::join);
        assert!(matches!(end, Some(Ok(Ok(())))), "{end:?}");
    }

    /// Sends a request and returns what comes back, head first.
    pub(crate) fn open(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: kvkeep\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("the server reads");
        BufReader::new(stream)
    }

    /// Status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut text = String::new();
        self.open(method, path, body).read_to_string(&mut text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    /// The answer to a completion, as JSON.
    pub(crate) fn complete(&self, body: &serde_json::Value) -> serde_json::Value {
        let (status, answer) = self.ask("POST", "/v1/completions", &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// A figure of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.ask("GET", "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().parse().expect("a number")
    }
}

/// The events of a stream, without the frames of its chunked body.
pub(crate) fn events(answer: impl BufRead) -> impl Iterator<Item = String> {
    answer
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()))
}
