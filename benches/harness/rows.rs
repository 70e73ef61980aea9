//! The rows, one for each job. Only this table names jobs and flags.

use super::data::Data;

/// A job on one kind of data, by all rivals.
pub struct Row {
    pub name: &'static str,
    pub data: Data,
    /// The limit program's job and its argument. `{LIMIT_MIB}` stands for a budget.
    pub limit: &'static [&'static str],
    /// The plain program's job, if there is one.
    pub plain: Option<&'static str>,
    /// Windrow's job and flags, without input and output. `{MIB}` stands for a budget.
    pub windrow: &'static [&'static str],
    /// Whether it runs on a local cluster, too.
    pub on_cluster: bool,
    /// Whether the job is this program's [own](super::own_job), not one of Windrow's.
    pub is_own_job: bool,
    /// The first bytes of lines that are ordered over all parts; 0 for no order.
    pub ordered_bytes: usize,
}

const WORD_COUNT: Row = Row {
    name: "word-count",
    data: Data::Zipf,
    limit: &["word-count"],
    plain: Some("plain-word-count"),
    windrow: &["word-count"],
    on_cluster: true,
    is_own_job: false,
    ordered_bytes: 0,
};

const SORT: Row = Row {
    name: "sort",
    data: Data::Records,
    limit: &["sort"],
    plain: None,
    windrow: &["sort", "--record-bytes", "100", "--key-bytes", "0..10"],
    on_cluster: true,
    is_own_job: false,
    ordered_bytes: 10,
};

pub static ROWS: [Row; 9] = [
    WORD_COUNT,
    Row { name: "word-count-text", data: Data::Text, ..WORD_COUNT },
    SORT,
    Row {
        name: "sort-bounded",
        limit: &["sort-bounded", "{LIMIT_MIB}"],
        windrow: &["sort", "--record-bytes", "100", "--key-bytes", "0..10", "--memory", "{MIB}MiB"],
        on_cluster: false,
        ..SORT
    },
    Row {
        name: "grep",
        // A rare word of the generated text.
        limit: &["grep", RARE_WORD],
        plain: None,
        windrow: &["grep", RARE_WORD],
        on_cluster: false,
        ..WORD_COUNT
    },
    Row {
        name: "sum",
        data: Data::Csv,
        limit: &["sum"],
        plain: None,
        windrow: &["sum", "--by", "4", "--column", "6", "--header", "false"],
        on_cluster: false,
        is_own_job: false,
        ordered_bytes: 0,
    },
    Row {
        name: "index",
        data: Data::ManyWords,
        limit: &["index"],
        plain: Some("plain-index"),
        windrow: &["inverted-index"],
        on_cluster: false,
        ..WORD_COUNT
    },
    Row {
        name: "traffic",
        data: Data::Csv,
        limit: &[],
        plain: Some("plain-traffic"),
        windrow: &["traffic"],
        on_cluster: false,
        is_own_job: true,
        ..WORD_COUNT
    },
    Row { name: "small", data: Data::Small, on_cluster: false, ..WORD_COUNT },
];

const RARE_WORD: &str = "nwidamjvc";
