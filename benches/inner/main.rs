//! The inner parts alone, without sockets and TLS: what judging costs.
//!
//! `cargo bench --bench inner` measures, `cargo bench --bench inner -- --test` only runs everything once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on has nothing better to do than to stop"
)]

mod content;
mod session;

use std::hint::black_box;
use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sealgate::protocol::smtp::body::Scanner;
use sealgate::protocol::smtp::received::{self, Hello, Origin, Trace};

/// As much as the driver reads at once.
const INPUT: usize = 256 * 1024;

/// The body scanner over one full input: what mail looks like, and what would slow it down most.
fn scanner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scanner");
    group.throughput(Throughput::Bytes(INPUT as u64));
    for (name, line) in content::LINES {
        let input = content::repeated(line, INPUT);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| content::read(Scanner::new(), black_box(&input)));
        });
    }
    group.finish();
}

/// Whole dialogues, both sides fed as the driver does it.
fn dialogue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dialogue");
    let talks = [
        ("smtp, one mail of 10 KiB", session::mails(1, 10 * 1024, content::LINE)),
        ("smtp, 50 mails of 10 KiB", session::mails(50, 10 * 1024, content::LINE)),
        ("smtp, one mail of 1 MiB", session::mails(1, 1024 * 1024, content::LINE)),
        ("smtp, one mail of 1 MiB, bare LFs alone", session::mails(1, 1024 * 1024, b"\n")),
        ("imap, up to the login", session::login()),
    ];
    for (name, talk) in &talks {
        group.bench_function(*name, |bencher| {
            bencher.iter_batched(|| talk.start(), |running| running.finish(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Cleartext up to STARTTLS.
fn preamble(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("preamble");
    for (name, service, lines) in session::PREAMBLES {
        let context = session::context(service, None);
        group.bench_function(*name, |bencher| bencher.iter(|| session::preamble(black_box(&context), lines)));
    }
    group.finish();
}

/// One Received field.
fn field(criterion: &mut Criterion) {
    let origin = Origin::new(&session::context("submissions", Some(session::tls())));
    let hello = Hello { name: "client.example.org".into(), extended: true };
    let trace = Trace {
        hello: Some(&hello),
        user: None,
        utf8: false,
        recipient: Some("bob@example.com"),
        number: 1,
        at: UNIX_EPOCH,
        apart: false,
    };
    let mut to = BytesMut::new();
    criterion.bench_function("received", |bencher| {
        bencher.iter(|| {
            to.clear();
            received::write(black_box(&origin), &trace, &mut to);
        });
    });
}

criterion_group!(inner, scanner, dialogue, preamble, field);
criterion_main!(inner);
