//! What is to be done.

#[derive(Debug, Clone)]
pub struct Options {
    pub addr: String,
    pub requests: String,
    pub connections: usize,
    /// How many requests (or journeys); beyond the list it starts again from its beginning.
    pub count: Option<u64>,
    pub seconds: Option<f64>,
    /// Requests per second to offer, whether or not answers come: an open loop.
    pub rate: Option<f64>,
    /// The lines of the file are the steps of one journey.
    pub journey: bool,
    /// Where the numbers `{n}` begin.
    pub first: u64,
    pub picks: u64,
    /// Where to write `id <tab> token` of each answer, in the order of the requests.
    pub save: Option<String>,
    /// Where to write `sent_us <tab> status <tab> latency_us` of each answer.
    pub trace: Option<String>,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            addr: String::new(),
            requests: String::new(),
            connections: 64,
            count: None,
            seconds: None,
            rate: None,
            journey: false,
            first: 0,
            picks: 1,
            save: None,
            trace: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--journey" {
                options.journey = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} takes a value"))?;
            match name.as_str() {
                "--addr" => options.addr = value,
                "--requests" => options.requests = value,
                "--connections" => options.connections = number(&name, &value)?,
                "--count" => options.count = Some(number(&name, &value)?),
                "--seconds" => options.seconds = Some(number(&name, &value)?),
                "--rate" => options.rate = Some(number(&name, &value)?),
                "--first" => options.first = number(&name, &value)?,
                "--picks" => options.picks = number::<u64>(&name, &value)?.max(1),
                "--save" => options.save = Some(value),
                "--trace" => options.trace = Some(value),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if options.addr.is_empty() || options.requests.is_empty() {
            return Err("--addr and --requests are needed".into());
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} takes a number, not {value:?}"))
}
