//! TerminateInstances for many at a time: while one call is under way, all that are wanted meanwhile gather.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Mutex;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::api::{Api, Query};
use super::buckets::Kind;
use super::error::CallError;
use crate::provider::{ErrorKind, ProviderError};

/// EC2 takes more; but one that it does not take spoils the call for all the others.
const BATCH: usize = 100;

type Outcome = Result<(), ProviderError>;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Terminator {
    wanted: RefCell<VecDeque<(String, oneshot::Sender<Outcome>)>>,
    turn: Mutex<()>,
}

impl Terminator {
    /// Ends one, by a call of `ask` for some; gone is fine. Whoever has the turn asks for all; the others find their
    /// answer when it is theirs.
    pub async fn end(&self, ask: impl AsyncFn(&[&str]) -> Result<(), CallError>, instance: String) -> Outcome {
        let (sender, mut answer) = oneshot::channel();
        self.wanted.borrow_mut().push_back((instance, sender));
        let _turn = self.turn.lock().await;
        loop {
            match answer.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Empty) => self.end_some(&ask).await,
                Err(TryRecvError::Closed) => {
                    let message = "TerminateInstances: the call was cut short".to_owned();
                    return Err(ProviderError { kind: ErrorKind::Unknown, message });
                }
            }
        }
    }

    async fn end_some(&self, ask: &impl AsyncFn(&[&str]) -> Result<(), CallError>) {
        let batch: Vec<_> = {
            let mut wanted = self.wanted.borrow_mut();
            let count = wanted.len().min(BATCH);
            wanted.drain(..count).collect()
        };
        let ids: Vec<&str> = batch.iter().map(|(id, _)| id.as_str()).collect();
        let outcome = ask(&ids).await;
        let spoilt = batch.len() > 1 && outcome.as_ref().is_err_and(is_about_one);
        for (id, sender) in batch {
            // One of them is not as EC2 wants it: each is asked for by itself.
            let outcome = if spoilt { ask(&[&id]).await } else { outcome.clone() };
            // Whoever asked may wait no more.
            let _ = sender.send(settled(outcome));
        }
    }
}

/// The call itself.
pub(super) async fn terminate(api: &Api, ids: &[&str]) -> Result<(), CallError> {
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let query = Query::new("TerminateInstances").with_list("InstanceId", ids.iter().copied());
    api.ask::<serde::de::IgnoredAny>(&query.counted_as(Kind::Terminate(count))).await.map(drop)
}

/// Whether a call was refused for what one of its instances is; not for who asks, or how often.
fn is_about_one(error: &CallError) -> bool {
    error.refusal().is_some_and(|refusal| !refusal.is_throttling() && !refusal.is_about_the_signature())
}

fn settled(outcome: Result<(), CallError>) -> Outcome {
    match outcome {
        Err(error) if error.refusal().is_some_and(|it| it.code == "InvalidInstanceID.NotFound") => Ok(()),
        outcome => outcome.map_err(ProviderError::from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{Cause, Refusal};
    use super::*;

    fn not_found() -> CallError {
        let cause = Cause::Answered(Refusal::new("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist"));
        CallError { call: "TerminateInstances", url: String::new(), doubt: false, cause }
    }

    /// 250 at once; the calls that were made, and how many of the ends are errors.
    async fn ends(ask: impl AsyncFn(&[&str]) -> Result<(), CallError>) -> (Vec<usize>, usize) {
        let terminator = Terminator::default();
        let calls = RefCell::new(Vec::new());
        let counted = async |ids: &[&str]| {
            calls.borrow_mut().push(ids.len());
            tokio::task::yield_now().await;
            ask(ids).await
        };
        let all = (0..250).map(|number| terminator.end(&counted, format!("i-{number}")));
        let failed = join_all(all).await.into_iter().filter(Result::is_err).count();
        (calls.into_inner(), failed)
    }

    /// All of them at the same time, by one task.
    async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
        std::future::poll_fn(|context| {
            for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
                if let std::task::Poll::Ready(done) = future.as_mut().poll(context) {
                    *output = Some(done);
                }
            }
            if waiting.iter().all(|(_, output)| output.is_some()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        waiting.into_iter().filter_map(|(_, output)| output).collect()
    }

    #[tokio::test]
    async fn many_ends_are_few_calls() {
        let (calls, failed) = ends(async |_: &[&str]| Ok(())).await;
        assert_eq!((calls.iter().sum::<usize>(), failed), (250, 0));
        assert!(calls.len() <= 4, "{calls:?}");
    }

    #[tokio::test]
    async fn one_that_is_not_there_spoils_it_for_nobody() {
        let ask = async |ids: &[&str]| if ids.contains(&"i-7") { Err(not_found()) } else { Ok(()) };
        let (calls, failed) = ends(ask).await;
        assert_eq!(failed, 0);
        assert!(calls.len() > 90, "those beside it are asked for one by one: {calls:?}");
    }
}
