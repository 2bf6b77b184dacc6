//! What the operations of the random tests mean: which calls, with which arguments.

use super::ops::{Op, Prompt, repeat};
use super::release::Keep;
use super::rig::Rig;
use kvkeep::Error;
use kvkeep::hash::BlockHasher;

impl<H: BlockHasher> Rig<H> {
    /// One operation, checked.
    pub(crate) fn apply(&mut self, op: &Op) {
        self.act(op);
        self.check();
    }

    /// One operation; whether there was anything to do.
    pub(crate) fn act(&mut self, op: &Op) -> bool {
        match op {
            Op::Admit { prompt, who } => {
                self.admit(&self.tokens_of(prompt), *who, false);
            }
            Op::Readmit { prompt, who } => {
                self.admit(&self.tokens_of(prompt), *who, true);
            }
            Op::Again { back } => {
                let Some(at) = (self.admitted.len().saturating_sub(1)).checked_sub(*back) else {
                    return false;
                };
                let Some((prompt, who)) = self.admitted.get(at).cloned() else { return false };
                self.admit(&prompt, who, false);
            }
            Op::Serve { prompt, who } => {
                if self.admit(&self.tokens_of(prompt), *who, false).is_some() {
                    let at = self.model.seqs.len() - 1;
                    self.check();
                    self.compute(at);
                    self.check();
                    self.free(at, false);
                }
            }
            Op::Advance { ms } => self.advance(*ms),
            Op::Invalidate => {
                self.model.invalidate();
                assert_eq!(self.kv.invalidate_all(), self.model.epoch);
            }
            Op::Stale { handle } => self.stale(*handle),
            _ if self.model.seqs.is_empty() => return false,
            of_a_sequence => self.act_on_sequence(of_a_sequence),
        }
        true
    }

    /// Operations of several calls.
    fn act_on_sequence(&mut self, op: &Op) {
        let running = self.model.seqs.len();
        let pick = |seq: usize| seq.checked_rem(running);
        match op {
            Op::Compute { seq } => {
                if let Some(at) = pick(*seq) {
                    self.compute(at);
                }
            }
            Op::Twin { seq } => {
                let Some(twin) = pick(*seq).map(|at| &self.model.seqs[at]) else { return };
                let (tokens, who) = (twin.known.clone(), twin.kind);
                self.admit(&tokens, who, false);
            }
            Op::Decode { seq, token } => {
                self.act_on_sequence(&Op::Append { seq: *seq, token: *token });
                if let Some(at) = pick(*seq)
                    && self.reserve(at, 1, 0)
                {
                    self.check();
                    self.commit(at, 1);
                }
            }
            Op::Branch { seq, token } => {
                let Some(at) = pick(*seq) else { return };
                self.fork(at);
                let child = self.model.seqs.len() - 1;
                if child == running {
                    self.act_on_sequence(&Op::Append { seq: child, token: *token });
                    self.reserve(child, 1, 0);
                }
            }
            one_call => self.call_of(one_call),
        }
    }

    /// Operations of one call.
    fn call_of(&mut self, op: &Op) {
        let running = self.model.seqs.len();
        let pick = |seq: usize| seq.checked_rem(running);
        match op {
            Op::Reserve { seq, tokens, lookahead } => {
                if let Some(at) = pick(*seq) {
                    self.reserve(at, self.scaled(*tokens), self.scaled(*lookahead));
                }
            }
            Op::Commit { seq, tokens } => {
                if let Some(at) = self.in_a_step(*seq).or(pick(*seq)) {
                    self.commit(at, self.scaled(*tokens));
                }
            }
            Op::Revert { seq } => {
                if let Some(at) = self.in_a_step(*seq).or(pick(*seq)) {
                    self.revert(at);
                }
            }
            Op::Append { seq, token } => {
                if let Some(at) = pick(*seq) {
                    let errors = self.model.append_errors(at, 1);
                    let id = self.model.seqs[at].id;
                    if self.call(&errors, |kv| kv.append(id, *token)).is_some() {
                        self.model.append(at, &[*token]);
                    }
                }
            }
            Op::Extend { seq, tokens } => {
                if let Some(at) = pick(*seq) {
                    let tokens = repeat(tokens.iter().copied(), self.scale);
                    let errors = self.model.append_errors(at, tokens.len());
                    let id = self.model.seqs[at].id;
                    if self.call(&errors, |kv| kv.extend(id, &tokens)).is_some() {
                        self.model.append(at, &tokens);
                    }
                }
            }
            Op::Fork { seq } => {
                if let Some(at) = pick(*seq) {
                    self.fork(at);
                }
            }
            Op::Adopt { seq, position } => {
                if let Some(at) = pick(*seq) {
                    let duplicates = &self.model.seqs[at].duplicates;
                    let entry = duplicates.get(*position).map_or(*position, |&(entry, _)| entry);
                    self.adopt(at, entry);
                }
            }
            Op::Free { seq } | Op::Preempt { seq } => {
                if let Some(at) = pick(*seq) {
                    self.free(at, matches!(op, Op::Preempt { .. }));
                }
            }
            Op::Retain { seq, start, tokens, keep } => {
                if let Some(at) = pick(*seq) {
                    self.retain(at, self.scaled(*start), self.scaled(*tokens), *keep);
                }
            }
            _ => unreachable!("not about one sequence"),
        }
    }

    /// The `nth` sequence among those in a step.
    fn in_a_step(&self, nth: usize) -> Option<usize> {
        let seqs = self.model.seqs.iter().enumerate();
        let open: Vec<_> = seqs.filter(|(_, seq)| seq.step.is_some()).map(|(at, _)| at).collect();
        nth.checked_rem(open.len()).map(|at| open[at])
    }

    /// A prompt that fits the pool, unless it was drawn to be too long.
    fn tokens_of(&self, prompt: &Prompt) -> Vec<u32> {
        let mut prompt = prompt.clone();
        if (1..=24).contains(&prompt.tokens) {
            let pool = self.model.num_blocks * self.model.block_size / self.scale;
            prompt.tokens = 1 + (prompt.tokens - 1) % (pool * 3 / 4);
        }
        prompt.to_tokens(self.scale)
    }

    /// Reserves and commits all that is known.
    fn compute(&mut self, at: usize) {
        let missing = self.model.seqs[at].known.len() - self.model.seqs[at].computed;
        if self.reserve(at, missing, 0) {
            self.check();
            self.commit(at, missing);
        }
    }

    /// A number of tokens drawn for small blocks, for the blocks of this rig.
    fn scaled(&self, tokens: usize) -> usize {
        tokens.saturating_mul(self.scale)
    }

    /// Nothing can be done with the handle of a sequence that has ended.
    fn stale(&mut self, handle: usize) {
        let Some(at) = handle.checked_rem(self.freed.len()) else { return };
        let id = self.freed[at];
        let unknown = || vec![Error::UnknownSequence(id)];
        self.call(&unknown(), |kv| kv.reserve(id, 1));
        self.call(&unknown(), |kv| kv.commit(id, 1));
        self.call(&unknown(), |kv| kv.revert(id));
        self.call(&unknown(), |kv| kv.append(id, 0));
        self.call(&unknown(), |kv| kv.extend(id, &[0]));
        self.call(&unknown(), |kv| kv.fork(id));
        self.call(&unknown(), |kv| kv.adopt(id, 0));
        self.call(&unknown(), |kv| kv.retain(id, 0..1, Keep::NotReused.retention()));
        self.call(&unknown(), |kv| kv.preempt(id));
        self.call(&unknown(), |kv| kv.free(id));
        self.call(&unknown(), |kv| kv.block_table(id).map(<[_]>::len));
        self.call(&unknown(), |kv| kv.tokens_computed(id));
        self.call(&unknown(), |kv| kv.tokens_known(id));
        self.call(&unknown(), |kv| kv.duplicates(id).map(<[_]>::len));
    }
}
