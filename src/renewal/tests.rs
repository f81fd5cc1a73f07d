use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Waker};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::*;

/// Directories of an ACME client: archive/ has the files, live/ has links to those in use.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(disk.path("archive")).unwrap();
        fs::create_dir(disk.path("live")).unwrap();
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles { chain: self.path("live/chain.pem"), key: self.path("live/key.pem") }
    }

    /// Switches one link.
    fn link(&self, name: &str, content: &str) {
        let link = self.path(&format!("live/{name}.pem"));
        let archive = (1..).map(|n| self.path(&format!("archive/{name}{n}.pem"))).find(|path| !path.exists()).unwrap();
        fs::write(&archive, content).unwrap();
        let next = self.path("live/next");
        std::os::unix::fs::symlink(&archive, &next).unwrap();
        fs::rename(&next, &link).unwrap();
    }

    fn put(&self, pem: &Pem) {
        self.link("chain", &pem.chain);
        self.link("key", &pem.key);
    }
}

struct Pem {
    chain: String,
    key: String,
}

fn pem(name: &str) -> Pem {
    dated(name, 2000, 4000)
}

fn dated(name: &str, from: i32, to: i32) -> Pem {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    Pem { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn watch(disk: &Disk) -> Watch {
    disk.put(&pem("old.example"));
    let (watch, renewed) = Watch::open(&[disk.files()], &"mail.example.org".into()).unwrap();
    assert_eq!(names(&renewed), ["old.example"]);
    watch
}

fn names(renewed: &Renewed) -> Vec<&str> {
    renewed.certificates.iter().flat_map(|certificate| certificate.names()).map(String::as_str).collect()
}

/// What `changed` brings within an hour.
async fn within_an_hour(watch: &mut Watch) -> Option<Renewed> {
    timeout(Duration::from_secs(3600), watch.changed()).await.ok()
}

/// What it brings at once, when it is asked to look.
fn asked(watch: &mut Watch) -> Option<Renewed> {
    watch.look().now();
    let mut changed = pin!(watch.changed());
    match changed.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(renewed) => Some(renewed),
        std::task::Poll::Pending => None,
    }
}

fn told(watch: &Watch) -> Option<&str> {
    watch.pairs[0].unsettled.as_ref()?.told.as_deref()
}

#[tokio::test(start_paused = true)]
async fn switched_links_are_found_by_the_clock_alone() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    let new = pem("new.example");
    disk.put(&new);
    let start = Instant::now();
    let renewed = within_an_hour(&mut watch).await.unwrap();
    assert_eq!(start.elapsed(), PERIOD + SOON, "after it has stood still for one look");
    assert_eq!(names(&renewed), ["new.example"]);
    let [(0, files)] = &renewed.new[..] else { panic!("{renewed:?}") };
    assert_eq!((&files.chain[..], files.key.expose()), (new.chain.as_bytes(), new.key.as_bytes()));
    assert!(within_an_hour(&mut watch).await.is_none(), "nothing new");
}

#[tokio::test(start_paused = true)]
async fn files_that_are_written_in_place_are_found_too() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    let new = pem("new.example");
    fs::write(disk.path("live/chain.pem"), &new.chain).unwrap();
    fs::write(disk.path("live/key.pem"), &new.key).unwrap();
    assert_eq!(names(&within_an_hour(&mut watch).await.unwrap()), ["new.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_written_renewal_waits_for_its_other_half_and_nobody_is_bothered() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    let new = pem("new.example");
    for (half, time) in [("", PERIOD + SOON), (&new.chain[..100], SOON), (&new.chain, SOON)] {
        disk.link("chain", half);
        let change = timeout(time + Duration::from_millis(1), watch.changed()).await;
        assert!(change.is_err() && watch.pairs[0].unsettled.is_some(), "{half}: {watch:?}");
        assert_eq!(told(&watch), None);
    }
    disk.link("key", &new.key);
    assert_eq!(names(&within_an_hour(&mut watch).await.unwrap()), ["new.example"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_told_once_and_taken_when_it_is_mended() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    let new = pem("new.example");
    disk.link("chain", &new.chain);
    assert!(within_an_hour(&mut watch).await.is_none());
    let error = "is not the key of the chain's first certificate";
    assert!(told(&watch).unwrap().contains(error), "{watch:?}");
    assert!(watch.pairs[0].certificate.is_for("old.example"), "the one from before");
    disk.link("key", &new.key);
    assert_eq!(names(&within_an_hour(&mut watch).await.unwrap()), ["new.example"]);
    assert!(watch.pairs[0].unsettled.is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_is_answered_at_once() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    assert!(asked(&mut watch).is_none(), "nothing new");
    let new = pem("new.example");
    disk.link("chain", &new.chain);
    assert!(asked(&mut watch).is_none());
    assert!(told(&watch).unwrap().contains("is not the key"), "{watch:?}");
    disk.link("key", &new.key);
    assert_eq!(names(&asked(&mut watch).unwrap()), ["new.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_out_of_its_time_is_not_taken() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    for (pem, error) in [
        (dated("early.example", 3000, 4000), "is not valid before 3000-01-01T00:00:00Z"),
        (dated("late.example", 2000, 2001), "has expired on 2001-01-01T00:00:00Z"),
    ] {
        disk.put(&pem);
        assert!(asked(&mut watch).is_none());
        assert!(told(&watch).unwrap().contains(error), "{watch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_only_touched_or_unreadable_for_a_while_is_nothing_new() {
    let disk = Disk::new();
    let mut watch = watch(&disk);
    let chain = fs::read_to_string(disk.files().chain).unwrap();
    disk.link("chain", &chain);
    assert!(asked(&mut watch).is_none());
    assert!(watch.pairs[0].unsettled.is_none(), "{watch:?}");
    fs::remove_file(disk.files().chain).unwrap();
    assert!(asked(&mut watch).is_none());
    assert!(told(&watch).unwrap().contains("cannot be read"), "{watch:?}");
    disk.link("chain", &chain);
    assert!(asked(&mut watch).is_none());
    assert!(watch.pairs[0].unsettled.is_none(), "{watch:?}");
}

#[tokio::test(start_paused = true)]
async fn trouble_with_one_pair_does_not_keep_another_from_being_renewed() {
    let disks = [Disk::new(), Disk::new()];
    disks[0].put(&pem("first.example"));
    disks[1].put(&pem("second.example"));
    let (mut watch, _) = Watch::open(&[disks[0].files(), disks[1].files()], &"mail.example.org".into()).unwrap();
    disks[0].link("key", "no key");
    disks[1].put(&pem("renewed.example"));
    let renewed = within_an_hour(&mut watch).await.unwrap();
    assert_eq!(names(&renewed), ["first.example", "renewed.example"]);
    assert_eq!(renewed.new.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_cannot_be_used_at_the_start_is_an_error() {
    let disk = Disk::new();
    disk.put(&Pem { key: pem("other.example").key, ..pem("mail.example") });
    let error = Watch::open(&[disk.files()], &"mail.example.org".into()).unwrap_err().to_string();
    assert!(error.contains("live/key.pem is not the key"), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let disk = Disk::new();
    let pem = pem("mail.example");
    disk.put(&pem);
    let (watch, renewed) = Watch::open(&[disk.files()], &"mail.example.org".into()).unwrap();
    let shown = format!("{watch:?} {renewed:?}");
    assert!(!shown.contains("PRIVATE") && shown.contains("key: Secret(..)"), "{shown}");
}
