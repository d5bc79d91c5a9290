//! The race and its table.

use anyhow::Result;

use super::contender::Contender;

/// A promise: the median of one at most so many times another's.
pub(crate) struct Budget {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) at_most: f64,
}

/// Runs everybody once per round and prints medians, and the ratio of each to the first and to onggi.
pub(crate) fn race(title: &str, contenders: &[Contender<'_>], rounds: usize, budgets: &[Budget]) -> Result<()> {
    println!("{title}");
    let mut running = Vec::new();
    for contender in contenders {
        // The first run warms the page cache, and finds out who cannot run here.
        match contender.once() {
            Ok(_) => running.push((contender, Vec::with_capacity(rounds))),
            Err(error) => println!("  {}: left out, {error:#}", contender.name),
        }
    }
    for _ in 0..rounds {
        for (contender, took) in &mut running {
            took.push(contender.once()?);
        }
    }
    let medians: Vec<(&str, f64, f64)> = running
        .into_iter()
        .map(|(contender, mut took)| {
            took.sort_by(f64::total_cmp);
            (contender.name, took[took.len() / 2], took[took.len() * 9 / 10])
        })
        .collect();
    let (first, base) = medians.first().map_or(("", 1.0), |(name, median, _)| (*name, *median));
    println!("  {:<22} {:>10} {:>10} {:>9}", "", "median ms", "p90 ms", format!("x {first}"));
    for (name, median, p90) in &medians {
        println!("  {name:<22} {median:>10.2} {p90:>10.2} {:>9.2}", median / base);
    }
    let median_of = |wanted: &str| medians.iter().find(|(name, ..)| *name == wanted).map(|(_, median, _)| *median);
    for budget in budgets {
        if let (Some(of), Some(to)) = (median_of(budget.of), median_of(budget.to)) {
            let ratio = of / to;
            let verdict = if ratio <= budget.at_most { "met" } else { "NOT met" };
            println!("  budget {verdict}: {} is {ratio:.3} x {}, at most {:.3}", budget.of, budget.to, budget.at_most);
        }
    }
    println!();
    Ok(())
}
