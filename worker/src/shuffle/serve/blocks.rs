//! The merged pairs of one stream, cut into blocks. Everything here may block, and so runs on
//! threads of its own.
//!
//! ```text
//!           make(), with a turn                     park()
//!  closed ----------------------> open: a merge  -----------> closed, at a position
//!                                                    or       closed, the rest merged
//!                                                             to one run on disk
//! ```
//!
//! A closed stream takes up some bytes for each run. Opening it again costs reading one block of
//! each run: so a stream that has to wait for a second turn gets the rest of its runs merged into
//! one, which costs one block from then on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use windrow_jobs::fan_in::{SOURCE_BYTES, merge_bytes};
use windrow_jobs::pairs::RecordBatches;
use windrow_jobs::{Audit, FailureCause, JobIdentity, StageId, WorkerId};
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::{FetchEnd, FetchError, FetchRequest};

use super::admission::{Need, OnTheWay, Turn};
use super::{BLOCKS_HELD, OUTPUTS_MAX, ShuffleService};
use crate::shuffle::block::{BlockBuilder, Codec};
use crate::shuffle::merge::Merge;
use crate::shuffle::origin::{MapOutputSource, Origin};
use crate::shuffle::segment::Segment;
use crate::shuffle::source::{BlockSource, Position, memory_bytes, open_files};
use crate::shuffle::spill::Scratch;
use crate::shuffle::store::JobFolder;
use crate::wire::compression_from;

/// Most sorted runs that one stream merges at once. Outputs with more runs are merged on disk
/// first.
const FAN_IN: u32 = 256;

/// Least memory that a stream gets for its sources: the most outputs of one run each are always
/// merged at once.
const SOURCES_BYTES_MIN: u64 = OUTPUTS_MAX as u64 * SOURCE_BYTES;

/// Least number of files that it may keep open.
const FILES_MIN: usize = 4;

/// Fewer runs than these are not merged on disk to make opening them again cheaper.
const RUNS_MIN: usize = 8;

type Sources = Vec<Box<dyn BlockSource>>;

/// The result of asking for a block.
pub(super) enum Made {
    /// A block, the end, or an error.
    Message(Message),
    /// No turn is free: the caller has to bring one that is granted for this need.
    NeedsTurn(Need),
}

/// The state of a stream, without its transport.
pub(super) struct Blocks {
    service: ShuffleService,
    request: FetchRequest,
    block_bytes: u64,
    /// Fires when the caller has left.
    cancel: CancellationToken,
    left: Left,
    /// The audit of all pairs, once it is known.
    promised: Option<Audit>,
    open: Option<Box<Open>>,
}

/// The pairs that are sent when this is opened.
enum Left {
    /// All pairs.
    All,
    /// The pairs of each source after a position.
    Behind(Vec<Position>),
    /// The pairs of a run on disk after a position.
    Run(Segment, Vec<Position>),
}

/// The state during a turn.
struct Open {
    merge: Merge<'static>,
    /// Whether its sources are the ones that a second search would find.
    is_one_pass: bool,
    builder: BlockBuilder,
    ready: VecDeque<Bytes>,
    turn: Turn,
}

impl Blocks {
    pub(super) fn new(
        service: ShuffleService,
        request: FetchRequest,
        cancel: CancellationToken,
    ) -> Self {
        let block_bytes = service.block_bytes(request.block_bytes);
        Self { service, request, block_bytes, cancel, left: Left::All, promised: None, open: None }
    }

    /// The present turn.
    pub(super) fn turn(&mut self) -> Option<&mut Turn> {
        self.open.as_mut().map(|open| &mut open.turn)
    }

    /// The next message. Uses `turn` if this stream has none.
    pub(super) fn make(&mut self, turn: Option<Turn>) -> Made {
        self.service.work.step();
        match self.next_block(turn) {
            Ok(Next::Block(block)) => Made::Message(Message::Block(block)),
            Ok(Next::NeedsTurn(need)) => Made::NeedsTurn(need),
            // The outputs' promised audit, not that of the sent pairs: the caller compares it with
            // the pairs that have arrived.
            Ok(Next::End(Audit { records, digest })) => {
                Made::Message(Message::End(FetchEnd { records, digest }))
            }
            Err(cause) => Made::Message(Message::Error(error(cause))),
        }
    }

    /// Gives up the turn, and returns the blocks that had been begun. The rest of a merge of
    /// several passes is merged to one run.
    pub(super) fn park(&mut self) -> Result<Vec<Bytes>, FetchError> {
        let Some(mut open) = self.open.take() else { return Ok(Vec::new()) };
        let mut begun = std::mem::take(&mut open.ready);
        if !open.builder.is_empty() {
            begun.push_back(finish(&mut open.builder, open.turn.on_the_way()));
        }
        let positions = open.merge.positions().filter(|_| open.is_one_pass);
        match (positions, std::mem::replace(&mut self.left, Left::All)) {
            (Some(now), Left::Run(run, _)) => self.left = Left::Run(run, now),
            (Some(now), Left::All | Left::Behind(_)) => self.left = Left::Behind(now),
            (None, _) => {
                let need = Need::default();
                let run = self.scratch(need).and_then(|to| to.write_run(&mut open.merge));
                self.left = Left::Run(run.map_err(error)?, Vec::new());
            }
        }
        Ok(begun.into())
    }

    fn next_block(&mut self, turn: Option<Turn>) -> Result<Next, FailureCause> {
        if self.open.is_none() {
            match self.open(turn)? {
                Opened::NeedsTurn(need) => return Ok(Next::NeedsTurn(need)),
                Opened::Open(open) => self.open = Some(open),
            }
        }
        let Some(Open { merge, builder, ready, turn, .. }) = self.open.as_deref_mut() else {
            return Err(FailureCause::Cancelled);
        };
        while ready.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(FailureCause::Cancelled);
            }
            self.service.work.step();
            let Some(batch) = merge.next_batch()? else {
                return Ok(match builder.is_empty() {
                    true => Next::End(self.promised.unwrap_or_default()),
                    false => Next::Block(finish(builder, turn.on_the_way())),
                });
            };
            for record in batch {
                while !builder.push(*record)? {
                    ready.push_back(finish(builder, turn.on_the_way()));
                }
            }
        }
        ready.pop_front().map(Next::Block).ok_or(FailureCause::Cancelled)
    }

    fn open(&mut self, turn: Option<Turn>) -> Result<Opened, FailureCause> {
        let had_to_wait = turn.is_some();
        let mut sources = self.sources()?;
        self.promised.get_or_insert_with(|| {
            let mut promised = Audit::default();
            sources.iter().for_each(|source| promised.merge(source.promised()));
            promised
        });
        let need = self.need(&sources);
        let Some(mut turn) = turn.or_else(|| self.service.admission.try_turn(need)) else {
            return Ok(Opened::NeedsTurn(need));
        };
        let was_parked = matches!(self.left, Left::Behind(_));
        if had_to_wait && was_parked && sources.len() >= RUNS_MIN {
            sources = self.merged_to_run(need, sources)?;
            turn.shrink(memory_bytes(&sources), open_files(&sources));
        }
        let count = sources.len();
        let merge = match sources.is_empty() {
            true => Merge::new(sources),
            false => self.scratch(need)?.merge(sources)?,
        };
        let builder = BlockBuilder::new(self.codec(), self.block_bytes as usize);
        let is_one_pass = merge.len() == count;
        let open = Open { merge, is_one_pass, builder, ready: VecDeque::new(), turn };
        Ok(Opened::Open(Box::new(open)))
    }

    /// The source of a run with the remaining pairs of these sources; or the sources at their
    /// positions, if there is no room for the run on the disk.
    fn merged_to_run(&mut self, need: Need, sources: Sources) -> Result<Sources, FailureCause> {
        let scratch = self.scratch(need)?;
        match scratch.merge(sources).and_then(|mut merge| scratch.write_run(&mut merge)) {
            Ok(run) => self.left = Left::Run(run, Vec::new()),
            Err(cause @ FailureCause::Io { disk_full: true, .. }) => {
                tracing::warn!(%cause, "cannot merge a waiting stream to one run");
            }
            Err(cause) => return Err(cause),
        }
        self.sources()
    }

    /// The sources of the remaining pairs.
    fn sources(&self) -> Result<Sources, FailureCause> {
        let (mut sources, positions) = match &self.left {
            Left::All => (self.outputs()?, &[][..]),
            Left::Behind(positions) => (self.outputs()?, &positions[..]),
            Left::Run(run, positions) => {
                let sources = run.sources(0)?.into_iter();
                (sources.map(|source| Box::new(source) as _).collect(), &positions[..])
            }
        };
        if !positions.is_empty() && positions.len() != sources.len() {
            let message = format!("of {} sorted runs there are {}", positions.len(), sources.len());
            return Err(FailureCause::Corrupt { file: "the outputs".into(), offset: 0, message });
        }
        for (source, position) in sources.iter_mut().zip(positions) {
            source.seek(position);
        }
        Ok(sources)
    }

    /// All sources of a request, whichever outputs have runs of the partition.
    fn outputs(&self) -> Result<Sources, FailureCause> {
        let FetchRequest { worker, partition, outputs, .. } = &self.request;
        let folder = self.folder();
        let mut sources = Vec::new();
        for output in outputs {
            self.service.work.step();
            let worker = WorkerId(*worker);
            let origin = Origin { map_task: output.task, map_attempt: output.attempt, worker };
            let output = (output.task, output.attempt);
            let found = folder.clone().and_then(|folder| folder.sources(output, *partition));
            sources.extend(MapOutputSource::all(found, &origin)?);
        }
        Ok(sources)
    }

    /// The folder of the job with the requested identity.
    fn folder(&self) -> Result<Arc<JobFolder>, FailureCause> {
        let job = JobIdentity::from_bytes(&self.request.job);
        let folder = job.and_then(|job| self.service.store.of(job));
        folder.ok_or_else(|| {
            let name = job.map_or_else(|| "an unknown job".into(), |job| format!("job {job}"));
            let message = "the job is not here".into();
            FailureCause::Corrupt { file: format!("the outputs of {name}"), offset: 0, message }
        })
    }

    /// The resources for merging these at once, up to the largest need that is granted.
    fn need(&self, sources: &Sources) -> Need {
        let most = self.service.admission.most();
        let blocks_bytes = BLOCKS_HELD * self.block_bytes;
        let most_bytes = most.sources_bytes.saturating_sub(blocks_bytes).max(SOURCES_BYTES_MIN);
        Need {
            sources_bytes: memory_bytes(sources).min(merge_bytes(FAN_IN)).min(most_bytes),
            blocks_bytes,
            files: open_files(sources).min(most.files.max(FILES_MIN)),
        }
    }

    fn scratch(&self, need: Need) -> Result<Scratch, FailureCause> {
        let folder = self.folder()?;
        Ok(Scratch {
            // Made for whichever attempt asks; nobody else opens it.
            owner: folder.owner(StageId::REDUCE, self.request.partition, 0),
            folder,
            cancel: self.cancel.clone(),
            progress: Arc::clone(&self.service.work),
            merge_bytes: need.sources_bytes,
            files_max: need.files,
            codec: Codec::on_this_machine(compression_from(self.request.compression())),
        })
    }

    fn codec(&self) -> Codec {
        let choice = compression_from(self.request.compression());
        if self.request.same_machine {
            Codec::on_this_machine(choice)
        } else {
            Codec::between_machines(choice)
        }
    }
}

enum Next {
    Block(Bytes),
    End(Audit),
    NeedsTurn(Need),
}

enum Opened {
    Open(Box<Open>),
    NeedsTurn(Need),
}

/// A block that holds a reference to the memory on its way.
struct Counted {
    block: Vec<u8>,
    _on_the_way: Arc<OnTheWay>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.block
    }
}

fn finish(builder: &mut BlockBuilder, on_the_way: Arc<OnTheWay>) -> Bytes {
    builder.finish();
    Bytes::from_owner(Counted { block: builder.take(), _on_the_way: on_the_way })
}

/// The failure as reported to the caller.
pub(super) fn error(cause: FailureCause) -> FetchError {
    match cause {
        FailureCause::FetchFailed { map_task, map_attempt, message, .. } => {
            FetchError { map_task, map_attempt, message, is_shortage: false }
        }
        // All sources name their origin, so this is a pair that fits no block, or a resource that
        // this process lacks: no output is to blame.
        cause => {
            let is_shortage = matches!(cause, FailureCause::Io { .. });
            FetchError { message: cause.to_string(), is_shortage, ..Default::default() }
        }
    }
}
