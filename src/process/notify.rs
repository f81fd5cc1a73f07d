//! What is said to the service manager (sd_notify(3)), and to whoever starts the gate by hand.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};

use sd_notify::NotifyState;

use crate::config::LogTarget;

/// All has started.
pub(super) fn ready(log: &LogTarget) {
    if let Some(notice) = notice(log).filter(|_| io::stderr().is_terminal()) {
        anstream::eprintln!("{notice}");
    }
    tell(&[NotifyState::Ready]);
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A message to the service manager; without one there is nobody to tell.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// What somebody who starts it by hand, with a log elsewhere, would otherwise not see: that it runs.
fn notice(log: &LogTarget) -> Option<String> {
    let place = match log {
        LogTarget::Stderr => return None,
        LogTarget::Journal => Cow::from("the journal"),
        LogTarget::File(path) => path.to_string_lossy(),
    };
    Some(format!("Sealgate runs; which listeners are open is in its log, {place}. Ctrl-C stops it."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_elsewhere_is_named() {
        assert_eq!(notice(&LogTarget::Stderr), None);
        assert!(notice(&LogTarget::Journal).unwrap().contains("the journal"));
        assert!(notice(&LogTarget::File("/var/log/sealgate.log".into())).unwrap().contains(" /var/log/sealgate.log"));
    }
}
