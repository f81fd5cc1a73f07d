//! What `tracing` says about operations (a listener opened, a backend gone), in the session log's look.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use super::SessionLog;
use super::render::Level;

/// The environment variable that chooses more or less: `SEALGATE_LOG=sealgate=debug`.
const FILTER: &str = "SEALGATE_LOG";

/// Ourselves from "info", libraries from "warn".
const DEFAULT_FILTER: &str = "warn,sealgate=info";

/// A layer for `tracing` that writes to the session log.
#[derive(Debug, Clone)]
pub struct Operations {
    log: SessionLog,
}

impl SessionLog {
    /// The layer that brings events of `tracing` to this log.
    pub fn operations(&self) -> Operations {
        Operations { log: self.clone() }
    }

    /// Makes this log the process' receiver of `tracing` events: ours from "info", those of libraries from
    /// "warn", unless the environment variable `SEALGATE_LOG` says otherwise.
    ///
    /// # Errors
    /// There is one already.
    pub fn init_tracing(&self) -> Result<(), TryInitError> {
        let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
        Registry::default().with(filter).with(self.operations()).try_init()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Operations {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut words = Words::default();
            attributes.record(&mut words);
            span.extensions_mut().insert(words);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(more) = span.extensions().get::<Words>() {
                words.fields.extend(more.fields.iter().cloned());
            }
        }
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
        };
        self.log.say(level, &words.message, &words.fields);
    }
}

/// An event's or a span's words.
#[derive(Default)]
struct Words {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}
