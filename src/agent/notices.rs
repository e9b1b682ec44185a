//! What EC2 tells a spot instance of its end, asked for again and again.

use std::time::{Duration, SystemTime};

use loitsut_profile::wire::NoticeKind;
use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use crate::metadata::Service;

/// As EC2 recommends.
const POLL: Duration = Duration::from_secs(5);

/// What EC2 gives, where its answer does not tell; and no notice is believed to give more than a few times that.
const USUAL: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(600);

const ACTION: &str = "/latest/meta-data/spot/instance-action";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";

/// A notice.
pub struct Notice {
    /// Which.
    pub kind: NoticeKind,
    /// How long the instance has left, if that was told.
    pub left: Option<Duration>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    time: String,
}

/// Sends each notice once, until the instance is to be taken back or nobody listens.
pub async fn watch(service: Service, notices: UnboundedSender<Notice>) {
    let mut rebalance = false;
    while !notices.is_closed() {
        sleep(POLL).await;
        match service.look(ACTION).await {
            Ok(Some(notice)) => {
                let left = left(&notice.body, notice.date.unwrap_or_else(SystemTime::now));
                let _ = notices.send(Notice { kind: NoticeKind::Interruption, left: Some(left) });
                return;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("notices of the cloud cannot be asked for: {error}"),
        }
        if !rebalance && matches!(service.look(REBALANCE).await, Ok(Some(_))) {
            rebalance = true;
            let _ = notices.send(Notice { kind: NoticeKind::Rebalance, left: None });
        }
    }
}

/// How long the instance has left, by the clock of whoever says so: our own may be off.
fn left(text: &[u8], now: SystemTime) -> Duration {
    let action = serde_json::from_slice::<Action>(text).ok();
    match action.and_then(|action| humantime::parse_rfc3339(&action.time).ok()) {
        Some(end) => end.duration_since(now).unwrap_or_default().min(LONGEST),
        None => {
            tracing::warn!("the notice of interruption has no time in it: {}", text.escape_ascii());
            USUAL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_by_the_clock_of_the_service() {
        let at = |text| humantime::parse_rfc3339(text).unwrap();
        let notice = br#"{"action": "terminate", "time": "2031-05-01T12:02:00Z"}"#;
        assert_eq!(left(notice, at("2031-05-01T12:00:10Z")), Duration::from_secs(110));
        assert_eq!(left(notice, at("2031-05-01T12:03:00Z")), Duration::ZERO);
        assert_eq!(left(notice, at("2019-01-01T00:00:00Z")), LONGEST);
        assert_eq!(left(b"{}", at("2031-05-01T12:00:00Z")), USUAL);
    }
}
