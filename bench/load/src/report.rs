//! What came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::options::Options;
use crate::request::Learnt;

/// One answer.
pub struct Told {
    pub sent_us: u64,
    pub latency_us: u32,
    pub status: u16,
    pub step: u8,
    /// It came before the time was up.
    pub in_time: bool,
}

#[derive(Default)]
pub struct Report {
    pub told: Vec<Told>,
    pub journeys: u64,
    pub seconds: f64,
    pub io_errors: u64,
    /// An open loop found no idle connection for so many requests, and never sent them.
    pub unsent: u64,
    pub refused_without_retry_after: u64,
    pub first_failure: Option<String>,
    pub learnt: BTreeMap<u64, Learnt>,
}

impl Report {
    pub fn json(&self) -> String {
        let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
        let mut steps: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        let (mut all, mut ok, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for told in &self.told {
            *statuses.entry(told.status).or_default() += 1;
            steps.entry(told.step).or_default().push(told.latency_us);
            all.push(told.latency_us);
            match told.status {
                0..400 => ok.push(told.latency_us),
                429 | 503 => refused.push(told.latency_us),
                _ => {}
            }
        }
        let in_time = self.told.iter().filter(|told| told.in_time);
        let (done, good) = in_time.fold((0u64, 0u64), |(d, g), told| (d + 1, g + u64::from(told.status < 400)));
        let mut json = String::from("{");
        let statuses: Vec<String> = statuses.iter().map(|(status, count)| format!("\"{status}\":{count}")).collect();
        let steps: Vec<String> = steps.values_mut().map(|step| quantiles(step)).collect();
        let _ = write!(
            json,
            "\"answers\":{},\"seconds\":{:.4},\"rate\":{:.1},\"ok_rate\":{:.1},\"journeys\":{},\"journey_rate\":{:.1},",
            self.told.len(),
            self.seconds,
            done as f64 / self.seconds,
            good as f64 / self.seconds,
            self.journeys,
            self.journeys as f64 / self.seconds,
        );
        let _ = write!(
            json,
            "\"statuses\":{{{}}},\"io_errors\":{},\"unsent\":{},\"refused_without_retry_after\":{},",
            statuses.join(","),
            self.io_errors,
            self.unsent,
            self.refused_without_retry_after
        );
        let _ = write!(
            json,
            "\"us\":{},\"ok_us\":{},\"refused_us\":{},\"steps\":[{}],\"first_failure\":{:?}}}",
            quantiles(&mut all),
            quantiles(&mut ok),
            quantiles(&mut refused),
            steps.join(","),
            self.first_failure.clone().unwrap_or_default().chars().filter(char::is_ascii).collect::<String>(),
        );
        json
    }

    pub fn write_files(&self, options: &Options) -> io::Result<()> {
        if let Some(path) = &options.save {
            let mut file = io::BufWriter::new(std::fs::File::create(path)?);
            for Learnt { id, token } in self.learnt.values() {
                writeln!(file, "{id}\t{token}")?;
            }
            file.flush()?;
        }
        if let Some(path) = &options.trace {
            let mut file = io::BufWriter::new(std::fs::File::create(path)?);
            for told in &self.told {
                writeln!(file, "{}\t{}\t{}", told.sent_us, told.status, told.latency_us)?;
            }
            file.flush()?;
        }
        Ok(())
    }
}

fn quantiles(latencies: &mut [u32]) -> String {
    if latencies.is_empty() {
        return "null".into();
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
    let (p50, p90, p99, p999) = (at(0.50), at(0.90), at(0.99), at(0.999));
    format!("{{\"p50\":{p50},\"p90\":{p90},\"p99\":{p99},\"p999\":{p999},\"max\":{}}}", at(1.0))
}
