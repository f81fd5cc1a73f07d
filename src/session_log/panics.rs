//! What a panic leaves in the log: one line that says where, and nothing that a client sent.

use std::panic::PanicHookInfo;

use super::fields::Value;
use super::render::Level;
use super::{SessionLog, writer};

const MESSAGE: &str = "internal error, please report";

impl SessionLog {
    /// From now on this log, and not standard error, has a line for every panic of the process.
    ///
    /// A session that panics ends alone: its task unwinds, both connections are closed with it (what was being sent is not
    /// finished, so no line of ours could follow it), its places are free again, and its record says that it was cut short.
    pub fn report_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |info| log.report_panic(info)));
    }

    fn report_panic(&self, info: &PanicHookInfo<'_>) {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("?").to_owned();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if thread == writer::THREAD {
            // Nobody is left to write what would be queued.
            anstream::eprintln!("sealgate: {MESSAGE}: panic at {place}; nothing more is written to the log");
            return;
        }
        let mut fields = Vec::new();
        // A text of the program's own. One that was put together when it panicked may hold what a client sent.
        if let Some(text) = info.payload().downcast_ref::<&'static str>() {
            fields.push(("panic", Value::Text((*text).into())));
        }
        fields.extend([("at", place), ("thread", thread)].map(|(key, text)| (key, Value::Text(text.into()))));
        // Not through tracing, which may be what has panicked, and which an administrator may have turned down.
        self.say(Level::Error, MESSAGE, &fields);
    }
}
