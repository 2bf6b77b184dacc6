//! Waiting for the next use: what the model learns from.
//!
//! An episode begins when a request has used a block and ends with the block's next use,
//! whether it was resident in between or not, so what is learned does not depend on what was
//! evicted. Episodes that are still open count as well, in every age that they reach:
//! otherwise the quick ones would prevail.

use super::class::Class;
use super::model::{BUCKETS, Model, bucket_of, bucket_start};
use std::collections::VecDeque;

/// Names an episode; 0 is none.
pub(super) type EpisodeId = u64;

#[derive(Clone, Copy, Debug)]
struct Episode {
    began: u64,
    class: Class,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Episodes {
    /// In order of their beginning.
    episodes: VecDeque<Episode>,
    /// Name of the first of them.
    first: EpisodeId,
    /// By bucket, the first episode that has not reached it.
    next_to_reach: [EpisodeId; BUCKETS],
    capacity: usize,
}

impl Episodes {
    /// Follows up to `capacity` episodes at once; of more it gives up the oldest.
    pub(super) fn new(capacity: usize) -> Self {
        let next_to_reach = [1; BUCKETS];
        Episodes { episodes: VecDeque::new(), first: 1, next_to_reach, capacity }
    }

    pub(super) fn begin(&mut self, class: Class, now: u64) -> EpisodeId {
        self.episodes.push_back(Episode { began: now, class, ended: false });
        self.first + self.episodes.len() as u64 - 1
    }

    /// The block of an episode was used.
    pub(super) fn end(&mut self, id: EpisodeId, now: u64, model: &mut Model) {
        let place = id.checked_sub(self.first).map(|at| at as usize);
        let Some(episode) = place.and_then(|at| self.episodes.get_mut(at)) else { return };
        if !std::mem::replace(&mut episode.ended, true) {
            model.used(episode.class, bucket_of(now - episode.began));
        }
    }

    /// Lets time pass. O(1) per episode and bucket that it reaches.
    pub(super) fn advance(&mut self, now: u64, model: &mut Model) {
        for (bucket, next) in self.next_to_reach.iter_mut().enumerate() {
            *next = (*next).max(self.first);
            while let Some(episode) = self.episodes.get((*next - self.first) as usize)
                && episode.began + bucket_start(bucket) <= now
            {
                if !episode.ended {
                    model.reached(episode.class, bucket);
                }
                *next += 1;
            }
        }
        while let Some(episode) = self.episodes.front()
            && (self.episodes.len() > self.capacity
                || episode.began + bucket_start(BUCKETS - 1) < now)
        {
            self.episodes.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Life tables show in `worth` only: a sure use is worth the more, the nearer it is.
    #[test]
    fn episodes_count_in_every_age_that_they_reach() {
        let (mut model, mut episodes) = (Model::new(), Episodes::new(1_000));
        let class = Class::at(0);
        for round in 0..200 {
            let now = round * 100;
            let id = episodes.begin(class, now);
            episodes.advance(now + 8, &mut model);
            episodes.end(id, now + 8, &mut model);
            episodes.end(id, now + 9, &mut model); // an episode ends once
        }
        model.learn();
        let nearly = |bucket, worth: f64| {
            let found = model.worth(class, bucket);
            assert!((found / worth - 1.0).abs() < 0.1, "{bucket}: {found}");
        };
        // Bucket 8 is two wide and its uses come in the middle; see the model's tests.
        nearly(8, 1.0);
        nearly(4, 0.2);
        assert!(model.worth(class, 12) < 0.02);
    }

    #[test]
    fn the_oldest_are_given_up() {
        let (mut model, mut episodes) = (Model::new(), Episodes::new(2));
        let ids: Vec<_> = (0..3).map(|_| episodes.begin(Class::at(0), 0)).collect();
        episodes.advance(0, &mut model);
        assert_eq!((episodes.first, episodes.episodes.len()), (2, 2));
        episodes.end(ids[0], 5, &mut model);
        episodes.end(ids[1], 5, &mut model);
        assert!(episodes.episodes[0].ended && !episodes.episodes[1].ended);
        episodes.advance(1 << 40, &mut model);
        assert!(episodes.episodes.is_empty());
    }
}
