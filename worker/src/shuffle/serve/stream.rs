//! One stream: credit in, messages out, and a turn in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::{FetchError, FetchRequest, FetchWaiting};

use super::ShuffleService;
use super::admission::{Need, Turn};
use super::blocks::{Blocks, Made};
use crate::model::Progress;
use crate::shuffle::transport::call::Credits;

/// How often a waiting caller is told so, if it does not say how long it waits in silence.
const WAITING_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(5);

/// It is told so this many times within its timeout.
const WAITING_PARTS: u32 = 3;

/// Bytes that are sent in one turn while others wait.
const TURN_BYTES: u64 = 4 << 20;

/// A stream that is being sent.
pub(super) struct Stream {
    service: ShuffleService,
    request: FetchRequest,
    credits: Credits,
    sender: mpsc::Sender<Message>,
    /// The caller's remaining credit, as far as it has said.
    credit_bytes: i64,
    /// `None` while a thread has it.
    blocks: Option<Blocks>,
    /// Granted, and not used yet.
    turn: Option<Turn>,
    turn_bytes: u64,
    waiting_interval: Duration,
}

/// The caller is gone, or has received the last message.
struct Over;

impl Stream {
    pub(super) fn new(
        service: ShuffleService,
        request: FetchRequest,
        credits: Credits,
        sender: mpsc::Sender<Message>,
        cancel: CancellationToken,
    ) -> Self {
        let silence = Duration::from_millis(request.silence_ms.into());
        let (shortest, longest) = WAITING_INTERVAL.into_inner();
        let waiting_interval = match silence.is_zero() {
            true => longest,
            false => (silence / WAITING_PARTS).clamp(shortest, longest),
        };
        Self {
            blocks: Some(Blocks::new(service.clone(), request.clone(), cancel)),
            credit_bytes: i64::try_from(request.credit_bytes).unwrap_or(i64::MAX),
            service,
            request,
            credits,
            sender,
            turn: None,
            turn_bytes: 0,
            waiting_interval,
        }
    }

    /// Sends until the end, an error, or the caller's leaving.
    pub(super) async fn run(mut self) {
        let closed = self.sender.clone();
        tokio::select! {
            Over = self.send_all() => {}
            () = closed.closed() => {}
        }
    }

    async fn send_all(&mut self) -> Over {
        loop {
            if let Err(over) = self.send_one().await {
                return over;
            }
        }
    }

    /// Sends the next block or the last message, or gets a turn.
    async fn send_one(&mut self) -> Result<(), Over> {
        self.be_credited().await?;
        // No block is sent without a lease.
        let identity = Arc::clone(&self.service.identity);
        self.while_idle(identity.leased()).await?;
        if let Err(refusal) = self.service.check(&self.request) {
            let message = refusal.message().to_string();
            return self.end(Message::Error(FetchError { message, ..Default::default() })).await;
        }
        // Blocks that slow callers do not take are not made.
        let sender = self.sender.clone();
        let permit = self.while_idle(sender.reserve()).await?.map_err(|_| Over)?;
        let made = loop {
            match self.make().await? {
                Made::NeedsTurn(need) => {
                    self.turn = Some(self.wait_for_turn(need).await);
                    self.turn_bytes = 0;
                }
                Made::Message(message) => break message,
            }
        };
        match made {
            Message::Block(block) => {
                self.credit_bytes = self.credit_bytes.saturating_sub(block.len() as i64);
                self.turn_bytes += block.len() as u64;
                permit.send(Message::Block(block));
                if self.turn_bytes >= TURN_BYTES {
                    self.end_turn_if_wanted().await?;
                }
            }
            last => {
                // Files are closed before the caller learns of the end.
                self.blocks = None;
                permit.send(last);
                return Err(Over);
            }
        }
        Ok(())
    }

    async fn end(&mut self, last: Message) -> Result<(), Over> {
        let _ = self.sender.send(last).await;
        Err(Over)
    }

    /// Waits until the caller has given credit.
    async fn be_credited(&mut self) -> Result<(), Over> {
        while self.credit_bytes <= 0 {
            let mut credits = std::mem::replace(&mut self.credits, Credits::none());
            let more = self.while_idle(credits.next()).await?;
            self.credits = credits;
            let Some(bytes) = more else {
                let message = "the caller gave no more credit, and did not receive the end".into();
                return self
                    .end(Message::Error(FetchError { message, ..Default::default() }))
                    .await;
            };
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.credit_bytes = self.credit_bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Waits for an event that depends on others: the turn goes to whoever wants it meanwhile.
    async fn while_idle<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Over> {
        tokio::pin!(wait);
        // Mostly it is there already.
        let at_once = std::future::poll_fn(|context| {
            std::task::Poll::Ready(match wait.as_mut().poll(context) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        });
        if let Some(value) = at_once.await {
            return Ok(value);
        }
        if let Some(turn) = self.blocks.as_mut().and_then(Blocks::turn) {
            let asked = turn.rest();
            tokio::select! {
                biased;
                value = &mut wait => {
                    turn.resume();
                    return Ok(value);
                }
                () = asked.notified() => {}
            }
            self.park().await?;
        }
        Ok(wait.await)
    }

    async fn end_turn_if_wanted(&mut self) -> Result<(), Over> {
        self.turn_bytes = 0;
        let turn = self.blocks.as_mut().and_then(Blocks::turn);
        if turn.is_some_and(|turn| turn.is_wanted()) { self.park().await } else { Ok(()) }
    }

    /// Gives the turn up. Blocks that had been begun are sent at once, whatever the credit: as long
    /// as they are here, they count.
    async fn park(&mut self) -> Result<(), Over> {
        let begun = match self.on_thread(|blocks| blocks.park()).await? {
            Ok(begun) => begun,
            Err(error) => return self.end(Message::Error(error)).await,
        };
        for block in begun {
            self.credit_bytes = self.credit_bytes.saturating_sub(block.len() as i64);
            self.sender.send(Message::Block(block)).await.map_err(|_| Over)?;
        }
        Ok(())
    }

    async fn make(&mut self) -> Result<Made, Over> {
        let turn = self.turn.take();
        self.on_thread(|blocks| blocks.make(turn)).await
    }

    /// Runs what may block. The caller is told from time to time that work is being done for it, or
    /// for others.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Blocks) -> T + Send + 'static,
    ) -> Result<T, Over> {
        let Some(mut blocks) = self.blocks.take() else { return Err(Over) };
        let started = self.service.threads.start(move || {
            let done = work(&mut blocks);
            (blocks, done)
        });
        let mut done = match started {
            Ok(done) => done,
            Err(error) => {
                let message = format!("cannot start a thread: {error}");
                let error = FetchError { message, is_shortage: true, ..Default::default() };
                let _ = self.sender.send(Message::Error(error)).await;
                return Err(Over);
            }
        };
        // A panic leaves the stream without its end, which the caller notices.
        let (blocks, done) = self.telling().until(&mut done).await.map_err(|_| Over)?;
        self.blocks = Some(blocks);
        Ok(done)
    }

    async fn wait_for_turn(&mut self, need: Need) -> Turn {
        let admission = self.service.admission.clone();
        self.telling().until(admission.turn(need)).await
    }

    fn telling(&self) -> Telling {
        let (work, sender) = (Arc::clone(&self.service.work), self.sender.clone());
        Telling { work, sender, interval: self.waiting_interval }
    }
}

/// Tells the caller that it waits.
struct Telling {
    work: Arc<Progress>,
    sender: mpsc::Sender<Message>,
    interval: Duration,
}

impl Telling {
    /// Waits, and says so as long as this process makes progress: if it does not, the caller is
    /// right to time out.
    async fn until<T>(self, wait: impl Future<Output = T>) -> T {
        tokio::pin!(wait);
        let mut steps = self.work.steps();
        loop {
            let next = Instant::now() + self.interval;
            tokio::select! {
                biased;
                value = &mut wait => return value,
                () = sleep_until(next) => {}
            }
            let now = self.work.steps();
            if now != std::mem::replace(&mut steps, now) {
                // Where there is no room for it, other messages are on their way.
                let _ = self.sender.try_send(Message::Waiting(FetchWaiting {}));
            }
        }
    }
}
