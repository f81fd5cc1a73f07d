//! One case as a horizontal bar chart in SVG, readable in light and in dark.

use std::cmp::Ordering;
use std::fmt::{Display, Write};

use super::figures::{Comparison, Spread, Standing, rank};
use super::number::{self, goal, mark, number, times, wrapped};
use crate::results::{Case, Role};

/// All lengths in user units, which are pixels where the chart is shown at its size.
const WIDTH: f64 = 820.0;
const MARGIN: f64 = 28.0;
/// Where bars begin: behind the names of the subjects.
const BARS_LEFT: f64 = 196.0;
/// Where the longest whisker ends: the rest is for the figures behind it.
const BARS_RIGHT: f64 = 660.0;
const ROW: f64 = 34.0;
const BAR: f64 = 20.0;
const CAP: f64 = 8.0;
/// Characters of the subtitle in a line.
const LINE: usize = 112;
const LINE_HEIGHT: f64 = 18.0;

/// A chart stands on a page whose own colours it cannot know, hence the ground of its own.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.strong { font-weight: 600 }
.muted, .tick { fill: #59636e }
.tick { font-size: 11px; text-anchor: middle }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #eaeef2 }
.Sealgate { fill: #0969da }
.Peer { fill: #b3bfcc }
.Floor { fill: #eef1f4; stroke: #b3bfcc; stroke-dasharray: 3 3 }
.whisker { stroke: #1f2328; stroke-opacity: .65; stroke-width: 1.25; fill: none }
.target { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 5 4 }
.aim { fill: #bc4c00; font-size: 12px }
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.muted, .tick { fill: #9198a1 }
.ground { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #21262d }
.Sealgate { fill: #4493f8 }
.Peer { fill: #545d68 }
.Floor { fill: #161b22; stroke: #545d68 }
.whisker { stroke: #f0f6fc }
.target { stroke: #f0883e }
.aim { fill: #f0883e }
.halo { stroke: #0d1117 }
}
";

/// Sealgate first, then its peers and then the floors, the cheapest first. None where nothing was measured.
pub fn chart(case: &Case) -> Option<String> {
    let mut comparison = Comparison::new(case);
    // Stable, and builds of Sealgate keep their order: the first is what the ratios are to.
    comparison.standings.sort_by(|left, right| {
        let by_cost = match left.role {
            Role::Sealgate => Ordering::Equal,
            Role::Peer | Role::Floor => left.cost.median.total_cmp(&right.cost.median),
        };
        rank(left.role).cmp(&rank(right.role)).then(by_cost)
    });
    let target = comparison.goal.as_ref().and_then(|goal| goal.target);
    let longest = comparison.standings.iter().map(|standing| standing.cost.most);
    let longest = longest.chain(target.map(|target| target.cost)).max_by(f64::total_cmp)?;
    let mut subtitle = wrapped(&case.operation, LINE);
    subtitle.extend(wrapped(&case.settings, LINE));
    let scale = Scale::up_to(longest);
    let mut canvas = Canvas::default();

    canvas.text("title", MARGIN, 42.0, &case.title);
    let mut y = 46.0;
    for line in &subtitle {
        y += LINE_HEIGHT;
        canvas.text("muted", MARGIN, y, line);
    }
    let aim = comparison.goal.as_ref().and_then(|found| match goal(found) {
        (Some(aim), achieved) => Some(format!("target {aim}: {achieved}")),
        (None, _) => None,
    });
    let top = y + if aim.is_some() { 38.0 } else { 18.0 };
    let bottom = top + ROW * comparison.standings.len() as f64;
    canvas.grid(&scale, top, bottom);
    for (index, standing) in comparison.standings.iter().enumerate() {
        canvas.bar(&scale, standing, top + ROW * (index as f64 + 0.5));
    }
    if let (Some(target), Some(aim)) = (target, aim) {
        let compared = comparison.standings.iter().filter(|standing| standing.role != Role::Floor).count();
        canvas.target(scale.x(target.cost), top, top + ROW * compared as f64, &aim);
    }
    // After the target's line, so that no figure is crossed by it.
    for (index, standing) in comparison.standings.iter().enumerate() {
        canvas.figure(&scale, standing, top + ROW * (index as f64 + 0.5));
    }
    let rounds = case.measures.iter().map(|measure| measure.samples.len()).max().unwrap_or(0);
    let y = bottom + 42.0;
    canvas.text("muted", MARGIN, y, &format!("{}; lower is better.", case.unit.sentence()));
    canvas.text("muted", MARGIN, y + LINE_HEIGHT, &rounds_of(rounds));
    Some(canvas.finish(case, y + LINE_HEIGHT + 20.0))
}

fn rounds_of(rounds: usize) -> String {
    match rounds {
        1 => "One round. ×: the ratio to Sealgate's.".to_owned(),
        _ => format!(
            "Median of {}, whiskers: the least and the most. ×: the ratio to Sealgate's.",
            number::rounds(rounds)
        ),
    }
}

/// From costs to places.
struct Scale {
    step: f64,
    end: f64,
}

impl Scale {
    /// Four to ten steps of 1, 2 or 5 times a power of ten.
    fn up_to(longest: f64) -> Self {
        let end = if longest > 0.0 { longest } else { 1.0 };
        let decade = 10f64.powf((end / 4.0).log10().floor());
        let step = [5.0, 2.0].into_iter().map(|factor| factor * decade).find(|step| end / step >= 4.0);
        Self { step: step.unwrap_or(decade), end }
    }

    fn x(&self, cost: f64) -> f64 {
        BARS_LEFT + (BARS_RIGHT - BARS_LEFT) * (cost / self.end).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..).map(|count| f64::from(count) * self.step).take_while(|cost| *cost <= self.end)
    }
}

/// What was drawn so far. Writing to a String cannot fail, hence the results that nobody looks at.
#[derive(Default)]
struct Canvas(String);

impl Canvas {
    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(self.0, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, Escaped(text));
    }

    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = writeln!(self.0, r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#);
    }

    fn grid(&mut self, scale: &Scale, top: f64, bottom: f64) {
        for cost in scale.ticks() {
            let x = scale.x(cost);
            self.line("grid", [x, top, x, bottom]);
            self.text("tick", x, bottom + 16.0, &mark(cost, scale.step));
        }
    }

    fn bar(&mut self, scale: &Scale, standing: &Standing<'_>, middle: f64) {
        let Spread { median, least, most } = standing.cost;
        let name = if standing.role == Role::Sealgate { "strong" } else { "name" };
        self.text(name, MARGIN, middle + 4.5, standing.subject);
        let (class, right) = (role(standing.role), scale.x(median).max(BARS_LEFT + 1.0));
        let (width, y) = (right - BARS_LEFT, middle - BAR / 2.0);
        let _ = writeln!(
            self.0,
            r#"<rect class="{class}" x="{BARS_LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="3"/>"#
        );
        if least < most {
            let (left, right, up, down) = (scale.x(least), scale.x(most), middle - CAP / 2.0, middle + CAP / 2.0);
            let path =
                format!("M{left:.1} {up:.1}V{down:.1}M{left:.1} {middle:.1}H{right:.1}M{right:.1} {up:.1}V{down:.1}");
            let _ = writeln!(self.0, r#"<path class="whisker" d="{path}"/>"#);
        }
    }

    fn figure(&mut self, scale: &Scale, standing: &Standing<'_>, middle: f64) {
        let (x, y) = (scale.x(standing.cost.most) + 10.0, middle + 4.5);
        let ratio = standing.ratio.as_ref().map(times).unwrap_or_default();
        let cost = number(standing.cost.median);
        let _ = writeln!(
            self.0,
            r#"<text class="halo" x="{x:.1}" y="{y:.1}"><tspan class="strong">{cost}</tspan><tspan class="muted" dx="8">{ratio}</tspan></text>"#
        );
    }

    fn target(&mut self, x: f64, top: f64, bottom: f64, aim: &str) {
        self.line("target", [x, top - 8.0, x, bottom]);
        // On the side that has the room.
        let (anchor, text_x) = if x > WIDTH / 2.0 { ("end", x + 4.0) } else { ("start", x - 4.0) };
        let y = top - 14.0;
        let _ = writeln!(
            self.0,
            r#"<text class="aim" x="{text_x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            Escaped(aim)
        );
    }

    fn finish(self, case: &Case, height: f64) -> String {
        let (title, drawn) = (Escaped(&case.title), self.0);
        let (inner_width, inner_height) = (WIDTH - 1.0, height - 1.0);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{title}</title>
<style>
{STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="10"/>
{drawn}</svg>
"#
        )
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Sealgate => "Sealgate",
        Role::Peer => "Peer",
        Role::Floor => "Floor",
    }
}

/// Text between two tags.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            other => f.write_char(other),
        })
    }
}
