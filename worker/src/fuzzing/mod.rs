//! The fuzz targets of this crate: see `windrow_jobs::fuzzing`. Not for users.
//!
//! Where a checksum guards the bytes after it, inputs are tried as they are, and once more with a
//! matching checksum.

mod messages;
mod shuffle;

use windrow_jobs::fuzzing::{HeapBound, Target};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    Target {
        name: "blocks",
        seeds: shuffle::block_seeds,
        check: shuffle::blocks,
        // Few bytes may encode a whole block of pairs.
        heap: HeapBound { fixed: 24 << 20, times: 64 },
    },
    Target {
        name: "segments",
        seeds: shuffle::segment_seeds,
        check: shuffle::segments,
        heap: HeapBound { fixed: 24 << 20, times: 64 },
    },
    Target {
        name: "index-pages",
        seeds: shuffle::index_page_seeds,
        check: shuffle::index_pages,
        heap: HeapBound::SMALL,
    },
    Target {
        name: "index-directories",
        seeds: shuffle::index_directory_seeds,
        check: shuffle::index_directories,
        heap: HeapBound::SMALL,
    },
    Target {
        name: "fetch-answers",
        seeds: shuffle::fetch_answer_seeds,
        check: shuffle::fetch_answers,
        heap: HeapBound::MESSAGES,
    },
    Target {
        name: "fetch-requests",
        seeds: shuffle::fetch_request_seeds,
        check: shuffle::fetch_requests,
        heap: HeapBound::MESSAGES,
    },
    Target {
        name: "preambles",
        seeds: messages::preamble_seeds,
        check: messages::preambles,
        heap: HeapBound::SMALL,
    },
    Target {
        name: "orders",
        seeds: messages::order_seeds,
        check: messages::orders,
        heap: HeapBound::MESSAGES,
    },
    Target {
        name: "fragments",
        seeds: messages::fragment_seeds,
        check: messages::fragments,
        // Few bytes may encode the longest message, which is unpacked, and packed again.
        heap: HeapBound { fixed: 512 << 20, times: 1 << 10 },
    },
    Target {
        name: "worker-to-child",
        seeds: messages::to_child_seeds,
        check: messages::to_child,
        heap: HeapBound::MESSAGES,
    },
    Target {
        name: "child-to-worker",
        seeds: messages::from_child_seeds,
        check: messages::from_child,
        heap: HeapBound::MESSAGES,
    },
    Target {
        name: "breadcrumbs",
        seeds: messages::breadcrumb_seeds,
        check: messages::breadcrumbs,
        heap: HeapBound::SMALL,
    },
];

/// Runs a future on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// `work` must succeed, whatever the input is.
fn certain<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("this must not fail: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_accepted() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            seeds.iter().for_each(|seed| (target.check)(seed));
        }
    }
}
