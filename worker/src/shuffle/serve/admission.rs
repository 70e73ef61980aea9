//! Admission control for streams: which of them may have map outputs open, within bounds of
//! memory and open files.
//!
//! A [`Turn`] is the right to have sources open. It is requested before any is opened, granted in
//! the order of the requests, and given up between two blocks when another stream waits. To exclude
//! deadlock, a stream with a turn never waits for anything that depends on another stream: see the
//! protocol in [`super`].
//!
//! The bounds apply to grants: the memory of all turns and of finished blocks that the transport
//! has not sent yet ([`OnTheWay`]), and the files of all turns. Only if nothing is granted, one
//! turn is granted regardless of the bounds, since otherwise nothing would ever be served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::memory::{Account, Reservation};
use crate::sync::lock;

/// The resources of a stream during its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Memory of its sources, and of the open block.
    pub sources_bytes: u64,
    /// Memory of its blocks on their way.
    pub blocks_bytes: u64,
    /// Files that it keeps open.
    pub files: usize,
}

/// Grants turns. Clones share one state.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    memory: Account,
    files_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Files of all turns.
    files: usize,
    /// Turns that are held, or whose blocks are on their way.
    turns: usize,
    waiting: VecDeque<Waiting>,
    /// Most files and most memory so far.
    #[cfg(test)]
    most: (usize, u64),
    /// Idle turns, by when they became idle.
    idle: BTreeMap<u64, Arc<Notify>>,
    last_idle: u64,
}

struct Waiting {
    need: Need,
    granted: oneshot::Sender<Turn>,
}

/// The right to have sources open, until it is dropped.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    files: usize,
    sources: Option<Reservation>,
    on_the_way: Arc<OnTheWay>,
    asked: Arc<Notify>,
    /// When the turn became idle.
    idle: Option<u64>,
}

/// The memory of finished blocks, until the transport has sent them: each block holds a reference.
pub(crate) struct OnTheWay {
    shared: Arc<Shared>,
    memory: Option<Reservation>,
}

impl Admission {
    /// Grants turns within `memory` and so many open files.
    pub(crate) fn new(memory: Account, files_max: usize) -> Self {
        Self(Arc::new(Shared { memory, files_max, state: Mutex::default() }))
    }

    /// The largest need that is granted: a stream that needs more must merge in several passes.
    pub(crate) fn most(&self) -> Need {
        let sources_bytes = self.0.memory.limit_bytes();
        Need { sources_bytes, blocks_bytes: u64::MAX, files: self.0.files_max }
    }

    /// A turn, if one is free at once.
    pub(crate) fn try_turn(&self, need: Need) -> Option<Turn> {
        let mut state = lock(&self.0.state);
        // Earlier requests go first.
        if state.waiting.is_empty() { self.0.grant(&mut state, need) } else { None }
    }

    /// A turn, after all earlier requests. Cancel safe.
    pub(crate) async fn turn(&self, need: Need) -> Turn {
        let (granted, turn) = oneshot::channel();
        lock(&self.0.state).waiting.push_back(Waiting { need, granted });
        self.0.pump();
        match turn.await {
            Ok(turn) => turn,
            // A sender is dropped only after it has sent, or with the whole state.
            Err(_) => std::future::pending().await,
        }
    }

    /// Most files and most memory that were granted at once.
    #[cfg(test)]
    pub(crate) fn most_granted(&self) -> (usize, u64) {
        lock(&self.0.state).most
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.0.state).waiting.len()
    }
}

impl Shared {
    /// A turn, if it is within the bounds or nothing is granted.
    fn grant(self: &Arc<Self>, state: &mut State, need: Need) -> Option<Turn> {
        let mut memory = self.memory.reserve(0);
        let bytes = need.sources_bytes.saturating_add(need.blocks_bytes);
        let fits = state.files + need.files <= self.files_max && memory.try_resize(bytes);
        if !fits {
            if state.turns > 0 {
                return None;
            }
            memory.resize(bytes);
        }
        state.turns += 1;
        state.files += need.files;
        #[cfg(test)]
        {
            let (files, bytes) = state.most;
            state.most = (files.max(state.files), bytes.max(self.memory.used_bytes()));
        }
        let on_the_way = memory.split(need.blocks_bytes);
        let shared = Arc::clone(self);
        Some(Turn {
            shared: Arc::clone(self),
            files: need.files,
            sources: Some(memory),
            on_the_way: Arc::new(OnTheWay { shared, memory: Some(on_the_way) }),
            asked: Arc::default(),
            idle: None,
        })
    }

    /// Grants what can be granted, and asks an idle turn to make room for the next request.
    fn pump(self: &Arc<Self>) {
        let mut granted = Vec::new();
        {
            let mut state = lock(&self.state);
            while let Some(next) = state.waiting.front() {
                let need = next.need;
                if next.granted.is_closed() {
                    state.waiting.pop_front();
                } else if let Some(turn) = self.grant(&mut state, need) {
                    granted.extend(state.waiting.pop_front().map(|next| (next.granted, turn)));
                } else {
                    // One at a time: the end of that turn leads back here.
                    if let Some((_, longest)) = state.idle.pop_first() {
                        longest.notify_one();
                    }
                    break;
                }
            }
        }
        // A turn that nobody receives is dropped, which leads back here.
        granted.into_iter().for_each(|(sender, turn)| drop(sender.send(turn)));
    }
}

impl Turn {
    /// To be held by finished blocks until they are sent.
    pub(crate) fn on_the_way(&self) -> Arc<OnTheWay> {
        Arc::clone(&self.on_the_way)
    }

    /// Releases resources that its sources no longer need.
    pub(crate) fn shrink(&mut self, sources_bytes: u64, files: usize) {
        if let Some(sources) = &mut self.sources {
            sources.resize(sources_bytes.min(sources.bytes()));
        }
        let files = files.min(self.files);
        lock(&self.shared.state).files -= self.files - files;
        self.files = files;
        self.shared.pump();
    }

    /// Whether another stream waits for these resources.
    pub(crate) fn is_wanted(&self) -> bool {
        !lock(&self.shared.state).waiting.is_empty()
    }

    /// Marks the turn as idle. The result is notified when another stream wants the turn.
    pub(crate) fn rest(&mut self) -> Arc<Notify> {
        {
            let mut state = lock(&self.shared.state);
            state.last_idle += 1;
            let since = state.last_idle;
            state.idle.insert(since, Arc::clone(&self.asked));
            self.idle = Some(since);
        }
        self.shared.pump();
        Arc::clone(&self.asked)
    }

    /// Marks the turn as busy again.
    pub(crate) fn resume(&mut self) {
        if let Some(since) = self.idle.take() {
            lock(&self.shared.state).idle.remove(&since);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.resume();
        self.sources = None;
        lock(&self.shared.state).files -= self.files;
        self.shared.pump();
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.memory = None;
        lock(&self.shared.state).turns -= 1;
        self.shared.pump();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn need(sources_bytes: u64, files: usize) -> Need {
        Need { sources_bytes, blocks_bytes: 10, files }
    }

    /// The turn, if it is granted within some (virtual) time.
    async fn comes(turn: impl Future<Output = Turn>) -> Option<Turn> {
        timeout(Duration::from_secs(1), turn).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_bounded_by_memory_and_files_and_granted_in_order() {
        let account = Account::new(100);
        let admission = Admission::new(account.clone(), 5);
        let one = admission.try_turn(need(50, 2)).unwrap();
        assert!(admission.try_turn(need(50, 1)).is_none(), "too much memory");
        assert!(admission.try_turn(need(5, 4)).is_none(), "too many files");
        let large = admission.turn(need(50, 1));
        tokio::pin!(large);
        assert!(timeout(Duration::from_secs(1), &mut large).await.is_err());
        assert!(admission.try_turn(need(1, 1)).is_none(), "an earlier request goes first");
        drop(one);
        let large = large.await;
        assert_eq!(account.used_bytes(), 60);
        let small = comes(admission.turn(need(1, 1))).await.unwrap();
        drop((large, small));
        assert_eq!((account.used_bytes(), admission.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn if_nothing_is_granted_one_turn_is_granted_whatever_it_needs() {
        let account = Account::new(100);
        let admission = Admission::new(account.clone(), 5);
        let _others = account.reserve(100);
        let huge = admission.try_turn(need(1_000, 50)).unwrap();
        assert!(admission.try_turn(need(0, 0)).is_none());
        let block = huge.on_the_way();
        drop(huge);
        assert!(admission.try_turn(need(1, 0)).is_none(), "a block of it is on its way");
        drop(block);
        assert!(admission.try_turn(need(1, 0)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_that_is_idle_for_longest_is_asked_to_make_room() {
        let admission = Admission::new(Account::new(100), 4);
        let mut turns: Vec<_> = (0..4).map(|_| admission.try_turn(need(1, 1)).unwrap()).collect();
        let asked: Vec<_> = [2, 0, 3].map(|index: usize| (index, turns[index].rest())).into();
        turns[2].resume();
        let waits = admission.turn(need(1, 1));
        tokio::pin!(waits);
        assert!(timeout(Duration::from_secs(1), &mut waits).await.is_err());
        assert!(turns[1].is_wanted());
        let is_asked = |index: usize| {
            let notify = &asked.iter().find(|(of, _)| *of == index).unwrap().1;
            timeout(Duration::from_secs(1), notify.notified())
        };
        assert!(is_asked(0).await.is_ok());
        assert!(is_asked(2).await.is_err() && is_asked(3).await.is_err());
        drop(turns.remove(0));
        waits.await;
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_requests_are_skipped() {
        let admission = Admission::new(Account::new(100), 1);
        let one = admission.try_turn(need(1, 1)).unwrap();
        assert!(comes(admission.turn(need(1, 1))).await.is_none());
        drop(one);
        assert!(admission.try_turn(need(1, 1)).is_some());
    }
}
