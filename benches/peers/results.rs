//! What was measured: plain data, from the harness to the reports.

use serde::{Deserialize, Serialize};

/// One whole run of the harness.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// When it began, as `2026-11-22T10:00:00Z`.
    pub began: String,
    /// The machine: processor, cores, kernel.
    pub machine: String,
    /// Name and version of every program that took part, Sealgate first.
    pub versions: Vec<(String, String)>,
    /// Rounds in which all subjects took their turns.
    pub rounds: usize,
    /// In the order they are shown.
    pub cases: Vec<Case>,
}

/// One row of the comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// `handshake-993-tls13-ecdsa`: stable, for file names and `--cases`.
    pub id: String,
    /// `Full handshake, IMAPS (993)`.
    pub title: String,
    /// What one operation is.
    pub operation: String,
    /// `TLS 1.3, AES-256-GCM, X25519, ECDSA P-256`.
    pub settings: String,
    /// What [`Sample::cost`] counts.
    pub unit: Unit,
    /// At most this part of the best peer's cost is what Sealgate aims at.
    pub target: Option<f64>,
    /// By subject: Sealgate first, then peers, then floors.
    pub measures: Vec<Measure>,
}

/// Lower is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds of server CPU (user and system) for a thousand operations.
    CpuMsPer1000,
    /// Milliseconds of server CPU for a GiB.
    CpuMsPerGiB,
    /// KiB of PSS for a session, over the idle process.
    KiBPerSession,
    /// Microseconds of a round trip, median.
    MicrosP50,
    /// Microseconds of a round trip, 99th percentile.
    MicrosP99,
}

/// One subject in one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measure {
    /// `Sealgate`, `HAProxy`, `nginx stream`, …
    pub subject: String,
    /// What it stands for.
    pub role: Role,
    /// One for each round.
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Sealgate,
    /// A proxy, or a mail server's own TLS.
    Peer,
    /// What cannot be gone below: plain TCP, the cryptography alone.
    Floor,
}

/// One round's figures.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// In the case's unit.
    pub cost: f64,
    /// Operations (or MiB) a second; none where it says nothing.
    pub throughput: Option<f64>,
    /// Latency of one operation in microseconds: median and 99th percentile.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}
