//! Objects in a store that can put if absent: a folder, or a bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result as ObjectResult,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt;
use windrow_scheduler::journal::{Answer, Body, Call, Epoch, Key, Object};

use super::codec::{self, DecodeError};
use super::identity::{ClusterId, Identity, draw};
use super::runner::Written;
use crate::failpoint::{Failpoint, Step};

// As keys are shown.
const EPOCHS: &str = "epochs";
const LOG: &str = "log";

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What the store said. It may have been done all the same.
    #[error("the journal cannot be reached: {0}")]
    Failed(#[from] Error),
    /// Only the build that wrote it knows what it means.
    #[error(
        "{key} was written by {theirs}, and this is {ours}: start that build, let its jobs end, and begin with an \
         empty folder"
    )]
    OtherBuild {
        /// Which object.
        key: String,
        /// Who wrote it.
        theirs: String,
        /// Who wants to read it.
        ours: String,
    },
    /// None of the epochs says whose journal it is.
    #[error("none of the {0} epochs can be read, so that it is not known whose journal it is")]
    Nameless(usize),
    /// What is to be written cannot be laid out in bytes.
    #[error("a record cannot be written down: {0}")]
    NotWritable(#[from] postcard::Error),
}

impl StoreError {
    /// Whether trying again is of no use.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Failed(error) => is_refusal(error),
            _ => true,
        }
    }
}

/// Whether somebody must change something before it can work: a full disk is emptied by others, and a store that does not answer
/// comes back, but rights and folders stay what they are.
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
    let causes =
        std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    kinds.any(|kind| matches!(kind, NotADirectory | PermissionDenied | ReadOnlyFilesystem))
}

/// A journal's objects.
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    identity: Identity,
    failpoint: Failpoint,
    /// So far.
    pub(super) written: Arc<Written>,
}

impl Store {
    /// Finds out whose journal it is, or begins one.
    pub(super) async fn open(
        objects: Arc<dyn ObjectStore>,
        build: String,
        failpoint: Failpoint,
    ) -> Result<Self, StoreError> {
        let cluster = match cluster_of(&*objects).await? {
            Some(cluster) => cluster,
            None => ClusterId(draw().map_err(|error| Error::Generic {
                store: "random numbers",
                source: Box::new(error),
            })?),
        };
        let identity = Identity { cluster, build };
        Ok(Self { objects, identity, failpoint, written: Arc::default() })
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Does what is asked for. An error means that it is not known whether it has been done.
    pub(super) async fn carry_out<R, S>(
        &self,
        call: &Call<R, S>,
    ) -> Result<Answer<R, S>, StoreError>
    where
        R: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        Ok(match call {
            Call::LastEpoch => Answer::LastEpoch(epochs(&*self.objects).await?.pop()),
            Call::Create(key, object) => self.create(*key, object).await?,
            Call::Read(key) => self.read(*key).await?,
            Call::DeleteUpTo(epoch) => {
                self.delete_up_to(*epoch).await?;
                Answer::Deleted
            }
        })
    }

    async fn create<R: Serialize, S: Serialize>(
        &self,
        key: Key,
        object: &Object<R, S>,
    ) -> Result<Answer<R, S>, StoreError> {
        let bytes = codec::encode(&self.identity, key, object)?;
        let (before, after) = match object.body {
            Body::Snapshot(_) => (Some(Step::BeforeSnapshot), Some(Step::AfterSnapshot)),
            Body::Records(_) => (Some(Step::BeforeCreate), Some(Step::AfterCreate)),
            Body::Seal => (None, Some(Step::AfterSeal)),
            Body::Begin => (None, None),
        };
        before.into_iter().for_each(|step| self.failpoint.reach(step));
        let length = bytes.len() as u64;
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        let put = self.objects.put_opts(&path(key), PutPayload::from(bytes), options).await;
        match put {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. }) => return Ok(Answer::Exists),
            Err(error) => return Err(error.into()),
        }
        after.into_iter().for_each(|step| self.failpoint.reach(step));
        self.written.count(length);
        Ok(Answer::Created)
    }

    async fn read<R, S>(&self, key: Key) -> Result<Answer<R, S>, StoreError>
    where
        R: DeserializeOwned,
        S: DeserializeOwned,
    {
        let bytes = match self.objects.get(&path(key)).await {
            Ok(found) => found.bytes().await?,
            Err(Error::NotFound { .. }) => return Ok(Answer::Absent),
            Err(error) => return Err(error.into()),
        };
        match codec::decode(&self.identity, key, &bytes) {
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

    /// The last object of each log is its seal, which stays, and so does what breaks off before it: a coordinator that slept
    /// must find its next slot taken.
    async fn delete_up_to(&self, last: Epoch) -> Result<(), StoreError> {
        let mut logs = BTreeMap::<u64, BTreeMap<u64, Path>>::new();
        for path in list(&*self.objects, LOG).await? {
            let number = |n| path.parts().nth(n)?.as_ref().parse::<u64>().ok();
            if let (Some(epoch), Some(slot)) = (number(1), number(2))
                && epoch <= last.0
            {
                logs.entry(epoch).or_default().insert(slot, path);
            }
        }
        for mut log in logs.into_values() {
            log.pop_last();
            while let Some(last) = log.last_entry() {
                if !self.breaks_off(last.get()).await? {
                    break;
                }
                last.remove();
            }
            for path in log.into_values() {
                match self.objects.delete(&path).await {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn breaks_off(&self, path: &Path) -> Result<bool, StoreError> {
        match self.objects.get(path).await {
            Ok(object) => {
                let bytes = object.bytes().await?;
                Ok(matches!(codec::cluster_of(&bytes), Err(DecodeError::Torn(_))))
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whose journal it is, from the last epoch that says so.
async fn cluster_of(objects: &dyn ObjectStore) -> Result<Option<ClusterId>, StoreError> {
    let epochs = epochs(objects).await?;
    for epoch in epochs.iter().rev() {
        let bytes = objects.get(&path(Key::Epoch(*epoch))).await?.bytes().await?;
        if let Ok(cluster) = codec::cluster_of(&bytes) {
            return Ok(Some(cluster));
        }
    }
    if epochs.is_empty() { Ok(None) } else { Err(StoreError::Nameless(epochs.len())) }
}

/// In order.
async fn epochs(objects: &dyn ObjectStore) -> ObjectResult<Vec<Epoch>> {
    let names = list(objects, EPOCHS).await?;
    let number = |path: &Path| path.filename()?.parse().ok().map(Epoch);
    let mut epochs: Vec<_> = names.iter().filter_map(number).collect();
    epochs.sort();
    Ok(epochs)
}

async fn list(objects: &dyn ObjectStore, prefix: &'static str) -> ObjectResult<Vec<Path>> {
    objects
        .list(Some(&Path::from(prefix)))
        .map(|found| found.map(|meta| meta.location))
        .collect()
        .await
}

fn path(key: Key) -> Path {
    Path::from(key.to_string())
}

#[cfg(test)]
mod tests;
