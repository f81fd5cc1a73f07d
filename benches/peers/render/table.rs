//! The table for the terminal.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::figures::{Comparison, Standing, groups, subjects};
use super::number::{NONE, goal, half_range, number, range, rounds, times, wrapped};
use crate::results::{Case, Results};

/// Lines between the cases only: their cells have several lines each.
const STYLE: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .row_separator(LineStyle::none().fill('┈').junction('┈'));

/// The widest that the case and the target may become.
const TEXT_WIDTH: usize = 30;
/// A ratio and its range are as wide, so that a subject's name may as well be.
const FIGURE_WIDTH: usize = 11;

/// One row a case, one column a subject: its cost, the ratio to Sealgate's, and the ratio's range over the rounds.
pub fn table(results: &Results) -> String {
    let mut text = format!("{}, {}, {}\n\n", results.machine, results.began, rounds(results.rounds));
    for cases in groups(results) {
        text.extend(lines(&cases).iter().map(|line| format!("{}\n", line.trim_end())));
        text.push('\n');
    }
    text.push_str("Under a cost: its ratio to Sealgate's, and the least and the most of that ratio in a round.\n");
    text
}

fn lines(cases: &[&Case]) -> Vec<String> {
    let subjects = subjects(cases);
    let mut table = Table::new();
    table.load_style(STYLE);
    let mut header = vec![Cell::new("Case")];
    header.extend(
        subjects
            .iter()
            .map(|subject| Cell::new(wrapped(subject, FIGURE_WIDTH).join("\n")).set_alignment(CellAlignment::Right)),
    );
    header.push(Cell::new("Target"));
    table.set_header(header);
    for case in cases {
        table.add_row(row(case, &subjects));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.lines().collect()
}

fn row(case: &Case, subjects: &[&str]) -> Vec<Cell> {
    let comparison = Comparison::new(case);
    let mut about = wrapped(&case.title, TEXT_WIDTH);
    about.extend(wrapped(&case.settings, TEXT_WIDTH));
    about.push(case.unit.heading().to_owned());
    let mut row = vec![Cell::new(about.join("\n"))];
    row.extend(subjects.iter().map(|subject| {
        let standing = comparison.standings.iter().find(|standing| standing.subject == *subject);
        Cell::new(standing.map_or(NONE.to_owned(), cell)).set_alignment(CellAlignment::Right)
    }));
    let (aim, achieved) = match &comparison.goal {
        Some(found) => goal(found),
        None => (case.target.map(|part| format!("≤ {}", number(part))), "nothing to compare with".to_owned()),
    };
    let lines: Vec<_> = aim.iter().chain([&achieved]).flat_map(|text| wrapped(text, TEXT_WIDTH)).collect();
    row.push(Cell::new(lines.join("\n")));
    row
}

fn cell(standing: &Standing<'_>) -> String {
    let mut lines = vec![number(standing.cost.median)];
    match &standing.ratio {
        Some(ratio) => {
            lines.push(times(ratio));
            lines.extend(range(ratio));
        }
        None => lines.extend(half_range(&standing.cost)),
    }
    lines.join("\n")
}
