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
    /// Ends one; gone is fine. Whoever has the turn asks for all; the others find their answer when it is theirs.
    pub async fn end(&self, api: &Api, instance: String) -> Outcome {
        let (sender, mut answer) = oneshot::channel();
        self.wanted.borrow_mut().push_back((instance, sender));
        let _turn = self.turn.lock().await;
        loop {
            match answer.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Empty) => self.end_some(api).await,
                Err(TryRecvError::Closed) => {
                    let message = "TerminateInstances: the call was cut short".to_owned();
                    return Err(ProviderError { kind: ErrorKind::Unknown, message });
                }
            }
        }
    }

    async fn end_some(&self, api: &Api) {
        let batch: Vec<_> = {
            let mut wanted = self.wanted.borrow_mut();
            let count = wanted.len().min(BATCH);
            wanted.drain(..count).collect()
        };
        let ids: Vec<&str> = batch.iter().map(|(id, _)| id.as_str()).collect();
        let outcome = ask(api, &ids).await;
        let spoilt = batch.len() > 1 && outcome.as_ref().is_err_and(|error| error.refusal().is_some());
        for (id, sender) in batch {
            // One of them is not as EC2 wants it: each is asked for by itself.
            let outcome = if spoilt { ask(api, &[&id]).await } else { outcome.clone() };
            // Whoever asked may wait no more.
            let _ = sender.send(settled(outcome));
        }
    }
}

async fn ask(api: &Api, ids: &[&str]) -> Result<(), CallError> {
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let query = Query::new("TerminateInstances").with_list("InstanceId", ids.iter().copied());
    api.ask::<serde::de::IgnoredAny>(&query.counted_as(Kind::Terminate(count))).await.map(drop)
}

fn settled(outcome: Result<(), CallError>) -> Outcome {
    match outcome {
        Err(error) if error.refusal().is_some_and(|it| it.code == "InvalidInstanceID.NotFound") => Ok(()),
        outcome => outcome.map_err(ProviderError::from),
    }
}
