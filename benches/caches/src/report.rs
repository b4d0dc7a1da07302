//! Figures of all rounds, side by side.

use std::collections::BTreeMap;

/// Nanoseconds an operation, by case and who it is of; in the order of their first round.
#[derive(Default)]
pub struct Table {
    cases: Vec<String>,
    rows: BTreeMap<(usize, usize), (String, Vec<f64>)>,
}

impl Table {
    pub fn add(&mut self, case: &str, who: &str, nanoseconds: f64) {
        let at = match self.cases.iter().position(|known| known == case) {
            Some(at) => at,
            None => {
                self.cases.push(case.to_owned());
                self.cases.len() - 1
            }
        };
        let known = self
            .rows
            .range((at, 0)..(at + 1, 0))
            .find(|(_, (name, _))| name == who)
            .map(|(key, _)| *key);
        let next = self.rows.range((at, 0)..(at + 1, 0)).count();
        let key = known.unwrap_or((at, next));
        let row = self
            .rows
            .entry(key)
            .or_insert_with(|| (who.to_owned(), Vec::new()));
        row.1.push(nanoseconds);
    }

    /// The first of a case is what the others are compared to, round by round.
    pub fn print(&self) {
        println!("| case | who | ns, median (min to max) | beside the first |");
        println!("|---|---|---:|---:|");
        for (at, case) in self.cases.iter().enumerate() {
            let rows: Vec<_> = self.rows.range((at, 0)..(at + 1, 0)).collect();
            let Some((_, (_, first))) = rows.first() else {
                continue;
            };
            for (_, (who, figures)) in &rows {
                let ratios = figures.iter().zip(first).map(|(own, first)| own / first);
                let (low, middle, high) = spread(figures.clone());
                let (_, ratio, _) = spread(ratios.collect());
                println!("| {case} | {who} | {middle:.1} ({low:.1} to {high:.1}) | {ratio:.2} |");
            }
        }
    }
}

fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[0], figures[last / 2], figures[last])
}
