//! Shared by keys and values that are copied rather than borrowed.

/// The views of a type that is its own `Ref`, `Decoded` and `Owned`.
macro_rules! copied_views {
    () => {
        #[inline]
        fn view<'a>(decoded: &'a Self::Decoded<'_>) -> Self::Ref<'a> {
            *decoded
        }

        #[inline]
        fn view_owned(owned: &Self::Owned) -> Self::Ref<'_> {
            *owned
        }

        #[inline]
        fn own(value: Self::Ref<'_>) -> Self::Owned {
            value
        }
    };
}

pub(crate) use copied_views;
