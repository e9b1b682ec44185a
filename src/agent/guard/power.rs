//! Power off, and the means that is left when nobody is there to do it.

use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::host::process::Program;

/// The shipped unit that powers off, ever more forcefully. Its own unit, since the agent is stopped on the way down.
const POWER_OFF: &str = "loitsut-poweroff.service";
const TIMER: &str = "loitsut-poweroff.timer";
const TIMER_FILE: &str = "/run/systemd/transient/loitsut-poweroff.timer";

/// How much later than the guard systemd comes.
const LATER: Duration = Duration::from_secs(120);

/// How long systemd may take to hear of it. Twice that must be less than the guard may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Powers the machine off.
pub async fn off(host: &Host) {
    tracing::warn!("powering off");
    let start = Program::new(["systemctl", "start", "--no-block", POWER_OFF]).timeout(PATIENCE).at_last();
    if let Err(error) = host.run_checked(&start).await {
        tracing::error!("{error}");
        let force = Program::new(["systemctl", "poweroff", "--force"]).timeout(PATIENCE).at_last();
        if let Err(error) = host.run_checked(&force).await {
            tracing::error!("the machine cannot be powered off: {error}");
        }
    }
}

/// Has systemd power off by itself, some time after the lease must have ended: for an agent that crashes again and
/// again. Without an end, nothing is left of that. Whether it was done.
pub async fn arm(host: &Host, left: Option<Duration>) -> bool {
    let is_armed = matches!(host.stat(Path::new(TIMER_FILE)), Ok(Some(_)));
    let disarm = Program::new(["systemctl", "stop", TIMER]).timeout(PATIENCE).at_last();
    if is_armed && let Err(error) = host.run_checked(&disarm).await {
        tracing::warn!("the timer that would end this launch cannot be changed: {error}");
        return false;
    }
    let Some(left) = left else { return true };
    let after = format!("--on-active={}s", (left + LATER).as_secs());
    let unit = format!("--unit={POWER_OFF}");
    let arm = ["systemd-run", "--quiet", &unit, &after, "--timer-property=AccuracySec=1s"];
    let arm = Program::new(arm).timeout(PATIENCE).at_last();
    if let Err(error) = host.run_checked(&arm).await {
        tracing::warn!("if the agent fails now, nothing will end this launch but the driver: {error}");
        return false;
    }
    true
}
