//! Postal addresses as they come in and go out, for the address book and for contacts.

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::json::{self, Text};
use crate::actors::user::types::SavedAddress;
use crate::actors::values::{Address, AddressId};

/// The assigned codes of ISO 3166-1 alpha-2, and XK: the code that Kosovo uses until it is assigned one.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// Countries in which the postal code may be left out, because there is none or hardly anybody knows his. The codes of
/// other countries are taken as they come: their forms are not checked.
const WITHOUT_POSTAL_CODES: &str = "\
    AE AG AO AW BF BI BJ BO BQ BS BW BZ CD CF CG CI CK CM CW DJ DM ER FJ GA GD GH GM GN GQ GY HK JM KI KM KN KP LC LY \
    ML MO MR MW NA NR NU PA QA RW SB SC SL SO SR SS ST SX SY TD TG TK TL TO TV TZ UG VC VU WS YE ZW";

/// A country that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country(String);

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if COUNTRIES.split_whitespace().any(|code| code == text) {
            Ok(Country(text))
        } else {
            Err(de::Error::custom("expected an ISO 3166 alpha-2 country code such as GB"))
        }
    }
}

/// An address as a client sends it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct AddressBody {
    #[schema(value_type = String, max_length = 200)]
    pub name: Text<200>,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub company: Option<Text<200>>,
    #[schema(value_type = String, max_length = 200)]
    pub line1: Text<200>,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub line2: Option<Text<200>>,
    #[schema(value_type = String, max_length = 100)]
    pub city: Text<100>,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 100)]
    pub region: Option<Text<100>>,
    /// May be absent where a country has none.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 20)]
    pub postal_code: Option<Text<20>>,
    /// ISO 3166 alpha-2.
    #[schema(value_type = String, example = "GB")]
    pub country: Country,
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub phone: Option<Text<40>>,
    /// Makes it the only default of an address book; without meaning elsewhere.
    pub default: Option<bool>,
    /// Without meaning: so that an address can be sent as it was read.
    #[serde(default, deserialize_with = "json::filled")]
    #[schema(value_type = Option<String>)]
    pub id: Option<AddressId>,
}

impl<'de> Deserialize<'de> for AddressBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived one (`remote`), and then what no field knows alone.
        let body = AddressBody::deserialize(deserializer)?;
        let has_none = WITHOUT_POSTAL_CODES.split_whitespace().any(|code| code == body.country.0);
        if body.postal_code.is_none() && !has_none {
            return Err(de::Error::missing_field("postal_code"));
        }
        Ok(body)
    }
}

/// The address, and whether it is to be the default.
impl From<AddressBody> for (Address, bool) {
    fn from(body: AddressBody) -> (Address, bool) {
        let address = Address {
            name: body.name.0,
            line1: body.line1.0,
            line2: body.line2.map(|text| text.0),
            city: body.city.0,
            region: body.region.map(|text| text.0),
            postal_code: body.postal_code.map(|text| text.0).unwrap_or_default(),
            country: body.country.0,
            phone: body.phone.map(|text| text.0),
            company: body.company.map(|text| text.0),
        };
        (address, body.default.unwrap_or(false))
    }
}

/// An address as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Address)]
pub struct AddressView {
    /// In an address book.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<AddressId>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    pub line1: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    pub city: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Absent where a country has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// In an address book.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}

impl From<&Address> for AddressView {
    fn from(address: &Address) -> AddressView {
        let Address { name, line1, line2, city, region, postal_code, country, phone, company } = address.clone();
        let postal_code = Some(postal_code).filter(|code| !code.is_empty());
        AddressView { id: None, name, company, line1, line2, city, region, postal_code, country, phone, default: None }
    }
}

impl From<&SavedAddress> for AddressView {
    fn from(saved: &SavedAddress) -> AddressView {
        AddressView { id: Some(saved.id), default: Some(saved.default), ..(&saved.address).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_249_countries_and_kosovo_and_the_united_kingdom_is_gb() {
        assert_eq!(COUNTRIES.split_whitespace().count(), 250);
        let country = |code: &str| serde_json::from_value::<Country>(code.into()).is_ok();
        assert!(country("GB") && country("ZW") && country("AD") && country("XK"));
        assert!(WITHOUT_POSTAL_CODES.split_whitespace().all(country));
        assert!(!country("UK") && !country("gb") && !country("") && !country("A") && !country("GB US"));
    }
}
