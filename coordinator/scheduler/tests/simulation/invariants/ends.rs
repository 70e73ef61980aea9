//! Every submission becomes a job, and every job ends, within bounded time after the faults have stopped. (That it ends once
//! only, `after_end` and `promises` see.)

use super::check;
use crate::books::Books;
use crate::client::Client;

pub fn check_end(books: &Books, clients: &[Client]) -> Result<(), String> {
    for (index, client) in clients.iter().enumerate() {
        check(client.job.is_some(), || format!("ends: submission {index} is not accepted"))?;
    }
    for (id, job) in &books.ledger.jobs {
        check(job.ended.is_some(), || format!("ends: {id} has not ended"))?;
    }
    check(books.unsettled.is_empty(), || format!("ends: {:?} not swept", books.unsettled))
}
