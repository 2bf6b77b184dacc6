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
        let model = Model::new(shape, Weights::Random(1)).unwrap();
        let engine = Engine::new(model, config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
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
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Sends a request and returns what comes back, head first.
    pub(crate) fn open(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: kvkeep\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        BufReader::new(stream)
    }

    /// Status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut text = String::new();
        self.open(method, path, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// The answer to a completion, as JSON.
    pub(crate) fn complete(&self, body: &serde_json::Value) -> serde_json::Value {
        let (status, answer) = self.ask("POST", "/v1/completions", &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// A figure of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.ask("GET", "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

/// The events of a stream, without the frames of its chunked body.
pub(crate) fn events(answer: impl BufRead) -> impl Iterator<Item = String> {
    answer
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()))
}
