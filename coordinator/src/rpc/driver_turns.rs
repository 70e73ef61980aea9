//! Limits on concurrent requests to the driver, which has one thread for all. A submitter who asks
//! much waits behind their own requests; other submitters, and above all workers, do not.
//!
//! Requests that wait for the journal have a limit of their own: while the journal hangs, questions
//! are still answered, and say so.

use tonic::{Request, Status};
use windrow_security::Identity;
use windrow_security::access::Caller;

use super::fair_limit::FairLimit;
use crate::driver::Stopped;

/// Concurrent questions, of all submitters and of one.
const QUESTIONS_MAX: usize = 16;
const QUESTIONS_OF_ONE_MAX: usize = 2;
/// Concurrent commands. They share a queue with the workers' reports.
const COMMANDS_MAX: usize = 256;
const COMMANDS_OF_ONE_MAX: usize = 64;

/// Both limits. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct DriverTurns {
    questions: FairLimit,
    commands: FairLimit,
}

impl Default for DriverTurns {
    fn default() -> Self {
        Self {
            questions: FairLimit::new(QUESTIONS_MAX, QUESTIONS_OF_ONE_MAX),
            commands: FairLimit::new(COMMANDS_MAX, COMMANDS_OF_ONE_MAX),
        }
    }
}

impl DriverTurns {
    /// Asks a question under the limit of its submitter, if the submitter is known.
    pub(super) async fn ask<T>(
        &self,
        submitter: Option<&str>,
        question: impl Future<Output = Result<T, Stopped>>,
    ) -> Result<T, Status> {
        let _turn = self.questions.take(submitter).await?;
        Ok(question.await?)
    }

    /// Likewise for a command, which is answered once it is durable. It keeps its permit until
    /// then, also when the caller disconnects: it stays in the queue all the same.
    pub(super) async fn command<T: Send + 'static>(
        &self,
        submitter: Option<&str>,
        command: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let turn = self.commands.take(submitter).await?;
        let commanding = tokio::spawn(async move {
            let answer = command.await;
            drop(turn);
            answer
        });
        commanding.await.map_err(|error| Status::internal(error.to_string()))
    }
}

/// The identity in the caller's certificate.
pub(super) fn identity_of<T>(request: &Request<T>) -> Option<Identity> {
    request.extensions().get::<Caller>().and_then(Caller::identity).cloned()
}

/// The caller's name, by which requests are counted.
pub(super) fn name_of<T>(request: &Request<T>) -> Option<String> {
    identity_of(request).map(|identity| identity.name().to_string())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn hanging_commands_delay_only_commands_of_the_same_submitter() {
        let turns = DriverTurns::default();
        for _ in 0..COMMANDS_OF_ONE_MAX {
            // The caller disconnects at once.
            assert!(timeout(SOON, turns.command(Some("a"), pending::<()>())).await.is_err());
        }
        let asked = async { Ok(7) };
        assert_eq!(turns.ask(Some("a"), asked).await.unwrap(), 7);
        assert_eq!(turns.command(Some("b"), async { 8 }).await.unwrap(), 8);
        let one_more = timeout(SOON, turns.command(Some("a"), async { 9 })).await;
        assert!(one_more.is_err(), "one submitter has only so many permits");
    }
}
