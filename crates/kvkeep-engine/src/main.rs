//! `kvkeep-engine`: serve a model over kvkeep's pages, or look at what the pages do to it.

mod look;

use clap::Parser;
use kvkeep::budget::PageOrder;
use kvkeep_engine::{Engine, EngineConfig, Model, PageConfig, PageDtype, Shape, Weights};
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

/// A small LLM inference engine on the CPU whose KV pages kvkeep manages.
///
/// Without `--serve` it computes a prompt cold and on a hit, and in every page dtype, and
/// reports times and errors.
#[derive(Parser)]
#[command(name = "kvkeep-engine", version)]
struct Args {
    /// Serve the OpenAI API at this loopback address, such as 127.0.0.1:8000
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
    /// Folder with a Qwen3 `config.json`, and its safetensors files for real weights
    /// [default: a built-in shape with bytes as tokens]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Seed of made-up weights
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Blocks of the pool
    #[arg(long, value_name = "N", default_value_t = 2048)]
    num_blocks: u32,
    /// Tokens per block
    #[arg(long, value_name = "TOKENS", default_value_t = 16)]
    block_size: u32,
    /// Element type of the pages: fp8, bf16 or f32
    #[arg(long, value_name = "DTYPE", default_value_t = PageDtype::Fp8)]
    kv_cache_dtype: PageDtype,
    /// Simulated ranks that share the KV heads
    #[arg(long, value_name = "RANKS", default_value_t = 2)]
    tensor_parallel_size: u32,
    /// Most tokens of one step, over all sequences
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    max_num_batched_tokens: usize,
    /// Share nothing between requests
    #[arg(long)]
    no_enable_prefix_caching: bool,
}

impl Args {
    fn model(&self) -> Result<Model, kvkeep_engine::Error> {
        let Some(folder) = &self.model else {
            return Model::new(Shape::small(), Weights::Random(self.seed));
        };
        let weights = match Weights::read(folder)? {
            Weights::Files(files) if files.is_empty() => Weights::Random(self.seed),
            weights => weights,
        };
        Model::new(Shape::read(folder)?, weights)
    }

    fn name(&self) -> String {
        let folder = self.model.as_ref().and_then(|folder| folder.file_name());
        folder.map_or_else(|| "random".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn engine(&self, dtype: PageDtype) -> Result<Engine, kvkeep_engine::Error> {
        let pages = PageConfig {
            num_blocks: self.num_blocks,
            block_size: self.block_size,
            dtype,
            tensor_parallel_size: self.tensor_parallel_size,
            order: PageOrder::BlockFirst,
        };
        let config = EngineConfig {
            pages,
            tokens_per_step: self.max_num_batched_tokens,
            prefix_caching: !self.no_enable_prefix_caching,
            poison: false,
        };
        Engine::new(self.model()?, config)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let Some(address) = args.serve else { return look::run(args) };
    let engine = args.engine(args.kv_cache_dtype)?;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    eprintln!("model {:?} at http://{}/v1", args.name(), listener.local_addr()?);
    kvkeep_engine::serve(engine, &args.name(), listener, interrupted())?;
    Ok(())
}

/// Ctrl-C, or the signal by which services are told to end. The second one ends at once.
async fn interrupted() {
    signalled().await;
    eprintln!("serving to their end the requests that run; once more to drop them");
    tokio::spawn(async {
        signalled().await;
        std::process::exit(1);
    });
}

/// Without a way to hear of a signal, never.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
