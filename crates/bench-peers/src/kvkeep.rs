//! kvkeep, driven as its documentation drives it.
//!
//! Per request: `admit`, one `reserve` and one `commit` for the rest of the prompt,
//! `free`; per generated token: `append`, `reserve`, `commit`. Measured as it comes,
//! with verified hits, and in hash-only mode, which is what kvbm offers.

use std::marker::PhantomData;

use kvkeep::{BlockManager, Config, Identity, SeqId};

use crate::peer::Peer;
use crate::work::BLOCK_SIZE;

/// What a hit is checked against.
pub(crate) trait Mode {
    /// Name in tables and in the raw result.
    const NAME: &'static str;

    /// Selects it.
    fn select(config: Config) -> Config;
}

/// Tokens and parent: the default.
pub(crate) struct Verified;

impl Mode for Verified {
    const NAME: &'static str = "kvkeep";

    fn select(config: Config) -> Config {
        config
    }
}

/// The block hash alone.
pub(crate) struct HashOnly;

impl Mode for HashOnly {
    const NAME: &'static str = "kvkeep-hash-only";

    fn select(config: Config) -> Config {
        config.hash_only()
    }
}

/// A kvkeep manager in one of its modes.
pub(crate) struct Kvkeep<M> {
    manager: BlockManager,
    mode: PhantomData<M>,
}

/// A request, and how much of its prompt is not computed yet.
pub(crate) struct KvkeepSequence {
    id: SeqId,
    tokens_left: usize,
}

impl<M: Mode + 'static> Peer for Kvkeep<M> {
    const NAME: &'static str = M::NAME;

    type Sequence = KvkeepSequence;

    fn new(num_blocks: usize) -> Self {
        let num_blocks = u32::try_from(num_blocks).expect("kvkeep: block ids are 32 bits");
        let config = M::select(Config::new(num_blocks).block_size(BLOCK_SIZE));
        let manager = BlockManager::new(config).expect("kvkeep: a valid configuration");
        Self { manager, mode: PhantomData }
    }

    fn admit(&mut self, prompt: &[u32]) -> (Self::Sequence, usize) {
        let admission =
            self.manager.admit(prompt, &Identity::default()).expect("kvkeep: admits the prompt");
        let tokens_left = prompt.len() - admission.tokens_cached;
        (KvkeepSequence { id: admission.seq, tokens_left }, admission.tokens_cached)
    }

    fn allocate(&mut self, sequence: &mut Self::Sequence) {
        let step = self.manager.reserve(sequence.id, sequence.tokens_left);
        let _open = step.expect("kvkeep: the pool has the blocks");
    }

    fn publish(&mut self, sequence: &mut Self::Sequence) {
        let commit = self.manager.commit(sequence.id, sequence.tokens_left);
        commit.expect("kvkeep: the step is open");
        sequence.tokens_left = 0;
    }

    fn decode(&mut self, sequence: &mut Self::Sequence, token: u32) {
        self.manager.append(sequence.id, token).expect("kvkeep: the sequence fits the pool");
        let step = self.manager.reserve(sequence.id, 1);
        let _open = step.expect("kvkeep: the pool has the block");
        self.manager.commit(sequence.id, 1).expect("kvkeep: the step is open");
    }

    fn release(&mut self, sequence: Self::Sequence) {
        self.manager.free(sequence.id).expect("kvkeep: the sequence runs");
    }
}
