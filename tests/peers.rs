//! What `cargo bench --bench peers` makes of its figures. A bench without a harness of its own has no place for tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test: a panic is how it fails

use std::fs;
use std::path::Path;

use floor::{Exchange, Signature, Work, crypto};
use results::{Case, Measure, Results, Role, Sample, Unit};

#[path = "../benches/peers/floor.rs"]
mod floor;
#[path = "../benches/peers/render/mod.rs"]
mod render;
#[path = "../benches/peers/results.rs"]
mod results;

fn measure(subject: &str, role: Role, costs: &[f64]) -> Measure {
    let sample = |cost: &f64| Sample { cost: *cost, throughput: None, p50: None, p99: None };
    Measure { subject: subject.to_owned(), role, samples: costs.iter().map(sample).collect() }
}

fn case(id: &str, target: Option<f64>, measures: Vec<Measure>) -> Case {
    Case {
        id: id.to_owned(),
        title: format!("Case {id}"),
        operation: "One of them.".to_owned(),
        settings: String::new(),
        unit: Unit::CpuMsPer1000,
        target,
        measures,
    }
}

fn run(cases: Vec<Case>) -> Results {
    Results {
        began: "2026-11-22T10:00:00Z".to_owned(),
        machine: "Invented CPU, 2 cores, Linux 6.1".to_owned(),
        versions: vec![("Sealgate".to_owned(), "0.1.0".to_owned()), ("Alpha".to_owned(), "1.2 | OpenSSL".to_owned())],
        rounds: 5,
        cases,
    }
}

/// Two subjects' costs in one case, the second one a peer.
fn pair(target: Option<f64>, sealgate: &[f64], peer: &[f64]) -> Results {
    let measures = vec![measure("Sealgate", Role::Sealgate, sealgate), measure("Alpha", Role::Peer, peer)];
    run(vec![case("x", target, measures)])
}

/// The row of the first case in the Markdown page.
fn row(results: &Results) -> String {
    let page = render::markdown(results);
    let row = page.lines().find(|line| line.starts_with("| Case x ")).unwrap();
    row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>().join(" | ")
}

/// An invented run with all that can occur: missing subjects, one round, no peer, no target, other units, speeds.
fn sample() -> Results {
    let with_speed = |mut measure: Measure, throughput: f64, p50: f64, p99: f64| {
        for sample in &mut measure.samples {
            (sample.throughput, sample.p50, sample.p99) = (Some(throughput), Some(p50), Some(p99));
        }
        measure
    };
    let handshake = Case {
        title: "Full handshake, IMAPS (993)".to_owned(),
        operation: "Connect, TLS handshake, the server's greeting, close.".to_owned(),
        settings: "TLS 1.3, AES-256-GCM, X25519, ECDSA P-256".to_owned(),
        ..case(
            "handshake-993",
            Some(0.65),
            vec![
                with_speed(
                    measure("Sealgate", Role::Sealgate, &[301.0, 296.0, 312.0, 299.0, 305.0]),
                    4120.0,
                    310.4,
                    801.0,
                ),
                with_speed(measure("Alpha", Role::Peer, &[922.0, 915.0, 1105.0, 930.0, 921.0]), 1890.0, 702.0, 1530.5),
                measure("Beta (own build)", Role::Peer, &[486.0, 490.0, 481.0, 484.0, 499.0]),
                measure("crypto alone", Role::Floor, &[75.1, 75.0, 74.8, 75.3, 75.2]),
            ],
        )
    };
    let download = Case {
        title: "Download <IMAP FETCH> & more".to_owned(),
        unit: Unit::CpuMsPerGiB,
        ..case(
            "download",
            Some(0.55),
            vec![
                with_speed(measure("Sealgate", Role::Sealgate, &[1120.0, 980.0]), 700.0, 1_460_000.0, 1_510_000.0),
                with_speed(measure("Alpha", Role::Peer, &[1860.0, 1840.0]), 480.0, 2_130_000.0, 2_180_000.0),
            ],
        )
    };
    let idle = Case {
        unit: Unit::KiBPerSession,
        ..case(
            "idle",
            None,
            vec![
                measure("Gamma", Role::Peer, &[17.04]),
                measure("Sealgate", Role::Sealgate, &[5.5]),
                measure("Alpha", Role::Peer, &[]),
            ],
        )
    };
    let alone = case("alone", Some(0.9), vec![measure("Sealgate", Role::Sealgate, &[12.0, 13.0, 14.0])]);
    run(vec![handshake, download, idle, alone])
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn the_reports_are_what_is_recorded() {
    snapshot("table", &render::table(&sample()));
    snapshot("page", &render::markdown(&sample()));
    snapshot("chart", &render::chart(&sample().cases[0]).unwrap());
}

#[test]
fn cases_that_share_no_peer_stand_in_tables_of_their_own() {
    let with = |id, peers: &[&str]| {
        let peers = peers.iter().map(|peer| measure(peer, Role::Peer, &[2.0]));
        let ours = [measure("Sealgate", Role::Sealgate, &[1.0]), measure("crypto alone", Role::Floor, &[0.5])];
        case(id, None, ours.into_iter().chain(peers).collect())
    };
    // Alpha and Gamma have no case in common but for what b and d tie together.
    let cases =
        [("a", &["Alpha"][..]), ("b", &["Beta", "Gamma"]), ("x", &["Old"]), ("c", &[]), ("d", &["Alpha", "Beta"])];
    let page = render::markdown(&run(cases.map(|(id, peers)| with(id, peers)).into()));
    let costs = page.split("## ").find(|section| section.starts_with("Cost")).unwrap();
    let firsts: Vec<_> = costs
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        // Of a header all cells, of a row the first.
        .map(|cells| if cells[0] == "Case" { cells.join(" ") } else { cells[0].to_owned() })
        .collect();
    assert_eq!(
        firsts,
        [
            "Case Unit Sealgate Alpha Beta Gamma crypto alone Target ",
            "Case a",
            "Case b",
            "Case c",
            "Case d",
            "Case Unit Sealgate Old crypto alone Target ",
            "Case x",
        ]
    );
}

#[test]
fn a_cost_is_the_median_and_a_ratio_that_of_the_ratios_by_round() {
    let cases = [
        // Odd: the middle one. The ratios by round are 2, 1.5, 4.
        ("odd", &[10.0, 20.0, 5.0][..], &[20.0, 30.0, 20.0][..], "**10.0**<br>±75.0 % | 20.0<br>×2.00 (1.50–4.00)"),
        // The medians come from different rounds. The ratios by round are 3, 1, 4/3.
        ("drifting", &[10.0, 20.0, 30.0], &[30.0, 20.0, 40.0], "**20.0**<br>±50.0 % | 30.0<br>×1.33 (1.00–3.00)"),
        // Even: half way between the middle two, which are 10 and 20; the ratios 1.5 and 3.
        ("even", &[20.0, 5.0, 10.0, 40.0], &[30.0; 4], "**15.0**<br>±116.7 % | 30.0<br>×2.25 (0.75–6.00)"),
        ("one round has no range", &[10.0], &[25.0], "**10.0** | 25.0<br>×2.50"),
        ("unpaired rounds have none either", &[10.0, 10.0, 10.0], &[25.0, 35.0], "**10.0** | 30.0<br>×3.00"),
        ("nothing cannot be divided by", &[0.0], &[25.0], "**0.00** | 25.0"),
        ("three digits count", &[0.1234], &[12345.6], "**0.12** | 12,346<br>×100,045"),
        ("none is a dash", &[10.0], &[], "**10.0**"),
    ];
    for (name, sealgate, peer, expected) in cases {
        let row = row(&pair(None, sealgate, peer));
        assert!(row.starts_with(&format!("Case x | ms of CPU per 1,000 | {expected} | ")), "{name}: {row}");
    }
}

#[test]
fn a_target_is_met_by_the_median_against_the_best_peer() {
    let cases = [
        (Some(0.65), &[65.0][..], &[100.0][..], "≤ 0.65 of Alpha: 0.65, met"),
        (Some(0.65), &[66.0], &[100.0], "≤ 0.65 of Alpha: 0.66, missed"),
        // The median of 0.66 stands between one round of 0.60 and one of 0.70.
        (Some(0.65), &[60.0, 66.0, 70.0], &[100.0; 3], "≤ 0.65 of Alpha: 0.66, missed within the spread"),
        (None, &[66.0], &[100.0], "0.66 of Alpha"),
        (Some(0.65), &[66.0], &[], "–"),
        (Some(0.65), &[], &[100.0], "–"),
    ];
    for (target, sealgate, peer, expected) in cases {
        let row = row(&pair(target, sealgate, peer));
        assert_eq!(row.rsplit(" | ").next().unwrap(), expected, "{row}");
    }
}

#[test]
fn the_best_is_the_peer_that_is_nearest_round_by_round_and_never_a_floor_or_another_build() {
    let mut results = pair(Some(0.5), &[10.0; 3], &[30.0, 30.0, 1.0]);
    results.cases[0].measures.extend([
        measure("Beta", Role::Peer, &[20.0, 20.0, 99.0]),
        measure("plain TCP", Role::Floor, &[2.0; 3]),
        measure("Sealgate (other build)", Role::Sealgate, &[3.0; 3]),
    ]);
    let row = row(&results);
    assert!(row.ends_with("| ≤ 0.50 of Beta: 0.50, met"), "{row}");
    // The other build is no reference, but has a ratio to it.
    assert!(row.contains("**3.00**<br>×0.30"), "{row}");
}

#[test]
fn a_later_run_replaces_its_own_cases_only() {
    let part = |id, cost| case(id, None, vec![measure("Sealgate", Role::Sealgate, &[cost])]);
    let mut old = run(vec![part("a", 1.0), part("b", 2.0), part("c", 3.0)]);
    old.cases[0].measures.push(measure("Alpha", Role::Peer, &[9.0]));
    old.cases[1].measures.push(measure("Beta", Role::Peer, &[9.0]));
    old.versions.push(("Beta".to_owned(), "7".to_owned()));
    let mut new = run(vec![part("d", 5.0), part("b", 4.0)]);
    new.began = "2026-11-23T10:00:00Z".to_owned();
    new.versions = vec![("Sealgate".to_owned(), "0.2.0".to_owned())];

    let merged = render::merge(old.clone(), new.clone());
    let costs: Vec<_> = merged.cases.iter().map(|case| (case.id.as_str(), case.measures[0].samples[0].cost)).collect();
    assert_eq!(costs, [("a", 1.0), ("b", 4.0), ("c", 3.0), ("d", 5.0)]);
    assert_eq!(merged.began, "2026-11-23T10:00:00Z");
    // Beta has no figure left.
    let versions: Vec<_> = merged.versions.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
    assert_eq!(versions, [("Sealgate", "0.2.0"), ("Alpha", "1.2 | OpenSSL")]);

    new.machine = "Another".to_owned();
    let alone = render::merge(old, new);
    assert_eq!(alone.cases.iter().map(|case| case.id.as_str()).collect::<Vec<_>>(), ["d", "b"]);
}

#[test]
fn what_is_written_is_read_and_merged_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("new");
    render::write(&sample(), &directory).unwrap();
    let more = run(vec![case("more", None, vec![measure("Sealgate", Role::Sealgate, &[1.0])])]);
    render::write(&more, &directory).unwrap();

    let kept: Results = serde_json::from_slice(&fs::read(directory.join("results.json")).unwrap()).unwrap();
    let ids: Vec<_> = kept.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["handshake-993", "download", "idle", "alone", "more"]);
    let page = fs::read_to_string(directory.join("results.md")).unwrap();
    for id in ids {
        assert!(page.contains(&format!("({id}.svg)")), "{page}");
        assert!(fs::read_to_string(directory.join(format!("{id}.svg"))).unwrap().ends_with("</svg>\n"));
    }
}

#[test]
fn what_cannot_be_merged_or_named_is_refused_and_nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results.json");
    fs::write(&path, "{").unwrap();
    let error = render::write(&sample(), directory.path()).unwrap_err();
    assert!(format!("{error:#}").contains("results.json"), "{error:#}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");

    for id in ["", "../x", "a b", "A"] {
        let error = render::write(&run(vec![case(id, None, Vec::new())]), directory.path()).unwrap_err();
        assert!(error.to_string().contains("is no id"), "{id:?}: {error:#}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_chart_of_nothing_is_none_and_markup_in_a_title_is_text() {
    assert!(render::chart(&case("x", Some(0.5), vec![measure("Alpha", Role::Peer, &[])])).is_none());
    let chart = render::chart(&sample().cases[1]).unwrap();
    assert!(chart.contains("<title>Download &lt;IMAP FETCH&gt; &amp; more</title>"), "{chart}");
    let zero = render::chart(&case("x", None, vec![measure("Sealgate", Role::Sealgate, &[0.0])])).unwrap();
    assert!(zero.contains(">0.2</text>") && !zero.contains("NaN") && !zero.contains("inf"), "{zero}");
}

#[test]
fn the_floor_does_every_kind_of_work_in_every_round() {
    let mut all = vec![Work::Upload, Work::Download];
    for exchange in [Exchange::X25519, Exchange::X25519MlKem768] {
        all.push(Work::ResumedHandshake(exchange));
        all.extend([Signature::EcdsaP256, Signature::Rsa2048].map(|key| Work::FullHandshake(key, exchange)));
    }
    for work in all {
        let rounds = if work == Work::Download { 2 } else { 1 };
        let measure = crypto(work, rounds).unwrap();
        assert_eq!((measure.role, measure.samples.len()), (Role::Floor, rounds), "{work:?}");
        assert!(measure.samples.iter().all(|sample| sample.cost > 0.0), "{work:?}: {measure:?}");
    }
}
