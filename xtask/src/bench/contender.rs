//! One who races.

use std::cell::Cell;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use onggi_testkit::captured;

/// A command that is timed, from before it is started to after it was waited for.
pub(crate) struct Contender<'p> {
    pub(crate) name: &'static str,
    command: Box<dyn Fn(usize) -> Command + 'p>,
    /// The command times itself and prints "median N ms".
    times_itself: bool,
    runs: Cell<usize>,
}

impl<'p> Contender<'p> {
    pub(crate) fn plain(name: &'static str, command: impl Fn() -> Command + 'p) -> Self {
        Self::numbered(name, move |_| command())
    }

    /// Each run gets a number of its own, for a name.
    pub(crate) fn numbered(name: &'static str, command: impl Fn(usize) -> Command + 'p) -> Self {
        Self { name, command: Box::new(command), times_itself: false, runs: Cell::new(0) }
    }

    pub(crate) fn floor(name: &'static str, command: impl Fn() -> Command + 'p) -> Self {
        Self { times_itself: true, ..Self::plain(name, command) }
    }

    /// Runs it once and says how many milliseconds it took.
    pub(crate) fn once(&self) -> Result<f64> {
        self.runs.set(self.runs.get() + 1);
        let mut command = (self.command)(self.runs.get());
        let start = Instant::now();
        let output = captured(&mut command)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        if self.times_itself { own_time(&output) } else { Ok(took) }
    }
}

fn own_time(output: &str) -> Result<f64> {
    let after = output.split("median ").nth(1).and_then(|rest| rest.split(' ').next());
    after.and_then(|word| word.parse().ok()).with_context(|| format!("no median in {output:?}"))
}
