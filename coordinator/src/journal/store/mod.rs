//! Journal objects in a store with put-if-absent: a folder or a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result as ObjectResult,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt;
use windrow_jobs::explained;
use windrow_scheduler::journal::{
    Answer, AttachmentId, Body, Call, Epoch, Key, Listing, Nonce, Object, Slot, Sweep, SweepStage,
};

use super::codec::{self, DecodeError};
use super::identity::{ClusterId, Identity, draw};
use super::pinned_folder::PinnedFolder;
use super::runner::WriteTotals;
use crate::failpoint::{Failpoint, FailpointId};

// The prefixes of keys.
const EPOCHS: &str = "epochs";
const LOG: &str = "log";
const STATES: &str = "states";
const ATTACHMENTS: &str = "attachments";
/// Names the journal's cluster. The first object that is written, and never deleted.
const IDENTITY: &str = "identity";

/// Bodies above this size are encoded and decoded on a blocking thread.
const SMALL_BYTES: usize = 64 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's error. The call may have taken effect all the same.
    #[error("the journal cannot be reached: {0}")]
    Failed(#[from] Error),
    /// The journal's disk is full.
    #[error("no room for the journal in {}: {message}; free some space there", folder.display())]
    Full {
        /// The journal's folder.
        folder: PathBuf,
        /// The system's error.
        message: String,
    },
    /// Only the build that wrote the object can read it.
    #[error(
        "{key} was written by {theirs}, and this is {ours}: start that build, let its jobs end, and begin with an \
         empty folder"
    )]
    OtherBuild {
        /// The object.
        key: String,
        /// The build that wrote it.
        theirs: String,
        /// The build that tries to read it.
        ours: String,
    },
    /// There are objects, but none that names the journal's cluster.
    #[error(
        "{IDENTITY}, which names the journal's cluster, is {problem}: bring the whole folder back, or begin with an \
         empty one"
    )]
    Nameless {
        /// The defect of the identity object.
        problem: String,
    },
    /// The folder was removed or replaced.
    #[error(
        "{} was removed or replaced while this coordinator ran on it, so that its records are missing: bring back the \
         folder that was there and start a coordinator on it, or submit the jobs anew",
        .0.display()
    )]
    FolderGone(PathBuf),
    /// The record cannot be encoded.
    #[error("a record cannot be encoded: {0}")]
    NotWritable(#[from] postcard::Error),
    /// Encoding or decoding panicked.
    #[error("an object of the journal could not be encoded or decoded: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl StoreError {
    /// Whether a retry is useless.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Failed(error) => is_refusal(error),
            Self::Full { .. } => false,
            _ => true,
        }
    }

    /// The store's error for a full disk does not name the folder.
    fn in_folder(self, home: Option<&PinnedFolder>) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let (Self::Failed(error), Some(home)) = (&self, home) else { return self };
        let full = io_causes(error)
            .find(|cause| matches!(cause.kind(), StorageFull | QuotaExceeded))
            .map(|cause| explained(home.path(), cause));
        match full {
            Some(message) => Self::Full { folder: home.path().to_path_buf(), message },
            None => self,
        }
    }
}

/// The system errors that caused `error`.
fn io_causes(error: &Error) -> impl Iterator<Item = &std::io::Error> {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .filter_map(|cause| cause.downcast_ref())
}

/// Whether a person must act first: a full disk is emptied and a store comes back, but permissions
/// and misplaced files stay as they are.
fn is_refusal(error: &Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    match error {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. } => return true,
        _ => {}
    }
    io_causes(error)
        .any(|cause| matches!(cause.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem))
}

/// A journal's objects.
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    /// Their folder, if they are in one.
    home: Option<PinnedFolder>,
    identity: Arc<Identity>,
    failpoint: Failpoint,
    /// Totals so far.
    pub(super) written: Arc<WriteTotals>,
}

impl Store {
    /// Reads the journal's cluster, or begins a journal.
    pub(super) async fn open(
        objects: Arc<dyn ObjectStore>,
        home: Option<PinnedFolder>,
        build: String,
        failpoint: Failpoint,
    ) -> Result<Self, StoreError> {
        debug_assert!(!build.is_empty(), "bodies can be read only by the build that wrote them");
        let cluster = cluster_of(&*objects, home.as_ref(), &build).await;
        let cluster = cluster.map_err(|error| error.in_folder(home.as_ref()))?;
        let identity = Arc::new(Identity { cluster, build });
        Ok(Self { objects, home, identity, failpoint, written: Arc::default() })
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Carries out a call. An error means that it may or may not have taken effect.
    pub(super) async fn carry_out<R, S, P>(
        &self,
        call: Call<R, S, P>,
    ) -> Result<Answer<R, S, P>, StoreError>
    where
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        P: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.ask(call).await.map_err(|error| error.in_folder(self.home.as_ref()))
    }

    async fn ask<R, S, P>(&self, call: Call<R, S, P>) -> Result<Answer<R, S, P>, StoreError>
    where
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        P: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Ok(match call {
            // Logs come first: if one of them is swept meanwhile, the snapshot that replaces it
            // shows.
            Call::List => Answer::Listed(self.listing(&[LOG, STATES, EPOCHS]).await?),
            Call::Licences => Answer::Listed(self.listing(&[EPOCHS]).await?),
            Call::Create(key, object) => self.create(key, object).await?,
            Call::Read(key) => self.read(key).await?,
            Call::Sweep(sweep) => {
                self.sweep(sweep).await?;
                Answer::Swept
            }
        })
    }

    async fn create<R, S, P>(
        &self,
        key: Key,
        object: Object<R, S, P>,
    ) -> Result<Answer<R, S, P>, StoreError>
    where
        R: Serialize + Send + Sync + 'static,
        S: Serialize + Send + Sync + 'static,
        P: Serialize + Send + Sync + 'static,
    {
        let (before, after) = match object.body {
            Body::State(_) => (Some(FailpointId::BeforeSnapshot), Some(FailpointId::AfterSnapshot)),
            Body::Records { .. } => {
                (Some(FailpointId::BeforeCreate), Some(FailpointId::AfterCreate))
            }
            Body::Seal { .. } => (None, Some(FailpointId::AfterSeal)),
            Body::Begin | Body::Attachment(_) => (None, None),
        };
        let is_record = matches!(object.body, Body::Records { .. });
        let identity = Arc::clone(&self.identity);
        let encode = move || codec::encode(&identity, key, &object);
        // A snapshot or an attachment may be large, and must not block the runtime's threads.
        let bytes = match is_record || before.is_none() && after.is_some() {
            true => encode()?,
            false => tokio::task::spawn_blocking(encode).await??,
        };
        before.into_iter().for_each(|step| self.failpoint.reach(step));
        self.check_home().await?;
        debug_assert!(
            bytes.len() >= codec::HEADER_BYTES + codec::TRAILER.len(),
            "a fenced coordinator must be able to read who has fenced it"
        );
        let length = bytes.len() as u64;
        if !put_if_absent(&*self.objects, self.home.as_ref(), &path(key), bytes).await? {
            return Ok(Answer::Exists);
        }
        after.into_iter().for_each(|step| self.failpoint.reach(step));
        self.written.count(length);
        Ok(Answer::Created)
    }

    /// Refuses to write into a folder that is not the journal's.
    async fn check_home(&self) -> Result<(), StoreError> {
        let Some(home) = self.home.clone() else { return Ok(()) };
        let path = home.path().to_path_buf();
        match tokio::task::spawn_blocking(move || home.is_there()).await? {
            true => Ok(()),
            false => Err(StoreError::FolderGone(path)),
        }
    }

    async fn read<R, S, P>(&self, key: Key) -> Result<Answer<R, S, P>, StoreError>
    where
        R: DeserializeOwned + Send + Sync + 'static,
        S: DeserializeOwned + Send + Sync + 'static,
        P: DeserializeOwned + Send + Sync + 'static,
    {
        let bytes = match self.objects.get(&path(key)).await {
            Ok(found) => found.bytes().await?,
            Err(Error::NotFound { .. }) => return Ok(Answer::Absent),
            Err(error) => return Err(error.into()),
        };
        let identity = Arc::clone(&self.identity);
        let is_small = bytes.len() <= SMALL_BYTES;
        let decode = move || codec::decode(&identity, key, &bytes);
        let decoded = match is_small {
            true => decode(),
            false => tokio::task::spawn_blocking(decode).await?,
        };
        match decoded {
            Ok(object) => Ok(Answer::Found(object)),
            Err(DecodeError::Torn(message)) => Ok(Answer::Damaged { torn: true, message }),
            Err(DecodeError::Damaged(message)) => Ok(Answer::Damaged { torn: false, message }),
            Err(DecodeError::OtherBuild(theirs)) => Err(StoreError::OtherBuild {
                key: key.to_string(),
                theirs,
                ours: self.identity.build.clone(),
            }),
        }
    }

    async fn listing(&self, folders: &[&'static str]) -> ObjectResult<Listing> {
        let mut keys = Vec::new();
        for folder in folders {
            keys.extend(names(&*self.objects, folder).await?.iter().filter_map(key_of));
        }
        Ok(keys.into_iter().collect())
    }

    /// Deletes many objects with each request, where the store can.
    async fn sweep(&self, sweep: Sweep) -> Result<(), StoreError> {
        self.check_home().await?;
        let prefixes: &[&'static str] = match sweep.stage {
            SweepStage::Licences { .. } => &[EPOCHS, STATES, ATTACHMENTS],
            SweepStage::Logs => &[LOG],
        };
        for prefix in prefixes {
            let mut old = names(&*self.objects, prefix).await?;
            old.retain(|path| key_of(path).is_some_and(|key| sweep.deletes(key)));
            debug_assert!(
                old.iter().all(|path| path.as_ref() != IDENTITY),
                "the identity object stays"
            );
            debug_assert!(
                old.iter().all(|path| path.as_ref().starts_with(prefix)),
                "a stage deletes its own kinds: logs go after licences"
            );
            let old = tokio_stream::iter(old.into_iter().map(Ok));
            let mut deleted = self.objects.delete_stream(Box::pin(old));
            while let Some(result) = deleted.next().await {
                match result {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// False if the object exists already.
async fn put_if_absent(
    objects: &dyn ObjectStore,
    home: Option<&PinnedFolder>,
    path: &Path,
    bytes: Vec<u8>,
) -> Result<bool, StoreError> {
    let options = PutOptions { mode: PutMode::Create, ..Default::default() };
    match objects.put_opts(path, PutPayload::from(bytes), options).await {
        Ok(_) => {
            if let Some(home) = home.cloned() {
                let name = path.to_string();
                // The store creates files with the umask's permissions.
                tokio::task::spawn_blocking(move || home.make_private(&name)).await?;
            }
            Ok(true)
        }
        Err(Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The journal's cluster. If several coordinators begin a journal at once, all accept the first
/// identity object.
async fn cluster_of(
    objects: &dyn ObjectStore,
    home: Option<&PinnedFolder>,
    build: &str,
) -> Result<ClusterId, StoreError> {
    let identity = Path::from(IDENTITY);
    loop {
        match objects.get(&identity).await {
            Ok(found) => {
                let bytes = found.bytes().await?;
                return codec::cluster_of(&bytes).map_err(|error| unknown(IDENTITY, error, build));
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        refuse_headless(objects, build).await?;
        let drawn = || draw().map_err(|error| failed("random numbers", error));
        let writer = Identity { cluster: ClusterId(drawn()?), build: build.to_string() };
        let (epoch, nonce, body) = (Epoch(0), Nonce(drawn()?), Body::<(), (), ()>::Begin);
        let key = Key::Epoch(epoch);
        let bytes = codec::encode(&writer, key, &Object { epoch, nonce, body })?;
        debug_assert_eq!(
            codec::cluster_of(&bytes),
            Ok(writer.cluster),
            "every coordinator accepts this object, now and after a restart"
        );
        if put_if_absent(objects, home, &identity, bytes).await? {
            debug_assert!(key_of(&identity).is_none(), "no sweep may delete it");
            return Ok(writer.cluster);
        }
    }
}

fn failed(
    store: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    Error::Generic { store, source: Box::new(error) }.into()
}

fn unknown(key: &str, error: DecodeError, build: &str) -> StoreError {
    match error {
        DecodeError::OtherBuild(theirs) => {
            StoreError::OtherBuild { key: key.to_string(), theirs, ours: build.to_string() }
        }
        DecodeError::Torn(problem) | DecodeError::Damaged(problem) => {
            let problem = match key {
                IDENTITY => format!("damaged ({problem})"),
                other => format!("missing, and {other} is damaged ({problem})"),
            };
            StoreError::Nameless { problem }
        }
    }
}

/// A journal without its first object is not a new one. Journals of earlier builds had none.
async fn refuse_headless(objects: &dyn ObjectStore, build: &str) -> Result<(), StoreError> {
    for prefix in [EPOCHS, STATES, LOG, ATTACHMENTS] {
        let mut found = objects.list(Some(&Path::from(prefix)));
        let Some(first) = found.next().await.transpose()? else { continue };
        let name = first.location.to_string();
        let bytes = objects.get(&first.location).await?.bytes().await?;
        return Err(match codec::cluster_of(&bytes) {
            Ok(_) => StoreError::Nameless { problem: format!("missing, though there is {name}") },
            Err(error) => unknown(&name, error, build),
        });
    }
    Ok(())
}

async fn names(objects: &dyn ObjectStore, prefix: &'static str) -> ObjectResult<Vec<Path>> {
    let found = objects.list(Some(&Path::from(prefix)));
    found.map(|found| found.map(|meta| meta.location)).collect().await
}

fn path(key: Key) -> Path {
    let path = Path::from(key.to_string());
    debug_assert_eq!(key_of(&path), Some(key), "an object that a list misses would be lost");
    path
}

/// The key of a path, if it is one.
fn key_of(path: &Path) -> Option<Key> {
    let mut parts = path.parts();
    let folder = parts.next()?;
    let mut number = || parts.next()?.as_ref().parse::<u64>().ok();
    let key = match folder.as_ref() {
        EPOCHS => Key::Epoch(Epoch(number()?)),
        STATES => Key::State(Epoch(number()?)),
        LOG => Key::Log(Epoch(number()?), Slot(number()?)),
        ATTACHMENTS => Key::Attachment(AttachmentId { epoch: Epoch(number()?), number: number()? }),
        _ => return None,
    };
    (path.as_ref() == key.to_string()).then_some(key)
}

#[cfg(test)]
mod tests;
