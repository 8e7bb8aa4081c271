//! The load generator of `scripts/bench`. One thread drives all connections, as cheaply as wrk does; unlike
//! wrk it sends a given list exactly once, can take what one answer says into the next request (a journey),
//! can offer a rate that does not wait for answers (an open loop), and keeps every latency.
//!
//! `load --addr ADDR --requests FILE [options]`; the outcome is one line of JSON on standard output.
//!
//! The file has one request a line, tab-separated: method, path, headers (separated by `|`), body. Without
//! `--count` and `--seconds` the list is sent once. In paths and bodies `{n}` is the number of the request
//! (or journey), `{a}`, `{b}`, `{c}` are three numbers below `--picks` made from it, and `{id}` and `{token}`
//! are what the first answer of the journey had.

mod connection;
mod drive;
mod options;
mod report;
mod request;

fn main() {
    let run = || -> Result<String, String> {
        let options = options::Options::parse(std::env::args().skip(1))?;
        let text = std::fs::read_to_string(&options.requests).map_err(|e| format!("{}: {e}", options.requests))?;
        let requests = request::Requests::parse(&text)?;
        drop(text);
        let told = drive::drive(&options, &requests).map_err(|e| e.to_string())?;
        told.write_files(&options).map_err(|e| e.to_string())?;
        Ok(told.json())
    };
    match run() {
        Ok(line) => println!("{line}"),
        Err(why) => {
            eprintln!("load: {why}");
            std::process::exit(1);
        }
    }
}
