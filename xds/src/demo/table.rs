//! What was expected and what was measured.

use std::fmt;

use serde::Serialize;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Which part of the demo.
    pub(super) step: &'static str,
    /// What is compared.
    pub(super) what: String,
    /// What should be.
    pub(super) expected: String,
    /// What was.
    pub(super) measured: String,
    /// Whether they agree.
    pub(super) holds: Holds,
}

/// Whether a measurement is as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holds {
    Yes,
    No,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// The comparisons of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn push(
        &mut self,
        step: &'static str,
        what: impl Into<String>,
        expected: impl fmt::Display,
        measured: impl fmt::Display,
        holds: impl Into<Holds>,
    ) {
        let (expected, measured) = (expected.to_string(), measured.to_string());
        self.rows.push(Row { step, what: what.into(), expected, measured, holds: holds.into() });
    }

    /// Whether every row is as expected.
    pub(super) fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds == Holds::Yes)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |head: &str, cell: fn(&Row) -> &str| {
            self.rows.iter().map(|row| cell(row).chars().count()).fold(head.chars().count(), usize::max)
        };
        let what = width("", |row| &row.what);
        let expected = width("expected", |row| &row.expected);
        let measured = width("measured", |row| &row.measured);
        writeln!(f, "    {:what$}  {:>expected$}  {:>measured$}", "", "expected", "measured")?;
        for row in &self.rows {
            let verdict = if row.holds == Holds::Yes { "ok" } else { "OFF" };
            writeln!(
                f,
                "({}) {:what$}  {:>expected$}  {:>measured$}  {verdict}",
                row.step, row.what, row.expected, row.measured
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_that_is_off_is_shown_and_fails_the_table() {
        let mut table = Table::default();
        table.push("a", "servers", 1, 1, true);
        assert!(table.holds());
        table.push("b", "failed calls", 0, 12, false);
        assert!(!table.holds());
        let expected = "                  expected  measured
(a) servers              1         1  ok
(b) failed calls         0        12  OFF
";
        assert_eq!(table.to_string(), expected);
    }
}
