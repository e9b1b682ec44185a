//! Lines on the serial console, readable by the cloud's console API when no network is.

use loitsut_profile::console::line;

use super::{Event, Failure};
use crate::host::Host;

/// The console of a machine, which need not have one.
#[derive(Default)]
pub struct Console {
    launch: String,
}

impl Console {
    /// Tells what somebody must know who sees nothing else: phases, the worker, and how it ends.
    pub fn tell(&mut self, host: &Host, event: &Event<'_>) {
        match event {
            Event::Phase(phase) => self.write(host, "phase", &[phase.as_str()]),
            Event::Profile { profile, launch } => {
                self.launch = launch.unwrap_or_default().to_owned();
                self.write(host, "profile", &[profile]);
            }
            Event::Worker(worker) => self.write(host, "worker", &[worker.state.as_str()]),
            Event::Ending(why) => self.write(host, "ending", &[why]),
            Event::Ended(state, None) => self.write(host, "state", &[state.as_str()]),
            Event::Ended(_, Some(failure)) => self.failure(host, failure),
            _ => {}
        }
    }

    fn failure(&self, host: &Host, failure: &Failure) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let code = failure.exit_code.map(|code| code.to_string()).unwrap_or_default();
        // Its own lines have the output, which the message may end with.
        let message = failure.message.split("\n    | ").next().unwrap_or_default();
        let fields = [failure.class.as_str(), &text(&failure.layer), &text(&failure.resource), &code, message];
        self.write(host, "failed", &fields);
        for output in &failure.output {
            self.write(host, "output", &[output]);
        }
    }

    fn write(&self, host: &Host, kind: &str, fields: &[&str]) {
        let line = line(&self.launch, kind, fields);
        if let Err(error) = host.write_console(&line) {
            tracing::debug!("nothing can be told on the console: {error}");
        }
    }
}
