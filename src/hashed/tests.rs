//! The pool against a model that keeps the rules in the plainest way, under random calls.

use super::*;
use crate::evict::Kind;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};

fn key(n: u8) -> BlockKey {
    BlockKey::new(&[n; 32], &[0, 0, 0, n % 2]).unwrap()
}

/// Queue, holders and keys in vectors; all searches are linear.
struct Model {
    queue: VecDeque<u32>,
    refs: Vec<u32>,
    keys: Vec<Vec<BlockKey>>,
    /// All pairs of key and block, in order of insertion.
    index: Vec<(BlockKey, u32)>,
    /// Keys that have had several blocks since they last had none.
    shared: HashSet<BlockKey>,
}

impl Model {
    fn new(blocks: u32) -> Self {
        Model {
            queue: (1..blocks).collect(),
            refs: vec![0; blocks as usize],
            keys: vec![Vec::new(); blocks as usize],
            index: Vec::new(),
            shared: HashSet::new(),
        }
    }

    fn forget(&mut self, id: u32) -> Vec<BlockKey> {
        self.index.retain(|&(_, block)| block != id);
        self.shared.retain(|shared| self.index.iter().any(|(key, _)| key == shared));
        std::mem::take(&mut self.keys[id as usize])
    }

    fn take(&mut self, blocks: usize) -> Option<(Vec<u32>, Vec<BlockKey>)> {
        if blocks > self.queue.len() {
            return None;
        }
        let taken: Vec<u32> = self.queue.drain(..blocks).collect();
        let mut gone = Vec::new();
        for &id in &taken {
            gone.extend(self.forget(id));
            self.refs[id as usize] += 1;
        }
        Some((taken, gone))
    }

    fn touch(&mut self, id: u32) {
        if self.refs[id as usize] == 0 {
            self.queue.retain(|&queued| queued != id);
        }
        self.refs[id as usize] += 1;
    }

    fn release(&mut self, ids: &[u32]) {
        let mut last = Vec::new();
        for &id in ids {
            self.refs[id as usize] -= 1;
            if self.refs[id as usize] == 0 {
                last.push(id);
            }
        }
        for &id in last.iter().rev().filter(|&&id| self.keys[id as usize].is_empty()) {
            self.queue.push_front(id);
        }
        self.queue.extend(last.iter().filter(|&&id| !self.keys[id as usize].is_empty()));
    }

    fn insert(&mut self, id: u32, key: BlockKey) {
        if !self.keys[id as usize].contains(&key) {
            self.keys[id as usize].push(key);
            if !self.find(key).is_empty() {
                self.shared.insert(key);
            }
            self.index.push((key, id));
        }
    }

    fn find(&self, key: BlockKey) -> Vec<u32> {
        self.index.iter().filter(|&&(own, _)| own == key).map(|&(_, block)| block).collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize),
    /// Hits the key with this number.
    Hit(u8),
    /// Releases the table with this number, tail first.
    Release(usize),
    Insert(usize, u8),
    RemoveKeys(u32),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..5).prop_map(Op::Take),
        3 => (0u8..12).prop_map(Op::Hit),
        4 => (0usize..8).prop_map(Op::Release),
        6 => (0usize..40, 0u8..12).prop_map(|(at, key)| Op::Insert(at, key)),
        1 => (0u32..12).prop_map(Op::RemoveKeys),
        1 => Just(Op::Reset),
    ]
}

const BLOCKS: u32 = 12;

/// Runs calls against a pool and, for LRU, the model.
fn run<P: EvictionPolicy>(mut pool: HashedPool<P>, ops: &[Op]) -> Result<(), TestCaseError> {
    let (mut model, exact) = (Model::new(BLOCKS), !pool.watches());
    let mut tables: Vec<Vec<BlockId>> = Vec::new();
    let access = Access::default();
    for op in ops {
        match *op {
            Op::Take(blocks) => {
                let (mut table, mut gone) = (Vec::new(), Vec::new());
                let taken = pool.take(blocks, &mut table, |_, key| gone.push(key)).is_ok();
                if exact {
                    let expected = model.take(blocks);
                    prop_assert_eq!(taken, expected.is_some());
                    let ids = table.iter().map(|block| block.0).collect::<Vec<_>>();
                    prop_assert_eq!((ids, gone), expected.unwrap_or_default());
                }
                tables.push(table);
            }
            Op::Hit(number) => {
                let found = pool.find(&key(number));
                if exact {
                    let all: Vec<u32> =
                        pool.find_all(&key(number)).into_iter().map(BlockId::get).collect();
                    prop_assert_eq!(&all, &model.find(key(number)));
                    prop_assert_eq!(found.map(BlockId::get), all.first().copied());
                }
                if let Some(block) = found {
                    pool.touch([block].into_iter(), &access).unwrap();
                    model.touch(block.0);
                    tables.push(vec![block]);
                }
            }
            Op::Release(at) if at < tables.len() => {
                let table = tables.swap_remove(at);
                pool.release(table.iter().rev().copied(), &access).unwrap();
                if exact {
                    model.release(&table.iter().rev().map(|block| block.0).collect::<Vec<_>>());
                }
            }
            Op::Insert(at, number) => {
                let held: Vec<_> = tables.iter().flatten().copied().collect();
                if let Some(&block) = held.get(at) {
                    let parent = at.checked_sub(1).map(|before| held[before]);
                    let place = Place { parent, depth: at as u32 };
                    pool.insert(block, key(number), 16, place, &access).unwrap();
                    model.insert(block.0, key(number));
                }
            }
            Op::RemoveKeys(id) => {
                let mut gone = Vec::new();
                pool.remove_keys(BlockId(id), |key| gone.push(key)).unwrap();
                let expected = model.forget(id);
                prop_assert!(!exact || gone == expected);
            }
            Op::Reset => {
                let free = tables.iter().all(Vec::is_empty);
                prop_assert_eq!(pool.reset(), free);
                if free {
                    (0..BLOCKS).for_each(|id| drop(model.forget(id)));
                }
            }
            Op::Release(_) => {}
        }
        pool.validate().map_err(|error| TestCaseError::fail(error.to_string()))?;
        if exact {
            let queue: Vec<u32> = pool.queue_after(None).map(|block| block.0).collect();
            prop_assert_eq!(&queue, &Vec::from(model.queue.clone()));
            for key in (0..12).map(key) {
                prop_assert_eq!(pool.was_shared(&key), model.shared.contains(&key));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn lru_is_the_model(ops in prop::collection::vec(op(), 1..120)) {
        run(HashedPool::new(BLOCKS as usize).unwrap(), &ops)?;
    }

    #[test]
    fn every_policy_keeps_the_books(
        at in 0..Kind::ALL.len(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let policy = Kind::ALL[at].build(16);
        run(HashedPool::with_policy(BLOCKS as usize, policy).unwrap(), &ops)?;
    }
}

/// Blocks by key as a plain map keeps them: two keys that all want, first and further ones.
#[test]
fn many_duplicates_are_found_in_order() {
    const HOLDERS: u32 = 3000;
    let mut pool = HashedPool::new(HOLDERS as usize + 1).unwrap();
    let mut model: HashMap<BlockKey, Vec<u32>> = HashMap::new();
    let mut random = 7u32;
    for step in 0..4 * HOLDERS {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let id = (random >> 8) % HOLDERS + 1;
        if random >> 30 == 0 {
            pool.remove_keys(BlockId(id), |_| ()).unwrap();
            model.values_mut().for_each(|blocks| blocks.retain(|&block| block != id));
        } else {
            let key = key((random >> 28) as u8 % 3);
            let (place, access) = Default::default();
            pool.insert(BlockId(id), key, 16, place, &access).unwrap();
            let blocks = model.entry(key).or_default();
            if !blocks.contains(&id) {
                blocks.push(id);
            }
        }
        let expected = |number| model.get(&key(number)).cloned().unwrap_or_default();
        for number in 0..3 {
            let first = expected(number).first().map(|&id| BlockId(id));
            assert_eq!(pool.find(&key(number)), first);
        }
        if step % 500 == 0 {
            pool.validate().unwrap();
            for number in 0..3 {
                let all: Vec<_> = expected(number).into_iter().map(BlockId).collect();
                assert_eq!(pool.find_all(&key(number)), all);
            }
        }
    }
    // The first goes each time, and the next one becomes it.
    while let Some(first) = pool.find(&key(0)) {
        assert_eq!(first.0, model[&key(0)][0]);
        pool.remove_keys(first, |_| ()).unwrap();
        model.values_mut().for_each(|blocks| blocks.retain(|&block| block != first.0));
    }
    pool.validate().unwrap();
}

/// A thousand blocks with one key take one place in the table, so that no other key's search
/// walks past them; and they leave in any order.
#[test]
fn duplicates_take_one_place() {
    const HOLDERS: u32 = 1_000;
    let mut pool = HashedPool::new(HOLDERS as usize + 1).unwrap();
    for id in 1..=HOLDERS {
        let (place, access) = Default::default();
        pool.insert(BlockId(id), key(1), 16, place, &access).unwrap();
        assert_eq!(pool.index.places(), 1);
    }
    // The head, the last one, and one between them.
    for (gone, first) in [(1, 2), (HOLDERS, 2), (500, 2), (2, 3)] {
        pool.remove_keys(BlockId(gone), |_| ()).unwrap();
        assert_eq!((pool.find(&key(1)), pool.index.places()), (Some(BlockId(first)), 1));
        pool.validate().unwrap();
    }
    for id in 1..=HOLDERS {
        pool.remove_keys(BlockId(id), |_| ()).unwrap();
    }
    assert_eq!((pool.find(&key(1)), pool.index.places()), (None, 0));
    pool.validate().unwrap();
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut pool = HashedPool::new(4).unwrap();
    let access = Access::default();
    let mut table = Vec::new();
    let error = pool.take(4, &mut table, |_, _| ()).unwrap_err();
    assert_eq!(error, HashedPoolError::OutOfBlocks { needed: 4, available: 3 });
    pool.take(2, &mut table, |_, _| ()).unwrap();
    let (one, two, three) = (BlockId(1), BlockId(2), BlockId(3));
    // The second release of block 1 is refused, and the first with it.
    let twice = pool.release([two, one, one].into_iter(), &access);
    assert_eq!(twice, Err(HashedPoolError::NotInUse(one)));
    assert_eq!((pool.refs(one), pool.refs(two), pool.num_available()), (1, 1, 1));
    let unknown = pool.release([two, BlockId(9)].into_iter(), &access);
    assert_eq!(unknown, Err(HashedPoolError::UnknownBlock(BlockId(9))));
    assert!(pool.touch([BlockId(4)].into_iter(), &access).is_err());
    assert_eq!(pool.dequeue(one), Err(HashedPoolError::NotQueued(one)));
    assert_eq!(pool.enqueue(three), Err(HashedPoolError::Queued(three)));
    assert_eq!(HashedPool::new(0).unwrap_err(), HashedPoolError::NumBlocks(0));
    pool.validate().unwrap();
}

/// Block 0 pads tables: holding and releasing it means nothing.
#[test]
fn the_null_block_is_never_counted() {
    let mut pool = HashedPool::new(3).unwrap();
    let access = Access::default();
    let null = BlockId(0);
    pool.touch([null, null].into_iter(), &access).unwrap();
    pool.release([null, null, null].into_iter(), &access).unwrap();
    assert_eq!((pool.refs(null), pool.num_available()), (0, 2));
}

/// A scan: LRU gives up the block that was used most, a policy that counts does not.
#[test]
fn a_policy_chooses_among_blocks_with_keys() {
    let survivors = |kind: Kind| {
        let mut pool = HashedPool::with_policy(4, kind.build(16)).unwrap();
        for (request, number) in [1, 1, 1, 2, 3, 4].into_iter().enumerate() {
            let access = Access { request: request as u64, ..Access::default() };
            let mut table = Vec::new();
            match pool.find(&key(number)) {
                Some(block) => {
                    pool.touch([block].into_iter(), &access).unwrap();
                    table.push(block);
                }
                None => {
                    pool.take(1, &mut table, |_, _| ()).unwrap();
                    pool.insert(table[0], key(number), 16, Place::default(), &access).unwrap();
                }
            }
            pool.release(table.into_iter(), &access).unwrap();
            pool.validate().unwrap();
        }
        (1..=4).filter(|&number| pool.find(&key(number)).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(survivors(Kind::Lru), [2, 3, 4]);
    assert_eq!(survivors(Kind::Lfu), [1, 3, 4]);
}
