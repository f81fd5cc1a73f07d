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
use super::fields::Value;
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
        let wanted = std::env::var(FILTER).ok();
        let filter = wanted.as_deref().map(EnvFilter::try_new);
        let misread = filter.as_ref().and_then(|filter| filter.as_ref().err().map(ToString::to_string));
        let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
        Registry::default().with(filter).with(self.operations()).try_init()?;
        if let Some(error) = misread {
            tracing::warn!(
                "{FILTER} is not understood and left out: {error}; write {FILTER}=sealgate=debug, for instance"
            );
        }
        Ok(())
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
    fields: Vec<(&'static str, Value<'static>)>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.text(field, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Number(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            _ = write!(self.message, "{value:?}");
        } else {
            self.text(field, &format!("{value:?}"));
        }
    }
}

impl Words {
    fn text(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), Value::Text(value.to_owned().into())));
    }
}
