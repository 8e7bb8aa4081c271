//! Many tasks do one thing again and again for a while; how often, and how long each took.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Runs `tasks` of them until the time is up. `make` gets the number of the task, and makes its state;
/// `once` gets that state and the number of the turn.
pub async fn tally<S, F>(
    tasks: usize,
    time: Duration,
    make: impl Fn(usize) -> S,
    once: impl Fn(S, u64) -> F + Clone + Send + Sync + 'static,
) -> anyhow::Result<Value>
where
    S: Send + 'static,
    F: Future<Output = anyhow::Result<S>> + Send,
{
    let end = Instant::now() + time;
    let mut running = Vec::new();
    for task in 0..tasks {
        let (mut state, once) = (make(task), once.clone());
        running.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            let mut turn = 0;
            loop {
                let began = Instant::now();
                if began >= end {
                    return anyhow::Ok(latencies);
                }
                state = once(state, turn).await?;
                latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                turn += 1;
            }
        }));
    }
    let mut all = Vec::new();
    for task in running {
        all.extend(task.await??);
    }
    let mut value = told(all);
    value["rate"] = json!(value["count"].as_f64().unwrap_or_default() / time.as_secs_f64());
    Ok(value)
}

/// How often, and how long it took.
pub fn told(mut latencies: Vec<u32>) -> Value {
    latencies.sort_unstable();
    let last = latencies.len().max(1) - 1;
    let at = |share: f64| latencies.get((last as f64 * share) as usize).copied().unwrap_or(0);
    json!({"p50_us": at(0.5), "p99_us": at(0.99), "count": latencies.len()})
}
