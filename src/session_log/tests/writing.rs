//! From the queue to the disk, and what happens when it is full.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use super::super::*;
use super::{record, rendered};

/// What a pipe holds (pipe(7)).
const PIPE: usize = 64 * 1024;

#[test]
fn the_journals_socket_gets_one_datagram_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let missing = journal::Journal::connect(&path).unwrap_err().to_string();
    assert!(missing.contains("no journal at") && missing.contains("log.to"), "{missing}");
    let journald = UnixDatagram::bind(&path).unwrap();
    let look = Look { format: LogFormat::Text, program: LogProgram::Sealgate, journal: true, colour: false };
    let target = writer::Target::Journal(journal::Journal::connect(&path).unwrap());
    let log = SessionLog::start(Renderer::new(look, "h"), target, None).unwrap();
    log.note(Stage::Secured, &record("smtp"));
    let mut datagram = [0; 4096];
    assert_eq!(journald.recv(&mut datagram).unwrap(), 0);
    let n = journald.recv(&mut datagram).unwrap();
    assert!(datagram[..n].starts_with(b"MESSAGE=event=secured session=4Kd9x2 "));
}

#[test]
fn a_moved_file_is_reopened_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealgate.log");
    let settings = Log { format: LogFormat::Text, to: LogTarget::File(path.clone()), program: LogProgram::Sealgate };
    let log = SessionLog::open(&settings, "mail.example.com").unwrap();
    log.note(Stage::Secured, &record("smtp"));
    assert!(log.flush());
    let moved = directory.path().join("sealgate.log.1");
    std::fs::rename(&path, &moved).unwrap();
    log.note(Stage::Secured, &record("submission"));
    log.reopen().unwrap();
    log.note(Stage::Secured, &record("imaps"));
    drop(log);
    let (old, new) = (std::fs::read_to_string(&moved).unwrap(), std::fs::read_to_string(&path).unwrap());
    assert!(old.contains("service=smtp ") && old.contains("service=submission "), "{old}");
    assert!(new.contains("service=imaps ") && new.lines().count() == 1, "{new}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "mode 0640 at most");

    let nowhere = LogTarget::File(directory.path().join("no/such/directory"));
    let error = SessionLog::open(&Log { to: nowhere, ..settings }, "h").unwrap_err().to_string();
    assert!(error.contains("no/such/directory") && error.contains("log.to, and who owns the file"), "{error}");
}

/// A disk that does what the test says with each write, and tells of it.
struct Disk {
    verdicts: Receiver<io::Result<usize>>,
    written: Sender<Vec<u8>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.verdicts.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.written.send(bytes[..n].to_vec()).unwrap();
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn disk() -> (SessionLog, Sender<io::Result<usize>>, Receiver<Vec<u8>>) {
    let ((verdict, verdicts), (written, output)) = (mpsc::channel(), mpsc::channel());
    let disk = Box::new(Disk { verdicts, written });
    (SessionLog::to_writer(LogFormat::Text, LogProgram::Sealgate, "h", disk).unwrap(), verdict, output)
}

#[test]
fn a_full_disk_costs_lines_which_are_counted() {
    let (log, verdict, output) = disk();
    // Half a line goes out, then the disk is full.
    verdict.send(Ok(10)).unwrap();
    verdict.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    // So it is when the writer reports that.
    verdict.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    log.note(Stage::Secured, &record("smtp"));
    assert!(log.flush(), "a failing disk does not hold anybody up");
    // And for the next line, with what must stand in front of it, and the two reports beside it.
    for _ in 0..3 {
        verdict.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    }
    log.note(Stage::Secured, &record("smtp"));
    assert!(log.flush());
    drop(verdict);
    log.note(Stage::Secured, &record("imaps"));
    assert!(log.flush());
    let text = String::from_utf8(output.try_iter().collect::<Vec<_>>().concat()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0].len(), 10, "the torn line ends before the next begins");
    assert!(lines[1].ends_with("WARN log lines were lost before this one lines=2"), "{text}");
    assert!(lines[2].contains("service=imaps"), "{text}");
}

#[test]
fn a_torn_line_ends_before_the_next_begins_also_when_the_same_file_is_opened_anew() {
    // A pipe that nobody reads is a disk that gets full within a line.
    let (mut disk, file) = std::io::pipe().unwrap();
    let file = File::from(OwnedFd::from(file));
    rustix::io::ioctl_fionbio(&file, true).unwrap();
    let anew = file.try_clone().unwrap();
    let look = Look { format: LogFormat::Text, program: LogProgram::Sealgate, journal: false, colour: false };
    let target = writer::Target::File { file, path: PathBuf::from("pipe") };
    let log = SessionLog::start(Renderer::new(look, "h"), target, None).unwrap();
    log.hold();
    let line = rendered(LogFormat::Text, Stage::Ended, &record("smtp")).len();
    (0..2 * PIPE / line).for_each(|_| log.note(Stage::Ended, &record("smtp")));
    log.release();
    assert!(log.flush());
    log.replace_file(anew); // while it is still full
    assert!(log.flush());
    let mut full = vec![0; PIPE];
    disk.read_exact(&mut full).unwrap();
    assert_ne!(full.last(), Some(&b'\n'), "it broke off within a line");

    log.note(Stage::Ended, &record("imaps"));
    drop(log);
    let mut rest = String::new();
    disk.read_to_string(&mut rest).unwrap();
    let lines: Vec<_> = rest.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, ""), "{rest}");
    assert!(lines[1].contains(" WARN log lines were lost before this one lines="), "{rest}");
    assert!(lines[2].contains("service=imaps"), "{rest}");
}

#[test]
fn a_stuck_disk_never_holds_up_a_session() {
    let (log, verdict, output) = disk();
    // Far more than the queue holds, while the disk answers nothing.
    let line = rendered(LogFormat::Text, Stage::Ended, &record("smtp")).len();
    let noted = 5 * 1024 * 1024 / line;
    for _ in 0..noted {
        log.note(Stage::Ended, &record("smtp"));
    }
    drop(verdict);
    assert!(log.flush());
    let text = String::from_utf8(output.try_iter().collect::<Vec<_>>().concat()).unwrap();
    let written = text.lines().filter(|line| line.contains("event=ended")).count();
    let lost: usize =
        text.lines().find_map(|line| line.split_once("before this one lines=")).unwrap().1.parse().unwrap();
    assert!(lost > 0);
    assert_eq!(written + lost, noted);
}

#[test]
fn tracing_events_arrive_in_the_logs_look() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let cases = [
        (
            LogFormat::Text,
            " WARN backend \\\"down\\\"?here backend=127.0.0.1:10025 try=3 session=4Kd9x2\n".replace('\\', ""),
        ),
        (
            LogFormat::Postfix,
            "warning: backend \"down\"?here backend=127.0.0.1:10025 try=3 session=4Kd9x2\n".to_owned(),
        ),
        (
            LogFormat::Json,
            "\"event\":\"message\",\"level\":\"warn\",\"message\":\"backend \\\"down\\\"?here\",\
             \"backend\":\"127.0.0.1:10025\",\"try\":\"3\",\"session\":\"4Kd9x2\"}\n"
                .to_owned(),
        ),
    ];
    for (format, expected) in cases {
        let output = Shared::default();
        let log = SessionLog::to_writer(format, LogProgram::Sealgate, "h", Box::new(output.clone())).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.operations()), || {
            let _span = tracing::info_span!("session", session = "4Kd9x2").entered();
            tracing::warn!(backend = "127.0.0.1:10025", r#try = 3, "backend \"down\"\nhere");
        });
        assert!(log.flush());
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with(&expected), "{text} does not end with {expected}");
        assert_eq!(BufReader::new(text.as_bytes()).lines().count(), 1);
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_held_back_is_forgotten_with_its_sessions_or_released() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let settings = Log { format: LogFormat::Text, to: LogTarget::File(path.clone()), program: LogProgram::Sealgate };
    let at = |service, began| Record { service, began, ..record("smtp") };
    let log = SessionLog::open(&settings, "h").unwrap();
    let before = SystemTime::now();
    log.hold();
    log.note(Stage::Secured, &at("smtp", before));
    log.say(Level::Info, "held", &[]);
    log.forget();
    log.note(Stage::Ended, &at("smtp", before));
    log.note(Stage::Secured, &at("imaps", SystemTime::now()));
    assert!(log.flush());
    let told = || std::fs::read_to_string(&path).unwrap();
    assert!(told().lines().count() == 1 && told().contains("service=imaps "), "{}", told());

    log.hold();
    log.note(Stage::Ended, &at("imaps", SystemTime::now()));
    assert!(!log.inner.queue.flush(Duration::from_millis(50)), "nothing is written");
    assert!(!told().contains("event=ended"));
    log.release();
    assert!(log.flush() && told().contains("event=ended"), "{}", told());
    // An error that ends the program says no more than what led to it.
    log.hold();
    log.say(Level::Error, "the last word", &[]);
    drop(log);
    assert!(told().contains("the last word"), "{}", told());
}

#[test]
fn a_queue_whose_writer_is_gone_keeps_nobody_waiting() {
    let queue = Queue::default();
    queue.close();
    assert!(queue.take().is_none());
    // Whoever closes a log asks for its last lines, and the writer may have been quicker.
    assert!(queue.flush(Duration::from_millis(50)), "all is written");
}
