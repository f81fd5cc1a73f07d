//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Zoned;

use super::fields::Value;
use super::journal::Journal;
use super::queue::{Batch, Item, Queue};
use super::render::{Level, Renderer};

/// The name of the thread that writes.
pub(super) const THREAD: &str = "session-log";

/// How much is collected for one write.
const CHUNK: usize = 64 * 1024;

/// Where the log goes.
pub(super) enum Target {
    /// Standard error, or what a test reads.
    Stream(Box<dyn Write + Send>),
    /// A file.
    File {
        /// Open for appending.
        file: File,
        /// Its name, for messages.
        path: PathBuf,
    },
    /// systemd's journal.
    Journal(Journal),
}

/// Starts the thread; it ends when the queue is closed and empty.
pub(super) fn spawn(queue: Arc<Queue>, renderer: Arc<Renderer>, target: Target) -> io::Result<()> {
    let mut writer = Writer { renderer, target, lost: 0, torn: false, failing: false, chunk: Vec::new() };
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
        while let Some(batch) = queue.take() {
            writer.write(batch);
        }
    })?;
    Ok(())
}

struct Writer {
    renderer: Arc<Renderer>,
    target: Target,
    /// Lines that were lost and not yet reported.
    lost: u64,
    /// The last write broke off within a line.
    torn: bool,
    /// The last write failed.
    failing: bool,
    chunk: Vec<u8>,
}

impl Writer {
    fn write(&mut self, batch: Batch) {
        self.report_lost();
        for item in batch.items {
            match item {
                Item::Entry(entry) => self.entry(&entry),
                Item::File(replacement) => {
                    self.flush_chunk();
                    if let Target::File { file, .. } = &mut self.target {
                        // Who asks for a renewed certificate has it opened anew, too, and has not moved it away.
                        self.torn &= is_same(file, &replacement);
                        *file = replacement;
                    }
                }
            }
        }
        self.flush_chunk();
        // They found no room behind what has just been written.
        self.lost = self.lost.saturating_add(batch.lost);
        self.report_lost();
    }

    fn entry(&mut self, entry: &[u8]) {
        if let Target::Journal(journal) = &self.target {
            let result = journal.send(entry);
            self.settle(u64::from(result.is_err()), result.err());
            return;
        }
        self.chunk.extend_from_slice(entry);
        if self.chunk.len() >= CHUNK {
            self.flush_chunk();
        }
    }

    fn flush_chunk(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        let mends = self.torn;
        if mends {
            chunk.insert(0, b'\n');
        }
        let (written, error) = match &mut self.target {
            Target::Stream(stream) => write_all(stream, &chunk),
            Target::File { file, .. } => write_all(file, &chunk),
            Target::Journal(_) => (chunk.len(), None),
        };
        let (done, rest) = chunk.split_at_checked(written).unwrap_or((&chunk, &[]));
        if let Some(last) = done.last() {
            self.torn = *last != b'\n';
        }
        // The newline that ends a torn line is no line of its own.
        let lost = memchr::memchr_iter(b'\n', rest).count().saturating_sub(usize::from(mends && done.is_empty()));
        self.settle(u64::try_from(lost).unwrap_or(u64::MAX), error);
        chunk.clear();
        self.chunk = chunk;
    }

    /// Says that lines are missing, once writing works again.
    fn report_lost(&mut self) {
        if self.lost == 0 {
            return;
        }
        let lost = std::mem::take(&mut self.lost);
        let fields = [("lines", Value::Number(lost))];
        let notice =
            self.renderer.message(Level::Warning, "log lines were lost before this one", &fields, &Zoned::now());
        self.entry(&notice);
        self.flush_chunk();
        if self.failing {
            // The notice itself is not one of the lines that are missing.
            self.lost = lost;
        }
    }

    fn settle(&mut self, lost: u64, error: Option<io::Error>) {
        self.lost = self.lost.saturating_add(lost);
        let Some(error) = error else {
            self.failing = false;
            return;
        };
        // Once for each run of failures, to where it can still be read.
        if !std::mem::replace(&mut self.failing, true) {
            let target = match &self.target {
                Target::Stream(_) => return,
                Target::File { path, .. } => path.display().to_string(),
                Target::Journal(_) => "the journal".to_owned(),
            };
            anstream::eprintln!("sealgate: cannot write the log to {target}: {error}; sessions go on, lines are lost");
        }
    }
}

/// Whether two handles are of one file.
fn is_same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    number(one).is_some_and(|first| number(other) == Some(first))
}

/// How much was written, and what stopped it.
fn write_all(output: &mut dyn Write, mut bytes: &[u8]) -> (usize, Option<io::Error>) {
    let whole = bytes.len();
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return (whole - bytes.len(), Some(io::ErrorKind::WriteZero.into())),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (whole - bytes.len(), Some(error)),
        }
    }
    (whole, output.flush().err())
}
