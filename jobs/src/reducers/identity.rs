//! All pairs, unchanged.

use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::Value;

/// All pairs, unchanged, sorted by key within each part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl<K: Key + ?Sized, V: Value + ?Sized> Reducer<K, V> for Identity {
    type OutputKey = K;
    type OutputValue = V;

    fn reduce(
        &self,
        key: K::Decoded<'_>,
        values: &mut Values<'_, V>,
        out: &mut impl Emit<K, V>,
    ) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(K::view(&key), V::view(&value))?;
        }
        Ok(())
    }
}
