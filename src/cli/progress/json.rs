//! One JSON object a line on standard output: `shipped`, `accepted`, `progress`, `note`,
//! `finished`.

use serde_json::{Value, json};
use windrow_proto::v1;

use super::{Reporter, waiting};
use crate::cli::{stdout, summary};
use crate::client::Accepted;

pub(crate) struct Json;

impl Reporter for Json {
    fn shipped(&mut self, bytes: u64) {
        stdout::line(format_args!("{}", json!({ "event": "shipped", "bytes": bytes })));
    }

    fn accepted(&mut self, job: &Accepted, _detached: bool) {
        let identity = job.identity.to_string();
        let event = json!({ "event": "accepted", "id": job.number, "identity": identity });
        stdout::line(format_args!("{event}"));
    }

    fn update(&mut self, status: &v1::JobStatus) {
        print("progress", status);
    }

    fn note(&mut self, text: &str) {
        stdout::line(format_args!("{}", json!({ "event": "note", "message": text })));
    }

    fn finished(&mut self, status: &v1::JobStatus) {
        print("finished", status);
    }
}

fn print(event: &str, status: &v1::JobStatus) {
    let mut object = summary::to_json(status);
    if let Value::Object(fields) = &mut object {
        fields.insert("event".to_string(), Value::from(event));
        let waiting = waiting(status);
        fields.insert("waiting".to_string(), (!waiting.is_empty()).then_some(waiting).into());
    }
    stdout::line(format_args!("{object}"));
}
