//! Medians, ratios and targets: what all reports say of a case.

use std::collections::BTreeSet;

use crate::results::{Case, Measure, Results, Role};

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// None where there is no figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        // The same one where their number is odd.
        let (lower, upper) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { median: f64::midpoint(*lower, *upper), least: *sorted.first()?, most: *sorted.last()? })
    }

    /// Half of the range as a part of the median; none for a single figure, which says nothing of the noise.
    pub fn half_range(&self) -> Option<f64> {
        (self.least < self.most).then(|| (self.most - self.least) / 2.0 / self.median)
    }
}

/// What one subject costs, over `other`.
///
/// Where both took part in the same rounds, the ratio is taken within each: what the machine does for longer than a
/// subject's turn falls on both. The medians of the costs may come from different rounds, a slow one and a fast one.
fn ratio(measure: &Measure, other: &Measure) -> Option<Spread> {
    let costs = |measure: &Measure| measure.samples.iter().map(|sample| sample.cost).collect::<Vec<_>>();
    let (costs, others) = (costs(measure), costs(other));
    let below = Spread::of(others.iter().copied())?;
    // A cost may come to nothing where it is the difference of two readings.
    if below.least <= 0.0 {
        return None;
    }
    if costs.len() == others.len() {
        return Spread::of(costs.iter().zip(&others).map(|(cost, other)| cost / other));
    }
    let median = Spread::of(costs.iter().copied())?.median / below.median;
    Some(Spread { median, least: median, most: median })
}

/// A case, worked out.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// Sealgate, then peers, then floors; each in the order of the results. Only those with a figure.
    pub standings: Vec<Standing<'a>>,
    /// None where Sealgate or all peers are missing.
    pub goal: Option<Goal<'a>>,
}

/// One subject of a case.
#[derive(Debug)]
pub struct Standing<'a> {
    pub subject: &'a str,
    pub role: Role,
    pub cost: Spread,
    /// Over Sealgate's cost; none for Sealgate itself.
    pub ratio: Option<Spread>,
}

/// How Sealgate stands to the best of its peers.
#[derive(Debug)]
pub struct Goal<'a> {
    /// The peer beside which Sealgate looks worst.
    pub best: &'a str,
    /// Sealgate's cost over that of the best.
    pub achieved: Spread,
    /// What was aimed at, as a part of the best and as a cost of Sealgate's; with what became of it.
    pub target: Option<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    pub part: f64,
    pub cost: f64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// Missed by the median, met in some round.
    WithinSpread,
    Missed,
}

impl<'a> Comparison<'a> {
    pub fn new(case: &'a Case) -> Self {
        let sealgate = case.measures.iter().find(|measure| measure.role == Role::Sealgate);
        let mut standings: Vec<_> = case
            .measures
            .iter()
            .filter_map(|measure| {
                let reference = sealgate.filter(|sealgate| !std::ptr::eq(*sealgate, measure));
                Some(Standing {
                    subject: &measure.subject,
                    role: measure.role,
                    cost: Spread::of(measure.samples.iter().map(|sample| sample.cost))?,
                    ratio: reference.and_then(|sealgate| ratio(measure, sealgate)),
                })
            })
            .collect();
        standings.sort_by_key(|standing| rank(standing.role));
        Self { standings, goal: sealgate.and_then(|sealgate| goal(case, sealgate)) }
    }
}

fn goal<'a>(case: &'a Case, sealgate: &Measure) -> Option<Goal<'a>> {
    let (best, achieved) = case
        .measures
        .iter()
        .filter(|measure| measure.role == Role::Peer)
        .filter_map(|measure| Some((measure, ratio(sealgate, measure)?)))
        .max_by(|(_, left), (_, right)| left.median.total_cmp(&right.median))?;
    let cost = Spread::of(sealgate.samples.iter().map(|sample| sample.cost))?.median;
    let target = case.target.map(|part| {
        let verdict = match part {
            part if achieved.median <= part => Verdict::Met,
            part if achieved.least <= part => Verdict::WithinSpread,
            _ => Verdict::Missed,
        };
        Target { part, cost: cost * part / achieved.median, verdict }
    });
    Some(Goal { best: &best.subject, achieved, target })
}

/// Where a subject stands among the others.
pub fn rank(role: Role) -> u8 {
    match role {
        Role::Sealgate => 0,
        Role::Peer => 1,
        Role::Floor => 2,
    }
}

/// Cases that share peers, each group for a table of its own: Sealgate against itself under other conditions would
/// otherwise add columns of dashes to all the rest. In the order of the results; cases without a peer join the first.
pub fn groups(results: &Results) -> Vec<Vec<&Case>> {
    let mut groups = Vec::new();
    let mut rest: Vec<&Case> = results.cases.iter().collect();
    while let Some(first) = rest.first() {
        let mut reached = peers(first);
        loop {
            let before = reached.len();
            for case in &rest {
                let peers = peers(case);
                if !peers.is_disjoint(&reached) {
                    reached.extend(peers);
                }
            }
            if reached.len() == before {
                break;
            }
        }
        let (group, others) = rest.into_iter().partition(|case| {
            let peers = peers(case);
            peers.is_empty() || !peers.is_disjoint(&reached)
        });
        groups.push(group);
        rest = others;
    }
    groups
}

fn peers(case: &Case) -> BTreeSet<&str> {
    measured(case).filter(|measure| measure.role == Role::Peer).map(|measure| measure.subject.as_str()).collect()
}

fn measured(case: &Case) -> impl Iterator<Item = &Measure> {
    case.measures.iter().filter(|measure| !measure.samples.is_empty())
}

/// Everyone who has a figure in one of the cases, in the order of [`Comparison::standings`].
pub fn subjects<'a>(cases: &[&'a Case]) -> Vec<&'a str> {
    let mut found: Vec<(Role, &str)> = Vec::new();
    for measure in cases.iter().flat_map(|case| measured(case)) {
        if !found.iter().any(|(_, subject)| *subject == measure.subject) {
            found.push((measure.role, &measure.subject));
        }
    }
    found.sort_by_key(|(role, _)| rank(*role));
    found.into_iter().map(|(_, subject)| subject).collect()
}
