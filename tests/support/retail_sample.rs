//! A small file of the Online Retail II format, made by arithmetic: the same seed gives the same bytes. It
//! has the odd cases of the real file: cancellations, returns, free rows, postage and other codes
//! that are no products, rows without an invoice, lower-case codes, guests, a SKU twice in one invoice,
//! prices that change, two spellings of a title, an invoice whose rows lie apart, and one of 300 lines.

use std::fmt::Write;

/// How large the sample is.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub seed: u64,
    pub invoices: u32,
    pub customers: u32,
    pub skus: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { seed: 1, invoices: 300, customers: 60, skus: 400 }
    }
}

/// What a correct reader finds in the sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub rows: u64,
    pub sale_rows: u64,
    pub invoices: u64,
    pub guest_invoices: u64,
    pub units: u64,
}

const HEADER: &str = "invoice,stock_code,description,quantity,invoice_date,price,customer_id,country,reconstructed\n";
const THINGS: [&str; 12] = [
    "HEART T-LIGHT HOLDER",
    "CAKE TIN",
    "TEA TOWEL",
    "LUNCH BAG",
    "PHOTO FRAME",
    "BIRTHDAY CARD",
    "WALL CLOCK",
    "GLASS BEAD NECKLACE",
    "CHRISTMAS BAUBLE",
    "GARDEN LANTERN",
    "\"\"HOME\"\" SIGN, LARGE",
    "STORAGE BOX",
];
const COLOURS: [&str; 7] = ["RED", "BLUE", "IVORY", "PINK", "GREEN", "BLACK", "POLKADOT"];
const COUNTRIES: [&str; 6] = ["United Kingdom", "United Kingdom", "EIRE", "Germany", "Unspecified", "Channel Islands"];

/// SplitMix64: enough chance for a sample, and no dependency.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(n)) as u32
    }
    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

struct Writer {
    csv: String,
    known: Known,
}

/// An invoice's columns that all its rows share.
#[derive(Clone)]
struct Head {
    number: String,
    at: String,
    customer: String,
    country: &'static str,
}

impl Writer {
    fn row(&mut self, head: &Head, code: &str, title: &str, quantity: i64, price: &str) {
        let Head { number, at, customer, country } = head;
        writeln!(self.csv, "{number},{code},\"{title}\",{quantity},{at},{price},{customer},{country},0")
            .expect("a string takes everything");
        self.known.rows += 1;
    }

    fn sale(&mut self, chance: &mut Chance, head: &Head, sku: u32, quantity: u32) {
        let code = code_of(sku);
        let code = if chance.one_in(15) { code.to_lowercase() } else { code };
        let title = title_of(sku, chance.one_in(9));
        let pence = 45 + (sku * 37) % 1_250 + if chance.one_in(8) { 50 } else { 0 };
        let price = match pence % 100 {
            0 => format!("{}", pence / 100),
            tens if tens % 10 == 0 => format!("{}.{}", pence / 100, tens / 10),
            cents => format!("{}.{cents:02}", pence / 100),
        };
        self.row(head, &code, &title, i64::from(quantity), &price);
        self.known.sale_rows += 1;
        self.known.units += u64::from(quantity);
    }
}

fn code_of(sku: u32) -> String {
    let letter = ["", "", "A", "B"][(sku % 4) as usize];
    format!("{}{letter}", 20_000 + sku)
}

fn title_of(sku: u32, other_spelling: bool) -> String {
    let thing = THINGS[(sku as usize / COLOURS.len()) % THINGS.len()];
    let colour = COLOURS[sku as usize % COLOURS.len()];
    if other_spelling { format!("{colour} {thing} ") } else { format!(" {thing}  {colour} {sku}") }
}

/// The file, and what is in it.
pub fn generate(sample: &Sample) -> (String, Known) {
    let mut chance = Chance(sample.seed);
    let mut out = Writer { csv: HEADER.to_owned(), known: Known::default() };
    // the second half of an invoice, to be written after its neighbour
    let mut apart: Option<(Head, u32)> = None;
    for n in 0..sample.invoices {
        let head = head_of(sample, &mut chance, n);
        out.known.invoices += 1;
        out.known.guest_invoices += u64::from(head.customer.is_empty());
        let lines = if n == sample.invoices / 2 { 300 } else { 1 + chance.below(12) };
        for line in 0..lines {
            let sku = chance.below(sample.skus);
            let quantity = if chance.one_in(40) { 500 + chance.below(1_000) } else { 1 + chance.below(24) };
            out.sale(&mut chance, &head, sku, quantity);
            if line % 5 == 4 {
                // the same SKU again in the same invoice
                let more = 1 + chance.below(6);
                out.sale(&mut chance, &head, sku, more);
            }
        }
        not_sales(&mut out, &mut chance, &head);
        if let Some((head, sku)) = apart.take() {
            out.sale(&mut chance, &head, sku, 2);
        }
        if chance.one_in(30) && n + 1 < sample.invoices {
            let sku = chance.below(sample.skus);
            apart = Some((head, sku));
        }
    }
    (out.csv, out.known)
}

fn head_of(sample: &Sample, chance: &mut Chance, n: u32) -> Head {
    let guest = chance.one_in(12);
    let customer = chance.below(sample.customers);
    Head {
        number: (489_434 + n * 2).to_string(),
        at: format!(
            "20{:02}-{:02}-{:02} {:02}:{:02}",
            9 + n * 2 / sample.invoices.max(1),
            1 + (n * 24 / sample.invoices.max(1)) % 12,
            1 + n % 28,
            8 + n % 10,
            n % 60
        ),
        customer: if guest { String::new() } else { (12_346 + customer).to_string() },
        country: COUNTRIES[customer as usize % COUNTRIES.len()],
    }
}

/// Rows that no reader may take for a sale.
fn not_sales(out: &mut Writer, chance: &mut Chance, head: &Head) {
    let (code, sku) = (code_of(chance.below(400)), chance.below(400));
    let title = title_of(sku, false);
    if chance.one_in(6) {
        out.row(head, "POST", "POSTAGE", 1, "18.0");
    }
    if chance.one_in(10) {
        let cancelled = Head { number: format!("C{}", head.number), ..head.clone() };
        out.row(&cancelled, &code, &title, -3, "2.55");
    }
    if chance.one_in(12) {
        out.row(head, &code, "damaged", -1, "0.0");
    }
    if chance.one_in(15) {
        out.row(head, &code, &title, 4, "0.0");
    }
    if chance.one_in(20) {
        out.row(&Head { number: String::new(), ..head.clone() }, &code, &title, -2, "1.25");
    }
    if chance.one_in(25) {
        out.row(&Head { number: "A506401".to_owned(), ..head.clone() }, "B", "Adjust bad debt", 1, "-53594.36");
    }
    if chance.one_in(25) {
        out.row(head, "DCGS0058", "MISO PRETTY GUM", 2, "0.83");
    }
}
