//! Any serde type as a value.

use std::fmt::Debug;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Value, malformed};
use crate::error::Result;

/// A value of any serde type `T`: emitted as `&T`, decoded as `T`, written to text output as JSON.
///
/// It is encoded as [postcard](https://docs.rs/postcard), which is compact but not self-describing:
/// types that serde can only read from a self-describing format (`untagged`, `flatten`) do not
/// decode.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use windrow_jobs::Value;
/// use windrow_jobs::value::Serde;
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct Visit { page: String, seconds: f32 }
///
/// let visit = Visit { page: "/index".into(), seconds: 1.5 };
/// let mut bytes = Vec::new();
/// <Serde<Visit>>::encode(&visit, &mut bytes)?;
/// assert_eq!(<Serde<Visit>>::decode(&bytes)?, visit);
/// # Ok::<(), windrow_jobs::Error>(())
/// ```
pub struct Serde<T>(PhantomData<fn() -> T>);

impl<T> Value for Serde<T>
where
    T: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    type Ref<'a> = &'a T;
    type Decoded<'a> = T;
    type Owned = T;

    fn encode(value: &T, out: &mut Vec<u8>) -> Result<()> {
        postcard::to_io(value, out)?;
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() { Ok(value) } else { Err(malformed::<T>()) }
    }

    fn view(decoded: &T) -> &T {
        decoded
    }

    fn view_owned(owned: &T) -> &T {
        owned
    }

    fn own(value: &T) -> T {
        value.clone()
    }

    fn write_text(value: &T, out: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(out, value)?;
        Ok(())
    }
}
