//! Every test that this machine can run, and the names of those that it cannot.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// Runs `cargo test --no-fail-fast ARGS`; tests that lack something write a line to `$ONGGI_SKIPS`, which is shown at the end.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let skips = std::env::temp_dir().join(format!("onggi-skips-{}", std::process::id()));
    std::fs::write(&skips, "")?;
    let mut test = Command::new(env!("CARGO"));
    test.current_dir(run::top()).args(["test", "--no-fail-fast"]).args(args).env("ONGGI_SKIPS", &skips);
    let outcome = run::visible(&mut test);
    let listed = std::fs::read_to_string(&skips).unwrap_or_default();
    std::fs::remove_file(&skips)?;
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() {
        println!("no test was left out");
    } else {
        println!("{} tests were left out:", lines.len());
        lines.iter().for_each(|line| println!("  {line}"));
    }
    outcome
}
