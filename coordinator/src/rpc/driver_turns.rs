//! Turns to ask the driver, which has one thread for all. Whoever asks much waits for their own
//! answers, and nobody else, above all no worker, for those.
//!
//! What waits for the journal has turns apart: while that hangs, questions are answered, and say
//! so.

use tonic::{Request, Status};
use windrow_security::Identity;
use windrow_security::access::Caller;

use super::fair_limit::FairLimit;
use crate::driver::Stopped;

/// Questions at once, of all and of one submitter.
const QUESTIONS_MAX: usize = 16;
const QUESTIONS_OF_ONE_MAX: usize = 2;
/// Commands at once, which lie in one queue with what workers report.
const COMMANDS_MAX: usize = 256;
const COMMANDS_OF_ONE_MAX: usize = 64;

/// The turns. Cheap to clone; clones count together.
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
    /// Asks something when it is the turn of its submitter, if they are known.
    pub(super) async fn ask<T>(
        &self,
        submitter: Option<&str>,
        question: impl Future<Output = Result<T, Stopped>>,
    ) -> Result<T, Status> {
        let _turn = self.questions.take(submitter).await?;
        Ok(question.await?)
    }

    /// The same for what is answered when the journal has it. It keeps its turn until then, also
    /// when whoever has told it goes: it lies in the queue all the same.
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

/// Who is in the caller's certificate.
pub(super) fn identity_of<T>(request: &Request<T>) -> Option<Identity> {
    request.extensions().get::<Caller>().and_then(Caller::identity).cloned()
}

/// Their name, by which turns are counted.
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
    async fn commands_that_hang_hold_up_their_submitters_commands_and_nothing_else() {
        let turns = DriverTurns::default();
        for _ in 0..COMMANDS_OF_ONE_MAX {
            // Whoever has told them goes at once.
            assert!(timeout(SOON, turns.command(Some("a"), pending::<()>())).await.is_err());
        }
        let asked = async { Ok(7) };
        assert_eq!(turns.ask(Some("a"), asked).await.unwrap(), 7);
        assert_eq!(turns.command(Some("b"), async { 8 }).await.unwrap(), 8);
        let one_more = timeout(SOON, turns.command(Some("a"), async { 9 })).await;
        assert!(one_more.is_err(), "one submitter has so many turns");
    }
}
