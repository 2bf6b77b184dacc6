//! Coding-agent sessions, played by users at the same time.
//!
//! **Who plays what.** There are N users. User u plays the sessions u, u + N, u + 2N ... in
//! the order in which they were given, one at a time. Where there are more users than sessions, user u
//! plays session u modulo their number, with ids of its own: nobody else's prompts are
//! shared. A user's first session starts at a time drawn from the first minute (a seed names
//! the times), the next one when the last request of the one before has been answered. A
//! request arrives at the start of its session plus its `t`.
//!
//! **Ids.** The number of the session played and its local id are packed into one number, so
//! distinct stays distinct.
//!
//! Each user holds one session; nothing else is in memory.

use super::{
    Request, Source, TraceError,
    session::{Call, LOCAL_BITS, read_session, unsuitable},
};
use crate::SplitMix64;
use std::{cmp::Reverse, collections::BinaryHeap, path::PathBuf};

/// Users where nobody says how many.
pub const DEFAULT_USERS: u32 = 32;
/// First sessions start within so many ms.
const STAGGER_MS: u32 = 60_000;
/// Sessions that ids have room for.
const MAX_INSTANCES: u64 = 1 << (64 - LOCAL_BITS);

/// A session that a user is playing.
struct Playing {
    instance: u64,
    start_ms: u64,
    calls: std::vec::IntoIter<Call>,
    turn: u32,
    /// When all calls so far are answered.
    answered_ms: u64,
    next: Call,
}

/// Gives the requests of all users in order of arrival.
pub struct Agentic {
    sessions: Vec<PathBuf>,
    block_size: u32,
    users: Vec<Option<Playing>>,
    /// (arrival, user) of each user's next request.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// How often a session is started in all.
    instances: u64,
    started: u64,
}

impl Agentic {
    /// `users` users (at least one) play `sessions`; `seed` names when they start.
    ///
    /// # Errors
    /// A first session of a user cannot be read.
    pub fn new(sessions: Vec<PathBuf>, users: u32, seed: u64) -> Result<Self, TraceError> {
        let users = users.max(1);
        let mut agentic = Self {
            instances: (sessions.len() as u64).max(u64::from(users)),
            block_size: 0,
            users: Vec::new(),
            waiting: BinaryHeap::new(),
            started: 0,
            sessions,
        };
        if agentic.sessions.is_empty() {
            let why = "there is no session".into();
            return Err(TraceError::Unsuitable { name: "agentic".into(), why });
        }
        if agentic.instances > MAX_INSTANCES {
            let why = format!("more than {MAX_INSTANCES} sessions to play; take fewer users");
            return Err(unsuitable(&agentic.sessions[0], why));
        }
        let mut random = SplitMix64::new(seed);
        for user in 0..users as usize {
            let start_ms = u64::from(random.below(STAGGER_MS));
            agentic.users.push(None);
            agentic.start_session(user, user as u64, start_ms)?;
        }
        if agentic.waiting.is_empty() {
            let name = agentic.sessions[0].display().to_string();
            return Err(TraceError::NoRequests { name });
        }
        Ok(agentic)
    }

    /// Lets `user` start with session number `instance`, or with the next one of theirs that
    /// has requests.
    fn start_session(
        &mut self,
        user: usize,
        mut instance: u64,
        start_ms: u64,
    ) -> Result<(), TraceError> {
        while instance < self.instances {
            let path = &self.sessions[(instance % self.sessions.len() as u64) as usize];
            let (block_size, calls) = read_session(path)?;
            if self.block_size == 0 {
                self.block_size = block_size;
            } else if self.block_size != block_size {
                let why = format!(
                    "block_size: expected {} as in the first session, found {block_size}",
                    self.block_size
                );
                return Err(unsuitable(path, why));
            }
            self.started += 1;
            let mut calls = calls.into_iter();
            if let Some(next) = calls.next() {
                self.waiting.push(Reverse((start_ms.saturating_add(next.time_ms), user)));
                let answered_ms = next.answered_ms;
                let playing = Playing { instance, start_ms, calls, turn: 0, answered_ms, next };
                self.users[user] = Some(playing);
                return Ok(());
            }
            instance += self.users.len() as u64;
        }
        Ok(())
    }
}

impl Source for Agentic {
    type Error = TraceError;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_next(&mut self, request: &mut Request) -> Result<bool, TraceError> {
        let Some(Reverse((time_ms, user))) = self.waiting.pop() else { return Ok(false) };
        let Some(mut playing) = self.users[user].take() else { return Ok(false) };
        playing.write(time_ms, request);
        if let Some(next) = playing.calls.next() {
            self.waiting.push(Reverse((playing.start_ms.saturating_add(next.time_ms), user)));
            playing.answered_ms = playing.answered_ms.max(next.answered_ms);
            playing.turn += 1;
            playing.next = next;
            self.users[user] = Some(playing);
        } else {
            let next = playing.instance + self.users.len() as u64;
            self.start_session(user, next, playing.start_ms.saturating_add(playing.answered_ms))?;
        }
        Ok(true)
    }

    fn fraction_read(&self) -> Option<f64> {
        // The sessions under way count as half read.
        let playing = self.users.iter().flatten().count() as f64;
        Some((self.started as f64 - playing / 2.0) / self.instances as f64)
    }
}

impl Playing {
    /// Writes the next request, which arrives at `time_ms`.
    fn write(&self, time_ms: u64, request: &mut Request) {
        request.time_ms = time_ms;
        request.input_tokens = self.next.input_tokens;
        request.output_tokens = self.next.output_tokens;
        request.blocks.clear();
        let of_session = self.instance << LOCAL_BITS;
        request.blocks.extend(self.next.hash_ids.iter().map(|id| of_session | id));
        request.session = Some(self.instance);
        request.turn = Some(self.turn);
        request.category = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::session::PARTIAL;

    /// Two sessions of 4-token blocks. The first has a subagent whose first request falls
    /// between its own two.
    fn write_sessions() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let first = r#"{"block_size": 4, "requests": [
            {"t": 0.0, "in": 9, "out": 3, "hash_ids": [1, 2], "api_time": 0.25},
            {"t": 1.0, "type": "subagent", "requests": [
                {"t": 0.5, "in": 4, "out": 1, "hash_ids": [7], "api_time": 9.0}]},
            {"t": 2.0, "in": 12, "out": 3, "hash_ids": [1, 2, 3], "api_time": 0.5}]}"#;
        let second = r#"{"block_size": 4, "requests": [
            {"t": 0.0, "in": 4, "out": 0, "hash_ids": [1]}]}"#;
        std::fs::write(folder.path().join("a.json"), first).unwrap();
        std::fs::write(folder.path().join("b.json"), second).unwrap();
        folder
    }

    fn play(users: u32, seed: u64) -> Vec<Request> {
        let folder = write_sessions();
        let sessions = ["a.json", "b.json"].map(|name| folder.path().join(name)).into();
        let mut agentic = Agentic::new(sessions, users, seed).unwrap();
        assert_eq!(agentic.block_size(), 4);
        let mut requests = Vec::new();
        let mut request = Request::default();
        while agentic.read_next(&mut request).unwrap() {
            requests.push(request.clone());
        }
        assert_eq!(agentic.fraction_read(), Some(1.0));
        requests
    }

    /// One user: b starts when the subagent's request is answered, 10.5 s after a started.
    #[test]
    fn one_user_plays_session_after_session() {
        let requests = play(1, 0);
        let start = requests[0].time_ms;
        let times: Vec<u64> = requests.iter().map(|request| request.time_ms - start).collect();
        assert_eq!(times, [0, 1_500, 2_000, 10_500]);
        let turns: Vec<_> = requests.iter().map(|r| (r.session, r.turn)).collect();
        assert_eq!(
            turns,
            [(Some(0), Some(0)), (Some(0), Some(1)), (Some(0), Some(2)), (Some(1), Some(0))]
        );
        // The second block of nine tokens is full, the third is not and nobody else's.
        assert_eq!(requests[0].blocks, [1, 2, PARTIAL]);
        assert_eq!(requests[1].blocks, [7]);
        assert_eq!(requests[2].blocks, [1, 2, 3]);
        assert_eq!(requests[3].blocks, [1 << LOCAL_BITS | 1]);
    }

    #[test]
    fn more_users_than_sessions_play_them_again_with_ids_of_their_own() {
        let requests = play(5, 3);
        // a, b, a, b, a
        assert_eq!(requests.len(), 3 * 3 + 2);
        assert!(requests.is_sorted_by_key(|request| request.time_ms));
        for session in [0, 2, 4] {
            let of_session: Vec<_> =
                requests.iter().filter(|request| request.session == Some(session)).collect();
            assert_eq!(of_session.len(), 3);
            for id in of_session.iter().flat_map(|request| &request.blocks) {
                assert_eq!(id >> LOCAL_BITS, session);
            }
        }
        assert_eq!(play(5, 3), requests);
        assert_ne!(play(5, 4), requests);
    }

    #[test]
    fn sessions_that_ids_have_no_room_for_are_refused() {
        let folder = write_sessions();
        let sessions = vec![folder.path().join("b.json")];
        let Err(error) = Agentic::new(sessions, (1 << 24) + 1, 0) else { panic!("played") };
        assert!(error.to_string().contains("more than 16777216 sessions"), "{error}");
    }

    #[test]
    fn sessions_without_requests_are_passed_over_and_alone_are_an_error() {
        let folder = write_sessions();
        let empty = folder.path().join("empty.json");
        std::fs::write(&empty, r#"{"block_size": 4, "requests": []}"#).unwrap();
        let Err(error) = Agentic::new(vec![empty.clone()], 3, 0) else { panic!("played") };
        assert!(error.to_string().ends_with("the trace has no requests"), "{error}");
        let sessions = vec![empty, folder.path().join("b.json")];
        let mut agentic = Agentic::new(sessions, 1, 0).unwrap();
        let mut request = Request::default();
        assert!(agentic.read_next(&mut request).unwrap());
        assert_eq!(request.session, Some(1));
        assert!(!agentic.read_next(&mut request).unwrap());
    }
}
