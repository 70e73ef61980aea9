//! Values that were decoded lately, so that a value that many keys share is not decoded for each.

use crate::collect::chains::{Chains, Kept};
use crate::error::Result;
use crate::value::Value;

/// Decodes values of chains, and keeps a few that were decoded lately.
pub(super) struct Decoded<'a, V: Value + ?Sized> {
    chains: &'a Chains,
    /// By the hashes of their positions.
    lately: Box<[Option<Found<'a, V>>]>,
}

/// A value, and where it is kept.
type Found<'a, V> = (Kept, <V as Value>::Decoded<'a>);

impl<'a, V: Value + ?Sized> Decoded<'a, V> {
    /// Keeps up to `places` values; at least one.
    pub(super) fn new(chains: &'a Chains, places: usize) -> Self {
        Self { chains, lately: (0..places.max(1)).map(|_| None).collect() }
    }

    /// Calls `read` with a value.
    #[inline]
    pub(super) fn with<R>(
        &mut self,
        kept: Kept,
        read: impl FnOnce(V::Ref<'_>) -> Result<R>,
    ) -> Result<R> {
        let place = kept.hash() as usize % self.lately.len();
        let place = &mut self.lately[place];
        if let Some((of, value)) = place
            && *of == kept
        {
            return read(V::view(value));
        }
        let (_, value) = place.insert((kept, V::decode(self.chains.value(kept))?));
        read(V::view(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_share_a_place_are_told_apart() {
        let mut chains = Chains::default();
        let texts: Vec<String> = (0..100).map(|n| format!("hay {n}")).collect();
        let kept: Vec<Kept> =
            texts.iter().map(|text| chains.keep(text.as_bytes()).unwrap()).collect();
        for places in [1, 7, 1_000] {
            let mut decoded = Decoded::<str>::new(&chains, places);
            for n in (0..100).chain([5, 5, 99, 5]).chain((0..100).rev()) {
                let is_same = decoded.with(kept[n], |text| Ok(text == texts[n])).unwrap();
                assert!(is_same, "{n} of {places} places");
            }
        }
    }
}
