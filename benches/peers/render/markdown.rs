//! The page for the documents.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::figures::{Comparison, Spread, Standing, groups, subjects};
use super::number::{NONE, goal, half_range, latency, number, range, rounds, times};
use crate::results::{Case, Measure, Results, Role};

const HOW_TO_READ: &str = "\
Lower is better in every cost. A cost is the median of the rounds. Under a peer's stands its ratio to Sealgate's (×2 is twice
as much), and in parentheses the least and the most of that ratio within one round. A row comes from one run in which all its
subjects took turns; different rows may come from different runs on this machine.";

/// Costs, throughput and latency, charts, versions.
pub fn markdown(results: &Results) -> String {
    let Results { began, machine, .. } = results;
    let mut page =
        format!("# Figures\n\nMeasured on {machine}. The last run began at {began}: {}.\n\n", rounds(results.rounds));
    let groups = groups(results);
    section(&mut page, "How to read them", HOW_TO_READ);
    section(&mut page, "Cost", &groups.iter().map(|cases| format!("{}\n\n", costs(cases))).collect::<String>());
    let speeds: String = groups.iter().filter_map(|cases| Some(format!("{}\n\n", speeds(cases)?))).collect();
    if !speeds.is_empty() {
        let text =
            format!("Operations (or MiB) a second, and the latency of one, in the same runs. Medians.\n\n{speeds}");
        section(&mut page, "Throughput and latency", &text);
    }
    section(&mut page, "Charts", &charts(results));
    section(&mut page, "Versions", &versions(results).to_string());
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn section(page: &mut String, heading: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "## {heading}\n\n{}\n", text.trim_end());
}

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.into_iter().map(escaped));
    table
}

/// Text as a cell: a bar would end it, and an angle bracket begin a tag.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

fn costs(cases: &[&Case]) -> Table {
    let subjects = subjects(cases);
    let mut table = table(["Case", "Unit"].into_iter().chain(subjects.iter().copied()).chain(["Target"]));
    for case in cases {
        let comparison = Comparison::new(case);
        let mut row = vec![about(case), case.unit.heading().to_owned()];
        row.extend(subjects.iter().map(|subject| {
            let standing = comparison.standings.iter().find(|standing| standing.subject == *subject);
            standing.map_or(NONE.to_owned(), cost)
        }));
        row.push(escaped(&match &comparison.goal {
            Some(found) => match goal(found) {
                (Some(aim), achieved) => format!("{aim}: {achieved}"),
                (None, achieved) => achieved,
            },
            None => NONE.to_owned(),
        }));
        table.add_row(row);
    }
    table
}

fn about(case: &Case) -> String {
    let mut text = escaped(&case.title);
    if !case.settings.is_empty() {
        let _ = write!(text, "<br>{}", escaped(&case.settings));
    }
    text
}

fn cost(standing: &Standing<'_>) -> String {
    let cost = match standing.role {
        Role::Sealgate => format!("**{}**", number(standing.cost.median)),
        Role::Peer | Role::Floor => number(standing.cost.median),
    };
    let below = match &standing.ratio {
        Some(ratio) => Some(match range(ratio) {
            Some(range) => format!("{} ({range})", times(ratio)),
            None => times(ratio),
        }),
        None => half_range(&standing.cost),
    };
    below.map_or(cost.clone(), |below| format!("{cost}<br>{below}"))
}

/// None where no case has anything but a cost.
fn speeds(cases: &[&Case]) -> Option<Table> {
    let subjects = subjects(cases);
    let mut table = table(["Case"].into_iter().chain(subjects.iter().copied()));
    for case in cases {
        let cells: Vec<_> = subjects
            .iter()
            .map(|subject| case.measures.iter().find(|measure| measure.subject == *subject))
            .map(|measure| measure.and_then(|measure| speed(case, measure)))
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or(NONE.to_owned()));
            table.add_row([about(case)].into_iter().chain(cells));
        }
    }
    (table.row_count() > 0).then_some(table)
}

fn speed(case: &Case, measure: &Measure) -> Option<String> {
    let median = |figures: Vec<f64>| Spread::of(figures).map(|spread| spread.median);
    let samples = || measure.samples.iter();
    let lines: Vec<_> = [
        median(samples().filter_map(|sample| sample.throughput).collect())
            .map(|figure| format!("{}{}", number(figure), case.unit.throughput())),
        median(samples().filter_map(|sample| sample.p50).collect()).map(|figure| format!("p50 {}", latency(figure))),
        median(samples().filter_map(|sample| sample.p99).collect()).map(|figure| format!("p99 {}", latency(figure))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!lines.is_empty()).then(|| lines.join("<br>"))
}

fn charts(results: &Results) -> String {
    let mut text = String::new();
    for case in results.cases.iter().filter(|case| !Comparison::new(case).standings.is_empty()) {
        let _ = writeln!(text, "![{}: {}]({}.svg)\n", escaped(&case.title), case.unit.sentence(), case.id);
    }
    text
}

fn versions(results: &Results) -> Table {
    let mut table = table(["Program", "Version"]);
    for (program, version) in &results.versions {
        table.add_row([escaped(program), escaped(version)]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}
