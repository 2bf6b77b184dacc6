//! Independent pools side by side: data parallelism.

use crate::evict::{EvictionPolicy, Lru};
use crate::hash::{BlockHasher, Xxh3};
use crate::{BlockManager, Identity};

/// Data-parallel replicas: one independent [`BlockManager`] each, and the choice between
/// them.
///
/// Tensor parallelism needs nothing of this: its GPUs hold shards of the same tokens, so
/// one manager serves them all. Replicas hold different tokens, and a prompt should go
/// where its prefix is. For replicas on threads of their own, keep a
/// [`SharedBlockManager`](crate::SharedBlockManager) each and compare their
/// `longest_prefix`.
///
/// ```
/// use kvkeep::{BlockManager, Config, Identity, Replicas};
///
/// let pools = [BlockManager::new(Config::new(64))?, BlockManager::new(Config::new(64))?];
/// let mut replicas = Replicas::new(pools.into())?;
/// let prompt: Vec<u32> = (0..40).collect();
///
/// let kv = replicas.get_mut(1)?;
/// let seq = kv.admit(&prompt, &Identity::default())?.seq;
/// kv.reserve(seq, 40)?;
/// kv.commit(seq, 40)?;
/// kv.free(seq)?;
///
/// let route = replicas.route(&prompt, &Identity::default());
/// assert_eq!((route.replica, route.tokens_cached), (1, 32));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replicas<H: BlockHasher = Xxh3, P: EvictionPolicy = Lru> {
    managers: Vec<BlockManager<H, P>>,
}

/// Answer of [`Replicas::route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Index of the replica.
    pub replica: usize,
    /// Prompt tokens that it would find cached now.
    pub tokens_cached: usize,
}

/// There is no such replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoReplica {
    /// The index asked for.
    pub replica: usize,
    /// How many there are.
    pub replicas: usize,
}

impl std::fmt::Display for NoReplica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NoReplica { replica, replicas } = self;
        write!(f, "no replica {replica} among {replicas}; pass an index below their number")
    }
}

impl std::error::Error for NoReplica {}

impl<H: BlockHasher, P: EvictionPolicy> Replicas<H, P> {
    /// Replicas with these managers.
    ///
    /// # Errors
    /// [`NoReplica`] if there is none.
    pub fn new(managers: Vec<BlockManager<H, P>>) -> Result<Self, NoReplica> {
        if managers.is_empty() {
            return Err(NoReplica { replica: 0, replicas: 0 });
        }
        Ok(Replicas { managers })
    }

    /// The replica with the longest cached prefix of a prompt; among equals the one with
    /// the most blocks that are free or evictable, then the first. Changes nothing.
    /// O(replicas * prompt).
    #[must_use]
    pub fn route(&self, prompt: &[u32], identity: &Identity) -> Route {
        let mut best = Route { replica: 0, tokens_cached: 0 };
        let mut best_available = 0;
        for (replica, manager) in self.managers.iter().enumerate() {
            let tokens_cached = manager.longest_prefix(prompt, identity);
            let available = manager.usage().available();
            if replica == 0 || (tokens_cached, available) > (best.tokens_cached, best_available) {
                best = Route { replica, tokens_cached };
                best_available = available;
            }
        }
        best
    }

    /// The manager of a replica.
    ///
    /// # Errors
    /// [`NoReplica`].
    pub fn get(&self, replica: usize) -> Result<&BlockManager<H, P>, NoReplica> {
        let replicas = self.managers.len();
        self.managers.get(replica).ok_or(NoReplica { replica, replicas })
    }

    /// The manager of a replica.
    ///
    /// # Errors
    /// [`NoReplica`].
    pub fn get_mut(&mut self, replica: usize) -> Result<&mut BlockManager<H, P>, NoReplica> {
        let replicas = self.managers.len();
        self.managers.get_mut(replica).ok_or(NoReplica { replica, replicas })
    }

    /// Gives the managers back.
    #[must_use]
    pub fn into_inner(self) -> Vec<BlockManager<H, P>> {
        self.managers
    }

    /// All managers, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &BlockManager<H, P>> {
        self.managers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn run(kv: &mut BlockManager, prompt: &[u32]) {
        let seq = kv.admit(prompt, &Identity::default()).unwrap().seq;
        kv.reserve(seq, prompt.len()).unwrap();
        kv.commit(seq, prompt.len()).unwrap();
        kv.free(seq).unwrap();
    }

    #[test]
    fn the_longest_prefix_wins_then_room_then_order() {
        let pool = |blocks| BlockManager::new(Config::new(blocks).block_size(2)).unwrap();
        let mut replicas = Replicas::new(vec![pool(8), pool(9), pool(9)]).unwrap();
        let route = |replicas: &Replicas| replicas.route(&[1, 2, 3, 4, 5], &Identity::default());
        assert_eq!(route(&replicas), Route { replica: 1, tokens_cached: 0 });
        run(replicas.get_mut(2).unwrap(), &[1, 2, 9]);
        assert_eq!(route(&replicas), Route { replica: 2, tokens_cached: 2 });
        run(replicas.get_mut(0).unwrap(), &[1, 2, 3, 4]);
        assert_eq!(route(&replicas), Route { replica: 0, tokens_cached: 4 });
    }

    #[test]
    fn bad_indices_and_empty_sets_are_errors() {
        let mut one = Replicas::new(vec![BlockManager::new(Config::new(1)).unwrap()]).unwrap();
        assert_eq!(one.get(1).err(), Some(NoReplica { replica: 1, replicas: 1 }));
        assert!(one.get_mut(1).is_err() && one.get(0).is_ok());
        assert!(Replicas::<Xxh3>::new(Vec::new()).is_err());
    }
}
